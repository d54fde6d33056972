//! Back to a snapshot after 20 scattered stores in 64 MiB: a reset, beside a new fork, beside a
//! private mapping of a file that is emptied, beside copying.
//!
//! All sides begin with the same resident image and store to the same pages. Timed are the way back
//! alone, and the whole turn: the stores, their faults, and the way back. The sides take turns in
//! one run. Of copying there are two: the whole image, and the 20 pages, which needs somebody who
//! knows them.

use memfold::{Memory, PAGE_SIZE, Space, SpaceSize};
use memfold_benches::{is_smoke_test, percentiles};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

const STORES: usize = 20;

/// The pages of one round, the same for all sides.
fn pages(bytes: usize, round: u64) -> [usize; STORES] {
    let mut seed = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    [(); STORES].map(|()| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % (bytes / PAGE_SIZE) * PAGE_SIZE
    })
}

/// The way back, and the whole turn.
type Times = (Duration, Duration);

fn turn(base: NonNull<u8>, pages: &[usize; STORES], back: impl FnOnce()) -> Times {
    let start = Instant::now();
    for &at in pages {
        // SAFETY: the callers' images are longer, and theirs.
        unsafe { base.as_ptr().add(at).write_volatile(7) };
    }
    let stored = Instant::now();
    back();
    (stored.elapsed(), start.elapsed())
}

/// A private mapping of a file with the image.
fn private_mapping(image: &[u8]) -> NonNull<u8> {
    // SAFETY: plain system calls; the mapping is fresh.
    let base = unsafe {
        let fd = libc::memfd_create(c"image".as_ptr(), 0);
        assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
        let mut at = 0;
        while at < image.len() {
            let wrote = libc::write(fd, image[at..].as_ptr().cast(), image.len() - at);
            at += usize::try_from(wrote).expect("a memfd takes it");
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let base = libc::mmap(
            std::ptr::null_mut(),
            image.len(),
            access,
            libc::MAP_PRIVATE,
            fd,
            0,
        );
        libc::close(fd);
        base
    };
    assert_ne!(base, libc::MAP_FAILED, "no memory for a mapping");
    NonNull::new(base.cast()).expect("a mapping does not start at address 0")
}

struct Sides {
    snapshot: Space,
    space: Space,
    mapping: NonNull<u8>,
    copy: Vec<u8>,
    image: Vec<u8>,
}

impl Sides {
    fn reset(&self, pages: &[usize; STORES]) -> Times {
        turn(self.space.as_ptr(), pages, || {
            self.space.reset_to(&self.snapshot).expect("related");
        })
    }

    fn fork(&mut self, pages: &[usize; STORES]) -> Times {
        let mut space = self.snapshot.fork().expect("a fork needs next to nothing");
        turn(space.as_ptr(), pages, || {
            space = self.snapshot.fork().expect("a fork needs next to nothing");
        })
    }

    fn dont_need(&self, pages: &[usize; STORES]) -> Times {
        turn(self.mapping, pages, || {
            let len = self.image.len();
            // SAFETY: our own mapping, of that length.
            unsafe { libc::madvise(self.mapping.as_ptr().cast(), len, libc::MADV_DONTNEED) };
        })
    }

    fn copy_all(&mut self, pages: &[usize; STORES]) -> Times {
        let base = NonNull::new(self.copy.as_mut_ptr()).expect("it is not empty");
        turn(base, pages, || self.copy.copy_from_slice(&self.image))
    }

    fn copy_known(&mut self, pages: &[usize; STORES]) -> Times {
        let base = NonNull::new(self.copy.as_mut_ptr()).expect("it is not empty");
        turn(base, pages, || {
            for &at in pages {
                self.copy[at..at + PAGE_SIZE].copy_from_slice(&self.image[at..at + PAGE_SIZE]);
            }
        })
    }
}

fn main() {
    let smoke = is_smoke_test();
    let bytes: usize = if smoke { 4 << 20 } else { 64 << 20 };
    let rounds = if smoke { 3 } else { 501 };
    let image: Vec<u8> = (0..bytes).map(|at| (at / PAGE_SIZE) as u8 | 1).collect();
    let memory = Memory::builder().build().expect("userfaultfd works here");
    let parent = memory.create(SpaceSize::fixed(bytes as u64)).expect("a space");
    parent.write(0, &image).expect("there is room");
    let snapshot = parent.freeze().expect("there is room");
    drop(parent);
    let mut sides = Sides {
        space: snapshot.fork().expect("a fork needs next to nothing"),
        snapshot,
        mapping: private_mapping(&image),
        copy: image.clone(),
        image,
    };
    type Side = fn(&mut Sides, &[usize; STORES]) -> Times;
    let all: [(&str, Side); 5] = [
        ("space.reset_to()", |sides, pages| sides.reset(pages)),
        ("space.fork() and drop", Sides::fork),
        ("MAP_PRIVATE and MADV_DONTNEED", |sides, pages| {
            sides.dont_need(pages)
        }),
        ("copying all back", Sides::copy_all),
        ("copying 20 known pages back", Sides::copy_known),
    ];
    let mut times: [(Vec<Duration>, Vec<Duration>); 5] = Default::default();
    for round in 0..rounds {
        let pages = pages(bytes, round);
        for ((_, side), (back, whole)) in all.iter().zip(&mut times) {
            let took = side(&mut sides, &pages);
            back.push(took.0);
            whole.push(took.1);
        }
    }
    println!(
        "{:>32} {:>26} {:>26}",
        "20 stores in 64 MiB", "back, p50 / p99 us", "stores and back, p50 / p99"
    );
    for ((name, _), (back, whole)) in all.iter().zip(&mut times) {
        let ((a, a99), (b, b99)) = (percentiles(back), percentiles(whole));
        println!("{name:>32} {a:>15.1} / {a99:>8.1} {b:>15.1} / {b99:>8.1}");
    }
    // SAFETY: our own mapping, used no more.
    unsafe { libc::munmap(sides.mapping.as_ptr().cast(), bytes) };
}
