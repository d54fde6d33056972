//! Page tables, judged from outside: what the kernel counts (`VmPTE`) is never more than what is
//! charged, nor much less; after drops and evictions both fall.
//!
//! `VmPTE` is of the whole process, so each case runs in a process of its own: the test binary
//! again, told by an environment variable which case it is.

use memfold::{Memory, PAGE_SIZE, PageTables, Space, SpaceSize};
use std::process::Command;

const CASE: &str = "MEMFOLD_PAGE_TABLES_CASE";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Page tables of this process as the kernel counts them, in bytes.
fn vm_pte() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPTE:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel counts page tables") * KIB
}

/// A memory, and what the kernel counted before it was built.
struct Harness {
    memory: Memory,
    before: u64,
    fixed: u64,
}

impl Harness {
    fn new(guard: u64) -> Self {
        let before = vm_pte();
        let memory = Memory::builder()
            .budget_bytes(GIB / 2)
            .guard_bytes(guard)
            .background(false)
            .build()
            .expect("userfaultfd works here");
        let fixed = memory.stats().usage.page_tables;
        let harness = Self {
            memory,
            before,
            fixed,
        };
        harness.compare("at the start", 0);
        harness
    }

    fn charged(&self) -> u64 {
        self.memory.stats().usage.page_tables
    }

    /// What the kernel counts for us, at the least: of its number, what the process's heap can need
    /// is taken off.
    fn kernel(&self) -> u64 {
        let usage = self.memory.stats().usage;
        let heap = (usage.tables + usage.stored) / 512 + 48 * KIB;
        vm_pte().saturating_sub(self.before + heap)
    }

    /// The bound holds, and is no more than a tenth above the truth, beside a KiB and a half for
    /// each window and what is charged from the start.
    fn compare(&self, when: &str, windows: u64) {
        let (charged, kernel) = (self.charged(), self.kernel());
        println!(
            "{when}: charged {} KiB, the kernel counts {} KiB",
            charged / KIB,
            kernel / KIB
        );
        assert!(
            kernel <= charged,
            "{when}: the kernel counts {kernel}, charged {charged}"
        );
        let usage = self.memory.stats().usage;
        let slack = (usage.tables + usage.stored) / 512 + 128 * KIB;
        let most = kernel + kernel / 10 + windows * 1500 + self.fixed + slack;
        assert!(
            charged <= most,
            "{when}: charged {charged}, the kernel counts {kernel}"
        );
        if let Err(all) = self.memory.check() {
            panic!("{when}: {}", all.join("\n"));
        }
    }

    fn finish(self) {
        self.compare("at the end", 0);
        assert_eq!(self.charged(), self.fixed, "everything was given back");
    }
}

/// Stores to a page.
fn set(space: &Space, page: u64, value: u8) {
    space.write(page * PAGE_SIZE as u64 + 5, &[value]).expect("room");
}

fn get(space: &Space, page: u64) -> u8 {
    let at = (page * PAGE_SIZE as u64 + 5) as usize;
    assert!((at as u64) < space.len());
    // SAFETY: inside the space, which lives; nobody stores to it at the same time.
    unsafe { space.as_ptr().as_ptr().add(at).read_volatile() }
}

/// The `n`-th of pages that lie far apart.
fn scattered(n: u64, of: u64) -> u64 {
    n * 1657 % of
}

fn dense() {
    let harness = Harness::new(0);
    let space = harness.memory.create(SpaceSize::fixed(200 * MIB)).expect("room");
    (0..space.len() / PAGE_SIZE as u64).for_each(|page| set(&space, page, 1));
    harness.compare("dense", 1);
    assert!(harness.charged() >= harness.fixed + 100 * 4096);
    drop(space);
    harness.finish();
}

