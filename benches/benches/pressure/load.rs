//! The accesses, the same on both sides, and what is measured of them.

use super::Side;
use super::times::{Outcome, Times};
use memfold::{Memory, PAGE_SIZE, Space, SpaceSize};
use memfold_benches::rival;
use memfold_benches::schedule::{PRIORITY, cpu_seconds, first_in_line, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a page that are words; records follow.
const WORDS: usize = 1256;
/// Accesses before they repeat.
const SEQUENCE: usize = 1 << 22;
/// Of a hundred accesses, how many store.
const STORES: u64 = 30;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Memory that is accessed.
    pub mib: u64,
    /// The kernel's limit, or the budget, in MiB.
    pub limit: u64,
    /// Some pages far more often than others.
    pub zipf: bool,
    /// Each has pages of its own.
    pub threads: usize,
    /// Page `p` lies in space `p % spaces`.
    pub spaces: usize,
    /// How long, after half of it to warm up.
    pub millis: u64,
}

impl Cell {
    /// Without a limit.
    pub fn usual(smoke: bool) -> Self {
        Self {
            mib: if smoke { 32 } else { 1024 },
            limit: 0,
            zipf: true,
            threads: 1,
            spaces: 1,
            millis: if smoke { 100 } else { 4000 },
        }
    }

    /// As a child gets it.
    pub fn to_args(self) -> [String; 6] {
        let (threads, spaces) = (self.threads as u64, self.spaces as u64);
        [
            self.mib,
            self.limit,
            u64::from(self.zipf),
            threads,
            spaces,
            self.millis,
        ]
        .map(|n| n.to_string())
    }

    /// Undoes that.
    pub fn from_args(args: &[String]) -> Option<Self> {
        let numbers: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
        let [mib, limit, zipf, threads, spaces, millis] = numbers[..] else {
            return None;
        };
        Some(Self {
            mib,
            limit,
            zipf: zipf == 1,
            threads: threads as usize,
            spaces: spaces as usize,
            millis,
        })
    }

    fn pages(&self) -> usize {
        (self.mib << 20) as usize / PAGE_SIZE
    }

    /// Runs a side in this process.
    pub fn run(&self, side: Side) -> Outcome {
        let work = Work::new(self);
        // Before a memory is built: its threads inherit it.
        first_in_line(PRIORITY);
        let _kept: (Memory, Vec<Space>);
        let bases: Vec<usize> = match side {
            Side::Kernel => {
                // The tables stay, outside of the limit.
                // SAFETY: it changes no memory.
                assert_eq!(unsafe { libc::mlockall(libc::MCL_CURRENT) }, 0, "it needs root");
                rival::enter(self.limit << 20).expect("it could be set up before");
                vec![anonymous(self.pages() * PAGE_SIZE)]
            }
            Side::Memfold => {
                let memory = Memory::builder().budget_bytes(self.limit << 20).build();
                let memory = memory.expect("userfaultfd works here");
                let bytes = (self.pages().div_ceil(self.spaces) * PAGE_SIZE) as u64;
                let spaces: Vec<_> = (0..self.spaces)
                    .map(|_| memory.create(SpaceSize::fixed(bytes)).expect("a space"))
                    .collect();
                let bases = spaces.iter().map(|space| space.as_ptr().as_ptr() as usize);
                let bases = bases.collect();
                _kept = (memory, spaces);
                bases
            }
        };
        let outcome = work.run(self, &bases);
        if side == Side::Kernel {
            rival::leave();
        }
        outcome
    }
}

/// Anonymous memory without huge pages.
fn anonymous(bytes: usize) -> usize {
    // SAFETY: a fresh mapping touches nothing of ours.
    let base = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let allowed = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), bytes, allowed, flags, -1, 0)
    };
    assert_ne!(base, libc::MAP_FAILED, "no memory for {bytes} bytes");
    // SAFETY: the mapping above.
    unsafe { libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE) };
    base as usize
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What is accessed in which order, and what each page holds.
struct Work {
    words: Vec<Vec<u8>>,
    /// Of each thread: a page, twice, plus one when it is a store.
    sequences: Vec<Vec<u32>>,
    /// Of each page: how often it was stored to.
    versions: Vec<AtomicU64>,
}

impl Work {
    fn new(cell: &Cell) -> Self {
        let mut state = 88_172_645_463_325_252;
        let words = (0..2048).map(|_| {
            let len = 2 + next(&mut state) as usize % 8;
            let letter = |n: usize| {
                let from: &[u8] = if n % 2 == 1 { b"aeiou" } else { b"tnshrdlcmwfgypb" };
                from[next(&mut state) as usize % from.len()]
            };
            (0..len).map(letter).chain([b' ']).collect()
        });
        let words = words.collect();
        let mut sequences = vec![Vec::new(); cell.threads];
        for access in sequence(cell.pages(), cell.zipf) {
            sequences[(access >> 1) as usize % cell.threads].push(access);
        }
        let versions = (0..cell.pages()).map(|_| AtomicU64::new(0)).collect();
        Self {
            words,
            sequences,
            versions,
        }
    }

