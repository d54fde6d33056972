//! `instructions`: each operation of the manager many times, for callgrind to count
//! (`cargo xtask instructions`).
//!
//! Only the manager's own instructions count. Callgrind collects while control is in
//! `count_from_here` and not in `not_counted`, both of which it knows by name and neither of which
//! is ever inlined: operations run in the former, and every call of the machine or of the store
//! goes through the latter, so that what the simulator spends is left out exactly. What a store
//! asks of the budget is left out with it; what the manager spends in the C library (allocations,
//! copies) is counted. At `part_ends` callgrind writes down what it counted. The program prints a
//! line for each part, in their order: how many operations it was, and which.
#![forbid(unsafe_code)]

// Under shuttle, locks and atomics are those of its threads only.
#[cfg(shuttle)]
fn main() {}

#[cfg(not(shuttle))]
fn main() {
    for (name, operation) in counted::OPERATIONS {
        println!("{} {name}", operation());
        counted::part_ends();
    }
}

#[cfg(not(shuttle))]
mod counted {
    use memfold_host::addr::{Access, PAGE_SIZE, PageBytes, PageNo, PoolPage, Run, SpaceNo};
    use memfold_host::{
        Cost, Domain, Host, HostError, Ledger, PageRef, Protection, Store, StoreError, StoreStats, Stored,
        Tables,
    };
    use memfold_mm::{Config, Merging, Mm, PageTables, Replacement, Size, UNLIMITED};
    use memfold_sim::program::Place;
    use memfold_sim::{SimHost, SimStore};
    use std::hint::black_box;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Pages of each space.
    const PAGES: u32 = 1024;
    /// Pages that share a leaf, and that one load may show together.
    const TOGETHER: usize = 16;
    /// Forks of one space.
    const FORKS: usize = 200;

    /// What is counted: does it, and says how many times.
    type Operation = fn() -> usize;

    /// All of them, in the order of the report.
    pub const OPERATIONS: [(&str, Operation); 13] = [
        ("fault: first store", first_store),
        ("fault: first load", first_load),
        ("fault: load of a template's pages", load_of_a_template),
        ("fault: copy on write, not shown", copy_not_shown),
        ("fault: copy on write, shown", copy_shown),
        ("fault: swap-in, own", swap_in_own),
        ("fault: swap-in of a leaf of shared pages", swap_in_shared),
        ("fork: nothing written", fork),
        ("fork: 16 pages written", fork_of_written),
        ("drop: of such a fork", drop_of_forks),
        ("eviction: own page", eviction_own),
        ("eviction: shared page", eviction_shared),
        ("merge: a pair", merge),
    ];

    /// Whether callgrind collects: what it knows by name turns that round, so nobody goes through
    /// there in vain.
    static COUNTING: AtomicBool = AtomicBool::new(false);

    fn counting() -> bool {
        // relaxed: one thread.
        COUNTING.load(Ordering::Relaxed)
    }

    fn set_counting(counting: bool) {
        // relaxed: one thread.
        COUNTING.store(counting, Ordering::Relaxed);
    }

    /// Callgrind collects from here on.
    #[inline(never)]
    fn count_from_here(operation: &mut dyn FnMut()) {
        set_counting(true);
        operation();
        set_counting(false);
    }

    /// Callgrind does not collect in here.
    #[inline(never)]
    fn not_counted<R>(beyond: impl FnOnce() -> R) -> R {
        // Something is left to do after the call, so that it is a call and no jump: callgrind sees
        // the way back.
        let answer = beyond();
        black_box(());
        answer
    }

    /// Callgrind writes down what it counted since the last time.
    #[inline(never)]
    pub fn part_ends() {
        black_box(());
    }

    /// A machine or a store whose instructions are not counted.
    struct Beyond<T>(T);