fn thousand_forks() {
    let harness = Harness::new(0);
    let parent = harness.memory.create(SpaceSize::fixed(60 * MIB)).expect("room");
    let pages = parent.len() / PAGE_SIZE as u64;
    (0..200).for_each(|n| set(&parent, scattered(n, pages), 3));
    let mut forks: Vec<_> = (0..1000).map(|_| parent.fork().expect("room")).collect();
    harness.compare("forked", 1001);
    for (fork, first) in forks.iter().zip(0..) {
        (first..first + 10).for_each(|n| set(fork, scattered(n, pages), 4));
        assert_eq!(
            get(fork, scattered(11 + first, pages)),
            if first + 11 < 200 { 3 } else { 0 }
        );
    }
    harness.compare("written", 1001);
    let each = (harness.charged() - harness.fixed) / 1000;
    assert!((40 * KIB..60 * KIB).contains(&each), "{each} bytes a fork");
    // One in sixteen stays, each in another GiB of addresses.
    let mut n = 0;
    forks.retain(|_| {
        n += 1;
        n % 16 == 0
    });
    harness.compare("some dropped", 1001);
    let again: Vec<_> = (0..500).map(|_| parent.fork().expect("room")).collect();
    again.iter().for_each(|fork| set(fork, 77, 5));
    harness.compare("forked again", 1001);
    drop((parent, forks, again));
    harness.finish();
}

fn wasm_like() {
    let harness = Harness::new(2 * GIB);
    let size = SpaceSize {
        len: 17 * MIB,
        reserve: 4 * GIB,
    };
    let spaces: Vec<_> = (0..200)
        .map(|_| harness.memory.create(size).expect("room"))
        .collect();
    // The upper table of each is charged before it is made.
    harness.compare("opened", 5 * 200);
    for space in &spaces {
        set(space, 0, 1);
        assert_eq!(get(space, 1 << 12), 0);
        space.grow(3 * GIB / 2).expect("room");
        assert_eq!(get(space, 300_000), 0);
    }
    // A window's part of 1.5 GiB can reach into three GiB, of which two were touched.
    harness.compare("touched and grown", 5 * 200);
    drop(spaces);
    harness.finish();
}

fn evicted() {
    let harness = Harness::new(0);
    let parent = harness.memory.create(SpaceSize::fixed(64 * MIB)).expect("room");
    let pages = parent.len() / PAGE_SIZE as u64;
    (0..300).for_each(|n| set(&parent, scattered(n, pages), 3));
    let forks: Vec<_> = (0..100).map(|_| parent.fork().expect("room")).collect();
    for fork in &forks {
        (0..20).for_each(|n| set(fork, scattered(n, pages), 4));
        assert_eq!(get(fork, scattered(50, pages)), 3);
    }
    harness.compare("written", 101);
    let before = (harness.charged(), harness.kernel());
    for fork in &forks {
        fork.evict().expect("it lives");
    }
    harness.compare("evicted", 101);
    // Linux 6.14 gives the tables back; what remains is a window each.
    if harness.memory.stats().counts.tables_freed != 0 {
        let after = (harness.charged(), harness.kernel());
        assert!(
            after.0 * 5 < before.0 + harness.fixed * 5,
            "charged {before:?}, then {after:?}"
        );
        assert!(after.1 * 5 < before.1, "charged {before:?}, then {after:?}");
    }
    for fork in &forks {
        (0..20).for_each(|n| assert_eq!(get(fork, scattered(n, pages)), 4));
        assert_eq!(get(fork, scattered(50, pages)), 3);
    }
    harness.compare("back", 101);
    drop((parent, forks));
    harness.finish();
}

/// Many backings, far apart in the pool, each of which is read where it is.
fn read_in_the_pool() {
    let harness = Harness::new(0);
    let size = SpaceSize {
        len: MIB,
        reserve: GIB,
    };
    for round in 0..3 {
        let mut spaces = Vec::new();
        for _ in 0..400 {
            let parent = harness.memory.create(size).expect("room");
            set(&parent, 9, 1);
            let fork = parent.fork().expect("room");
            assert_eq!(get(&fork, 9), 1);
            // A copy of the page in the pool.
            set(&fork, 9, 2);
            spaces.extend([parent, fork]);
        }
        harness.compare(&format!("round {round}"), 800);
    }
    harness.finish();
}