    /// Words and records, about 3:1 by LZ4.
    fn fill(&self, number: u64, page: &mut [u8; PAGE_SIZE]) {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        page.fill(0);
        let mut at = 24;
        while at + 12 < WORDS {
            let share = (next(&mut state) >> 11) as f64 / (1_u64 << 53) as f64;
            let word = &self.words[(2047.0 * share * share * share) as usize];
            page[at..at + word.len()].copy_from_slice(word);
            at += word.len();
        }
        for record in (at.next_multiple_of(64)..PAGE_SIZE).step_by(64) {
            let words = [number as u32, record as u32, 1, 0, 0, 0, 0x3f80_0000];
            for (n, word) in words.into_iter().enumerate() {
                page[record + n * 4..][..4].copy_from_slice(&word.to_le_bytes());
            }
        }
        seal(page, number, 0);
    }

    /// Checks a page, and stores to it or not.
    fn access(&self, page: &mut [u8; PAGE_SIZE], access: u32) {
        let number = u64::from(access >> 1);
        let slot = &self.versions[number as usize];
        // Relaxed: each page is one thread's.
        let version = slot.load(Ordering::Relaxed);
        let head = [0, 8, 16].map(|at| u64::from_le_bytes(page[at..at + 8].try_into().expect("eight bytes")));
        assert_eq!(
            head,
            [number, version, sum(page)],
            "a page is not what was stored"
        );
        if access & 1 == 1 {
            let version = version + 1;
            let at = 64 + version as usize * 8 % 1024;
            page[at..at + 8].copy_from_slice(format!("{version:08x}").as_bytes());
            seal(page, number, version);
            // Relaxed: as above.
            slot.store(version, Ordering::Relaxed);
        }
    }

    fn run(&self, cell: &Cell, bases: &[usize]) -> Outcome {
        let at = |number: usize| {
            let addr = bases[number % bases.len()] + number / bases.len() * PAGE_SIZE;
            addr as *mut [u8; PAGE_SIZE]
        };
        for number in 0..cell.pages() {
            // SAFETY: inside the memory of this cell, which one thread fills.
            self.fill(number as u64, unsafe { &mut *at(number) });
        }
        let phase = AtomicU32::new(0);
        let all = Mutex::new(Times::default());
        let time = Duration::from_millis(cell.millis);
        let (mut cpu, mut took) = (0.0, Duration::ZERO);
        // It wakes up for a moment, whatever the threads do.
        first_in_line(PRIORITY + 1);
        std::thread::scope(|scope| {
            for (n, mine) in self.sequences.iter().enumerate() {
                let (phase, all) = (&phase, &all);
                scope.spawn(move || {
                    pin(n);
                    first_in_line(PRIORITY);
                    let mut times = Times::default();
                    for access in mine.iter().cycle() {
                        // Relaxed: only says when to begin and to stop.
                        let now = phase.load(Ordering::Relaxed);
                        if now == 2 {
                            break;
                        }
                        let begin = Instant::now();
                        // SAFETY: as above; the page is this thread's.
                        self.access(unsafe { &mut *at((access >> 1) as usize) }, *access);
                        if now == 1 {
                            times.add(begin.elapsed());
                        }
                    }
                    all.lock().expect("nobody fails with it").join(&times);
                });
            }
            std::thread::sleep(time / 2);
            let (begin, before) = (Instant::now(), cpu_seconds());
            // Relaxed: as above.
            phase.store(1, Ordering::Relaxed);
            std::thread::sleep(time);
            // Relaxed: as above.
            phase.store(2, Ordering::Relaxed);
            (cpu, took) = (cpu_seconds() - before, begin.elapsed());
        });
        let times = all.into_inner().expect("nobody failed with it");
        let micros = |share| times.quantile(share) as f64 / 1e3;
        Outcome {
            rate: times.count as f64 / took.as_secs_f64(),
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            cpu: cpu / took.as_secs_f64() * 100.0,
            held_mib: rival::held_mib(),
        }
    }
}

/// Pages, each twice, plus one for a store.
fn sequence(pages: usize, zipf: bool) -> impl Iterator<Item = u32> {
    let mut state = 77;
    let mut order: Vec<u32> = (0..pages as u32).collect();
    for n in (1..pages).rev() {
        order.swap(n, next(&mut state) as usize % (n + 1));
    }
    let mut sums = Vec::with_capacity(pages);
    let mut sum = 0.0;
    for n in 0..pages {
        sum += ((n + 1) as f64).powf(-0.99);
        sums.push(sum);
    }
    (0..SEQUENCE).map(move |_| {
        let chance = next(&mut state) >> 11;
        let at = if zipf {
            let share = chance as f64 / (1_u64 << 53) as f64 * sum;
            sums.partition_point(|&s| s < share).min(pages - 1)
        } else {
            chance as usize % pages
        };
        order[at] << 1 | u32::from(next(&mut state) >> 20 < STORES * ((1 << 44) / 100))
    })
}

/// Of all but the head.
fn sum(page: &[u8; PAGE_SIZE]) -> u64 {
    let (words, _) = page[24..].as_chunks::<8>();
    let mut lanes = [1_u64, 2, 3, 4];
    for (n, word) in words.iter().enumerate() {
        let lane = &mut lanes[n % 4];
        *lane = (*lane ^ u64::from_le_bytes(*word))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
    lanes[0] ^ lanes[1].rotate_left(16) ^ lanes[2].rotate_left(32) ^ lanes[3].rotate_left(48)
}

fn seal(page: &mut [u8; PAGE_SIZE], number: u64, version: u64) {
    let sum = sum(page);
    for (n, word) in [number, version, sum].into_iter().enumerate() {
        page[n * 8..][..8].copy_from_slice(&word.to_le_bytes());
    }
}