    macro_rules! forward {
        ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)*) => {
            $(fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
                if counting() {
                    not_counted(|| self.0.$name($($arg),*))
                } else {
                    self.0.$name($($arg),*)
                }
            })*
        };
    }

    impl Host for Beyond<SimHost> {
        forward! {
            fn reserve_pool(pages: u64) -> Result<(), HostError>;
            fn open(space: SpaceNo, backing: PoolPage, reserve: u32, len: u32) -> Result<u64, HostError>;
            fn close(space: SpaceNo, tables: u64) -> u64;
            fn free_kept() -> u64;
            fn resize(space: SpaceNo, len: u32) -> Result<u64, HostError>;
            fn shrink(space: SpaceNo, len: u32);
            fn page_tables() -> Tables;
            fn most_window_bytes(pages: u32) -> u64;
            fn windows_held() -> u64;
            fn free_table(space: SpaceNo, run: Run) -> bool;
            fn show(space: SpaceNo, run: Run) -> Result<(), HostError>;
            fn show_zero(space: SpaceNo, run: Run) -> Result<u64, HostError>;
            fn fill(space: SpaceNo, page: PageNo, bytes: &PageBytes, to: Protection) -> Result<(), HostError>;
            fn fill_run(space: SpaceNo, first: PageNo, bytes: &[PageBytes], to: Protection) -> usize;
            fn fill_zero(space: SpaceNo, run: Run) -> Result<(), HostError>;
            fn copy_from_pool(space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError>;
            fn show_standby(space: SpaceNo, page: PageNo, bytes: &PageBytes, to: Protection) -> Result<(), HostError>;
            fn protect(space: SpaceNo, run: Run) -> Result<(), HostError>;
            fn protect_around(space: SpaceNo, runs: &[Run]) -> Result<(), HostError>;
            fn unprotect(space: SpaceNo, run: Run) -> Result<(), HostError>;
            fn protections_hold() -> bool;
            fn writable(space: SpaceNo, run: Run) -> u64;
            fn drop_pages(space: SpaceNo, run: Run);
            fn drop_many(runs: &[(SpaceNo, Run)]);
            fn read_private(space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError>;
            fn read_racy(space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError>;
            fn copy_to_pool(space: SpaceNo, run: Run, to: PoolPage) -> Result<(), HostError>;
            fn pool_write(at: PoolPage, bytes: &PageBytes) -> Result<(), HostError>;
            fn pool_read(at: PoolPage, out: &mut PageBytes) -> Result<(), HostError>;
            fn sample_equal(space: SpaceNo, page: PageNo, of: PageRef) -> bool;
            fn sample_is_zero(space: SpaceNo, page: PageNo) -> bool;
            fn pages_equal(space: SpaceNo, page: PageNo, of: PageRef) -> Result<bool, HostError>;
            fn pool_equals(at: PoolPage, bytes: &PageBytes) -> Result<bool, HostError>;
            fn pool_free(first: PoolPage, len: u32);
            fn test_and_clear_young(space: SpaceNo, run: Run) -> u64;
        }
    }

    impl Store for Beyond<SimStore> {
        forward! {
            fn put(domain: Domain, page: &PageBytes, near: Option<Stored>, ledger: &dyn Ledger)
                -> Result<Stored, StoreError>;
            fn get(id: Stored, out: &mut PageBytes) -> Result<(), StoreError>;
            fn free(id: Stored, ledger: &dyn Ledger);
            fn cost(id: Stored) -> Cost;
            fn stats() -> StoreStats;
        }
    }

    type Harness = Mm<Beyond<SimHost>, Beyond<SimStore>>;

    /// A manager, and a space of zeros.
    fn harness() -> (Harness, SpaceNo) {
        let config = Config {
            limit_bytes: UNLIMITED,
            machine_bytes: 1 << 30,
            spaces: 1024,
            store_bytes: 0,
            page_tables: PageTables::Counted,
            replacement: Replacement::default(),
            native: memfold_mm::Native::Off,
        };
        let mm = Mm::new(Beyond(SimHost::new(1)), Beyond(SimStore::new(1)), config).expect("no limit");
        let size = Size {
            len: PAGES,
            reserve: PAGES,
        };
        let space = mm.create(size, Domain(0)).expect("no limit");
        (mm, space)
    }

    /// All pages of a space.
    fn all() -> Run {
        Run {
            first: PageNo(0),
            len: PAGES,
        }
    }

    /// A program fills the page.
    fn fill(mm: &Harness, space: SpaceNo, page: u32) {
        let at = Place {
            page: PageNo(page),
            offset: 0,
        };
        let bytes = [page as u8; PAGE_SIZE];
        // Ends: nothing runs beside it that takes the page away again.
        while mm.host().0.store(space, at, &bytes).is_err() {
            fault(mm, space, page, Access::Write);
        }
    }

    fn fault(mm: &Harness, space: SpaceNo, page: u32, access: Access) {
        mm.fault(space, PageNo(page), access).expect("no limit");
    }

    /// Faults at these pages, from the last on, so that none is made ahead of need.
    fn faults(mm: &Harness, space: SpaceNo, access: Access, every: usize) -> usize {
        let pages = || (0..PAGES).rev().step_by(every);
        count_from_here(&mut || pages().for_each(|page| fault(mm, space, page, access)));
        pages().count()
    }

    /// A manager, and a space whose pages are written.
    fn written() -> (Harness, SpaceNo) {
        let (mm, space) = harness();
        (0..PAGES).rev().for_each(|page| fill(&mm, space, page));
        (mm, space)
    }

    /// A manager, a template whose pages are in the pool, and a fork of it.
    fn forked() -> (Harness, SpaceNo, SpaceNo) {
        let (mm, space) = written();
        let template = mm.freeze(space).expect("no limit");
        let fork = mm.fork(template).expect("no limit");
        (mm, template, fork)
    }

    fn first_store() -> usize {
        let (mm, space) = harness();
        faults(&mm, space, Access::Write, 1)
    }

    fn first_load() -> usize {
        let (mm, space) = harness();
        faults(&mm, space, Access::Read, 1)
    }

    fn load_of_a_template() -> usize {
        let (mm, _, fork) = forked();
        faults(&mm, fork, Access::Read, TOGETHER)
    }

    fn copy_not_shown() -> usize {
        let (mm, _, fork) = forked();
        faults(&mm, fork, Access::Write, 1)
    }

    fn copy_shown() -> usize {
        let (mm, _, fork) = forked();
        (0..PAGES)
            .rev()
            .for_each(|page| fault(&mm, fork, page, Access::Read));
        faults(&mm, fork, Access::Write, 1)
    }

    fn swap_in_own() -> usize {
        let (mm, space) = written();
        assert_eq!(mm.evict(space, all()), Ok(u64::from(PAGES)));
        faults(&mm, space, Access::Write, 1)
    }

    fn swap_in_shared() -> usize {
        let (mm, _, fork) = forked();
        assert_eq!(mm.evict(fork, all()), Ok(u64::from(PAGES)));
        faults(&mm, fork, Access::Read, TOGETHER)
    }

    fn fork_once(mm: &Harness, parent: SpaceNo) {
        let _ = mm.fork(parent).expect("no limit");
    }

    fn fork() -> usize {
        let (mm, template, _) = forked();
        count_from_here(&mut || {
            (0..FORKS).for_each(|_| fork_once(&mm, template));
        });
        FORKS
    }

    fn fork_of_written() -> usize {
        let (mm, _, parent) = forked();
        for _ in 0..FORKS {
            (0..PAGES)
                .step_by(PAGES as usize / 16)
                .for_each(|page| fill(&mm, parent, page));
            count_from_here(&mut || fork_once(&mm, parent));
        }
        FORKS
    }

    fn drop_of_forks() -> usize {
        let (mm, template, _) = forked();
        let forks: Vec<SpaceNo> = (0..FORKS).map(|_| mm.fork(template).expect("no limit")).collect();
        for &fork in &forks {
            (0..PAGES)
                .step_by(PAGES as usize / 16)
                .for_each(|page| fill(&mm, fork, page));
        }
        count_from_here(&mut || {
            for &fork in &forks {
                mm.drop_space(fork).expect("it lives");
            }
        });
        FORKS
    }

    fn eviction_own() -> usize {
        let (mm, _) = written();
        reclaim(&mm)
    }

    fn eviction_shared() -> usize {
        let (mm, _, _) = forked();
        reclaim(&mm)
    }

    /// Half of what is in memory goes, the looks at what stays included.
    fn reclaim(mm: &Harness) -> usize {
        let mut gone = 0;
        count_from_here(&mut || gone = mm.reclaim(PAGES / 2));
        gone as usize
    }

    fn merge() -> usize {
        let (mm, root) = harness();
        mm.set_merging(root, Merging::On).expect("it lives");
        let siblings = [(); 2].map(|()| mm.fork(root).expect("no limit"));
        for space in siblings {
            (0..PAGES)
                .filter(|page| page % 256 != 0)
                .for_each(|page| fill(&mm, space, page));
        }
        let mut merged = 0;
        count_from_here(&mut || merged = mm.merge_round(None).expect("no limit").merged);
        merged as usize
    }
}
