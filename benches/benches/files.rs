//! Pages of mapped files: what the first load of a page takes, beside the kernel's own mapping of
//! the same file, and what it costs that many map one page.
//!
//! Loads: of pages that are in memory, that are in the kernel's page cache, and that are on the
//! disk only; at random with that said, and one after the other. The sides take turns in one run;
//! each load is timed. Mappers: one page that 1 to 30,000 places show is written out and evicted,
//! a file's and, of forks, an anonymous one; while it goes, another thread takes faults in another
//! space, and the longest of them is told.

use memfold::{
    Advice, Error, FileAccess, MappedFile, Memory, Native, PAGE_SIZE, Rights, Space, SpaceSize, Through,
};
use memfold_benches::{is_smoke_test, percentiles};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PAGE: u64 = PAGE_SIZE as u64;

/// A file that goes with the run.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn make(pages: u64) -> Temporary {
    let path = std::env::temp_dir().join(format!("memfold-bench-{}", std::process::id()));
    let page = |n: u64| [n as u8 | 1; PAGE_SIZE];
    std::fs::write(&path, (0..pages).flat_map(page).collect::<Vec<u8>>()).expect("room for a file");
    File::open(&path)
        .and_then(|file| file.sync_all())
        .expect("a disk");
    Temporary(path)
}

/// Where the bytes are that a load finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// In memory: of the kernel's side, in its page cache.
    Memory,
    /// In the kernel's page cache, and not in a memory of ours.
    Cache,
    /// On the disk.
    Disk,
}

/// In which order pages are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Random,
    Sequential,
}

impl Way {
    /// Some of so many pages.
    fn pages(self, pages: u64, loads: u64, round: u64) -> Vec<u64> {
        let first = round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match self {
            Self::Random => (0..loads).map(|n| (first + n * 7919) % pages).collect(),
            Self::Sequential => {
                let first = first % (pages - loads);
                (first..first + loads).collect()
            }
        }
    }
}

/// Times one load of each page.
fn load(base: *const u8, pages: &[u64], times: &mut Vec<Duration>) {
    for &page in pages {
        let at = base.wrapping_add(page as usize * PAGE_SIZE);
        let start = Instant::now();
        // SAFETY: a byte of a mapping that lives, as long as the callers say.
        let byte = unsafe { at.read_volatile() };
        times.push(start.elapsed());
        assert_eq!(byte, page as u8 | 1);
    }
}

/// The kernel's pages of the file go, or come.
fn cache(path: &PathBuf, from: From) {
    let file = File::open(path).expect("it is there");
    if from == From::Disk {
        // SAFETY: a system call on a descriptor of ours.
        let done = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(done, 0, "posix_fadvise");
    } else {
        std::io::copy(&mut &file, &mut std::io::sink()).expect("it can be read");
    }
}

fn by_kernel(path: &PathBuf, way: Way, pages: &[u64], times: &mut Vec<Duration>) {
    let file = File::open(path).expect("it is there");
    let len = usize::try_from(file.metadata().expect("it is there").len()).expect("it is mapped");
    let (read, shared, fd) = (libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd());
    // SAFETY: a fresh mapping, which ends here.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), len, read, shared, fd, 0);
        assert_ne!(base, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        if way == Way::Random {
            libc::madvise(base, len, libc::MADV_RANDOM);
        }
        load(base.cast(), pages, times);
        libc::munmap(base, len);
    }
}

fn by_memfold(memory: &Memory, file: &MappedFile, way: Way, pages: &[u64], times: &mut Vec<Duration>) {
    let space = memory.create(SpaceSize::fixed(file.len())).expect("room");
    let mapped = space.map(0, file, 0..file.len(), Through::Shared, Rights::Read);
    mapped.expect("room");
    if way == Way::Random {
        space.advise(0..file.len(), Advice::Random).expect("it may");
    }
    load(space.as_ptr().as_ptr(), pages, times);
}

fn loads(smoke: bool) {
    let (pages, loads, rounds) = if smoke { (512, 32, 1) } else { (16_384, 512, 31) };
    let disk = make(pages);
    println!("{loads} loads of a file of {pages} pages, {rounds} rounds; p50 / p99 in us, and all in ms");
    println!("{:>30} {:>28} {:>28}", "", "mmap", "memfold");
    let memory = Memory::builder().build().expect("userfaultfd works here");
    let file = memory.open(&disk.0, FileAccess::ReadOnly).expect("it is there");
    for way in [Way::Random, Way::Sequential] {
        for from in [From::Memory, From::Cache, From::Disk] {
            let mut times = [Vec::new(), Vec::new()];
            for round in 0..rounds {
                let touched = way.pages(pages, loads, round);
                cache(&disk.0, from);
                by_kernel(&disk.0, way, &touched, &mut times[0]);
                let all = memory.create(SpaceSize::fixed(file.len())).expect("room");
                let mapped = all.map(0, &file, 0..file.len(), Through::Shared, Rights::Read);
                mapped.expect("room");
                let advice = match from {
                    From::Memory => Advice::PopulateRead,
                    From::Cache | From::Disk => Advice::PageOut,
                };
                all.advise(0..file.len(), advice).expect("room");
                drop(all);
                cache(&disk.0, from);
                by_memfold(&memory, &file, way, &touched, &mut times[1]);
            }
            let [kernel, ours] = times.map(|mut times| {
                let all: Duration = times.iter().sum();
                let (p50, p99) = percentiles(&mut times);
                let all = all.as_secs_f64() * 1e3 / rounds as f64;
                format!("{p50:.2} / {p99:.1}, {all:.2}")
            });
            println!(
                "{:>30} {kernel:>28} {ours:>28}",
                format!("{way:?}, from {from:?}")
            );
        }
    }
}

