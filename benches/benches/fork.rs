//! A fork of a space beside `fork(2)` of a process, at two sizes: all pages resident, 1 MiB written
//! between two forks.
//!
//! Both sides do the same: write 1 MiB, fork, let the child write one page, end the child. Only the
//! fork is timed (for the process: until `fork` returns in the parent). The sides take turns in one
//! run.

use memfold::{Memory, PAGE_SIZE, Space, SpaceSize};
use memfold_benches::{is_smoke_test, percentiles};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

const DIRTY: usize = 1 << 20;

fn touch(base: NonNull<u8>, bytes: usize, value: u64) {
    for at in (0..bytes).step_by(PAGE_SIZE) {
        // SAFETY: the caller owns `bytes` writable bytes from `base` on.
        unsafe {
            base.as_ptr()
                .add(at)
                .cast::<u64>()
                .write_volatile(value + at as u64)
        };
    }
}

fn fork_space(parent: &Space, round: u64) -> Duration {
    touch(parent.as_ptr(), DIRTY, round);
    let start = Instant::now();
    let child = parent.fork().expect("a fork needs next to nothing");
    let took = start.elapsed();
    touch(child.as_ptr(), PAGE_SIZE, round);
    took
}

fn anonymous(bytes: usize) -> NonNull<u8> {
    // SAFETY: a fresh anonymous mapping touches nothing of ours.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert_ne!(base, libc::MAP_FAILED, "no memory for {bytes} bytes");
    // SAFETY: as above; without this, huge pages would make it another comparison (see the second
    // table).
    unsafe { libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE) };
    NonNull::new(base.cast()).expect("a mapping does not start at address 0")
}

fn fork_process(base: NonNull<u8>, round: u64) -> Duration {
    touch(base, DIRTY, round);
    let start = Instant::now();
    // SAFETY: the child only writes memory of its own and ends at once, without running anything of
    // Rust's or libc's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        touch(base, PAGE_SIZE, round);
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let took = start.elapsed();
    assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    took
}

fn main() {
    let smoke = is_smoke_test();
    let sizes: &[usize] = if smoke { &[4] } else { &[16, 64, 256, 1024] };
    let rounds = if smoke { 3 } else { 41 };
    println!(
        "{:>12} {:>26} {:>26} {:>8}",
        "resident", "space.fork() p50 / p99 us", "fork(2) p50 / p99 us", "ratio"
    );
    for &mib in sizes {
        let bytes = mib << 20;
        let memory = Memory::builder().build().expect("userfaultfd works here");
        let parent = memory.create(SpaceSize::fixed(bytes as u64)).expect("a space");
        touch(parent.as_ptr(), bytes, 1);
        fork_space(&parent, 0);
        let mut ours: Vec<Duration> = (0..rounds).map(|n| fork_space(&parent, n)).collect();
        drop((parent, memory));
        let base = anonymous(bytes);
        touch(base, bytes, 1);
        fork_process(base, 0);
        let mut theirs: Vec<Duration> = (0..rounds).map(|n| fork_process(base, n)).collect();
        // SAFETY: our own mapping, used no more.
        unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
        let (a, a99) = percentiles(&mut ours);
        let (b, b99) = percentiles(&mut theirs);
        println!(
            "{mib:>8} MiB {a:>14.1} / {a99:>8.1} {b:>15.1} / {b99:>9.1} {:>7.1}x",
            b / a
        );
    }
}