/// A budget in which nothing but page tables can be short: idle windows give theirs to those that
/// need some.
fn short_of_tables() {
    let memory = Memory::builder()
        .budget_bytes(32 * MIB)
        .build()
        .expect("userfaultfd works here");
    if !can_free(&memory) {
        return;
    }
    let parent = memory.create(SpaceSize::fixed(64 * MIB)).expect("room");
    let spaces: Vec<_> = (0..800).map(|_| parent.fork().expect("room")).collect();
    for round in 0..2u64 {
        for space in &spaces {
            // Zeros, in 20 tables: 64 MiB of tables in all.
            (0..20).for_each(|n| assert_eq!(get(space, n * 512 + round), 0));
        }
    }
    let stats = memory.stats();
    assert!(stats.usage.peak <= stats.usage.limit, "{stats:?}");
    assert!(stats.counts.tables_freed > 16_000, "{stats:?}");
    assert!(spaces.iter().all(|space| space.take_failure().is_none()));
    assert!(
        vm_pte() <= stats.usage.page_tables + MIB,
        "{} of {stats:?}",
        vm_pte()
    );
    assert_eq!(memory.check(), Ok(()));
}

/// The same without the budget's knowledge: page tables come on top, and are shown.
fn on_top() {
    let memory = Memory::builder()
        .budget_bytes(4 * MIB)
        .page_tables(PageTables::OnTop)
        .build()
        .expect("userfaultfd works here");
    let parent = memory.create(SpaceSize::fixed(64 * MIB)).expect("room");
    let spaces: Vec<_> = (0..100).map(|_| parent.fork().expect("room")).collect();
    for space in &spaces {
        (0..20).for_each(|n| assert_eq!(get(space, n * 512), 0));
    }
    let usage = memory.stats().usage;
    assert!(
        usage.page_tables > 2000 * 4096 && usage.total <= usage.limit,
        "{usage:?}"
    );
    let sum = usage.private + usage.pool + usage.stored + usage.tables;
    assert_eq!(usage.total, sum);
    assert_eq!(memory.check(), Ok(()));
}

fn can_free(memory: &Memory) -> bool {
    let space = memory.create(SpaceSize::fixed(2 * MIB)).expect("room");
    set(&space, 3, 1);
    space.evict().expect("it lives");
    memory.stats().counts.tables_freed == 1
}

const CASES: [(&str, fn()); 7] = [
    ("dense", dense),
    ("thousand_forks", thousand_forks),
    ("wasm_like", wasm_like),
    ("evicted", evicted),
    ("read_in_the_pool", read_in_the_pool),
    ("short_of_tables", short_of_tables),
    ("on_top", on_top),
];

/// The case that this process is for, if it is for one.
#[test]
fn one_case() {
    let Ok(name) = std::env::var(CASE) else { return };
    let (_, case) = CASES.iter().find(|(case, _)| *case == name).expect("a case");
    case();
}

/// Goal: what is charged for page tables is at least what the kernel counts for the process, and
/// not much more, with dense and scattered touches, forks, growth, evictions, drops, many backings;
/// the budget holds with them, and idle windows' tables go where room is needed. Method: each case
/// in a process of its own, against `VmPTE`.
#[test]
fn the_kernel_counts_no_more() {
    let exe = std::env::current_exe().expect("the test's own binary");
    let mut failed = Vec::new();
    for (name, _) in CASES {
        let run = Command::new(&exe)
            .args(["--exact", "one_case", "--nocapture", "--test-threads=1"])
            .env(CASE, name)
            .output()
            .expect("the test binary runs");
        let text = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        println!("--- {name}: {}\n{text}", run.status);
        if !run.status.success() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