/// Runs a step while another thread takes faults in another space; how long the step took, and the
/// longest of the faults.
fn beside(other: &Space, step: impl FnOnce()) -> (Duration, Duration) {
    let (runs, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let faults = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            // Relaxed: nothing hangs on when it ends.
            while !ended.load(Ordering::Relaxed) {
                other.advise(0..PAGE, Advice::DontNeed).expect("it may");
                let start = Instant::now();
                // SAFETY: a byte of a space that lives.
                unsafe { other.as_ptr().as_ptr().write_volatile(1) };
                longest = longest.max(start.elapsed());
                // Relaxed: as above.
                runs.store(true, Ordering::Relaxed);
            }
            longest
        });
        // Relaxed: as above.
        while !runs.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let start = Instant::now();
        step();
        let took = start.elapsed();
        // Relaxed: as above.
        ended.store(true, Ordering::Relaxed);
        (took, faults.join().expect("nobody panics"))
    })
}

/// One page of a file, shown at so many places, in spaces of at most a thousand of them each; or
/// why that is not possible.
fn file_mappers(memory: &Memory, file: &MappedFile, places: u64) -> Result<Vec<Space>, Error> {
    const EACH: u64 = 1000;
    let spaces = (0..places.div_ceil(EACH)).map(|n| {
        let space = memory.create(SpaceSize::fixed(2 * EACH * PAGE))?;
        for place in 0..EACH.min(places - n * EACH) {
            space.map(place * PAGE, file, 0..PAGE, Through::Shared, Rights::ReadWrite)?;
        }
        Ok(space)
    });
    spaces.collect()
}

fn look(spaces: &[Space], places: u64) {
    for (n, space) in (0..).zip(spaces) {
        for place in 0..1000.min(places - n * 1000) {
            let at = space.as_ptr().as_ptr().wrapping_add(place as usize * PAGE_SIZE);
            // SAFETY: a byte of a space that lives.
            unsafe { at.read_volatile() };
        }
    }
}

fn show(what: &str, places: u64, times: &[(Duration, Duration)]) {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let mut took: Vec<f64> = times.iter().map(|&(took, _)| us(took)).collect();
    took.sort_by(f64::total_cmp);
    let longest = times.iter().map(|&(_, fault)| us(fault)).fold(0.0, f64::max);
    let p50 = took[took.len() / 2];
    println!(
        "{what:>34} {places:>8} {p50:>12.1} {:>14.3} {longest:>14.0}",
        p50 / places as f64
    );
}

fn mappers(smoke: bool) {
    let all: &[u64] = if smoke {
        &[1, 10]
    } else {
        &[1, 10, 1000, 10_000, 30_000]
    };
    let rounds = if smoke { 1 } else { 11 };
    println!(
        "{:>34} {:>8} {:>12} {:>14} {:>14}",
        "", "mappers", "p50 us", "us a mapper", "longest fault"
    );
    let disk = make(4);
    for &places in all {
        let memory = Memory::builder()
            .max_spaces(64)
            .build()
            .expect("userfaultfd works here");
        let file = memory.open(&disk.0, FileAccess::ReadWrite).expect("it is there");
        let other = memory.create(SpaceSize::fixed(PAGE)).expect("room");
        let spaces = match file_mappers(&memory, &file, places) {
            Ok(spaces) => spaces,
            Err(refused) => {
                println!("{places} mappers of a file: {refused}");
                continue;
            }
        };
        let (mut synced, mut evicted) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            look(&spaces, places);
            // SAFETY: a byte of a space that lives.
            unsafe { spaces[0].as_ptr().as_ptr().write_volatile(1) };
            synced.push(beside(&other, || file.sync(0..PAGE).expect("a disk")));
            look(&spaces, places);
            let out = || spaces[0].advise(0..PAGE, Advice::PageOut).expect("it may");
            evicted.push(beside(&other, out));
        }
        show("a file's page is written", places, &synced);
        show("a file's clean page is evicted", places, &evicted);
    }
    for &places in all {
        let spaces = u32::try_from(places).expect("few") + 8;
        let memory = Memory::builder().max_spaces(spaces).native(Native::Off).build();
        let memory = memory.expect("userfaultfd works here");
        let other = memory.create(SpaceSize::fixed(PAGE)).expect("room");
        let parent = memory.create(SpaceSize::fixed(16 * PAGE)).expect("room");
        parent.write(0, &[7; 64]).expect("room");
        let forks: Vec<Space> = (1..places).map(|_| parent.fork().expect("room")).collect();
        let mut evicted = Vec::new();
        for _ in 0..rounds {
            for fork in forks.iter().chain([&parent]) {
                // SAFETY: a byte of a space that lives.
                unsafe { fork.as_ptr().as_ptr().read_volatile() };
            }
            let out = || _ = parent.evict_range(0..PAGE).expect("it may");
            evicted.push(beside(&other, out));
        }
        show("an anonymous page is evicted", places, &evicted);
    }
}

fn main() {
    let smoke = is_smoke_test();
    // One part alone, if it is named.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let named = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if named("loads") {
        loads(smoke);
    }
    if named("mappers") {
        mappers(smoke);
    }
}
