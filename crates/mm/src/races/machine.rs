//! The machine around the manager, outside of the model: windows, a pool, a store, programs.
//!
//! A page's bytes are one number. Each call of the host writes the witness of every page that it concerns, so that loom
//! reports two calls on one page that no lock of the manager orders; and each call panics when the seam's duties are broken.
//! A program loads and stores as a processor does, and faults when it cannot go on.

use crate::Config;
use crate::Mm;
use crate::addr::{Access, PAGE_SIZE, PageBytes, PageNo, PoolPage, Run, SpaceNo};
use crate::budget::UNLIMITED;
use crate::create::Size;
use crate::host::{Cost, Domain, Host, HostError, Ledger, Protection, Store, StoreError, StoreStats, Stored};
use memfold_sync::model::Outside;
use memfold_sync::{Arc, Witness};
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// The merge domain of all spaces here.
pub(super) const DOMAIN: Domain = Domain(5);
/// Pages of each space.
pub(super) const PAGES: u32 = 2;
const SPACES: usize = 8;
/// Where homes begin in the pool.
const HOMES: u64 = 1 << 28;
const POOL: usize = 48;

/// What a window shows at a page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Shown {
    #[default]
    Empty,
    Zero,
    Pool,
    Private {
        value: u64,
        writable: bool,
    },
}

#[derive(Debug, Default)]
struct Memory {
    /// The home and the pages of each open window.
    windows: BTreeMap<u32, (PoolPage, [Shown; PAGES as usize])>,
    pool: BTreeMap<u64, u64>,
}

impl Memory {
    fn page(&mut self, space: SpaceNo, page: PageNo) -> &mut Shown {
        let window = self.windows.get_mut(&space.0).expect("the space has a window");
        &mut window.1[page.0 as usize]
    }

    fn at(&self, space: SpaceNo, page: PageNo) -> PoolPage {
        self.windows[&space.0].0.plus(page.0)
    }
}

/// The host.
pub(super) struct Machine {
    memory: Outside<Memory>,
    pages: [[Witness; PAGES as usize]; SPACES],
    pool: [Witness; POOL],
}

fn value_of(bytes: &PageBytes) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"))
}

fn bytes_of(value: u64, out: &mut PageBytes) {
    out[..8].copy_from_slice(&value.to_le_bytes());
}

impl Machine {
    fn new() -> Self {
        Self {
            memory: Outside::default(),
            pages: std::array::from_fn(|_| std::array::from_fn(|_| Witness::new())),
            pool: std::array::from_fn(|_| Witness::new()),
        }
    }

    /// The call concerns these pages of the window.
    fn concerns(&self, space: SpaceNo, run: Run) {
        run.pages()
            .for_each(|page| self.pages[space.0 as usize][page.0 as usize].write());
    }

    /// The call concerns this pool page.
    fn concerns_pool(&self, at: PoolPage) {
        let n = if at.0 < HOMES { at.0 } else { at.0 - HOMES + 8 };
        self.pool[n as usize].write();
    }

    fn each(&self, space: SpaceNo, run: Run, mut step: impl FnMut(&mut Shown)) {
        self.concerns(space, run);
        self.memory
            .with(|m| run.pages().for_each(|page| step(m.page(space, page))));
    }

    /// A load by a program; `None` when it must fault.
    fn load(&self, space: SpaceNo, page: PageNo) -> Option<u64> {
        self.memory.with(|m| match *m.page(space, page) {
            Shown::Empty => None,
            Shown::Zero => Some(0),
            Shown::Pool => Some(m.pool[&m.at(space, page).0]),
            Shown::Private { value, .. } => Some(value),
        })
    }

    /// A store by a program; false when it must fault.
    pub(super) fn store(&self, space: SpaceNo, page: PageNo, to: u64) -> bool {
        self.memory.with(|m| match m.page(space, page) {
            Shown::Private {
                value,
                writable: true,
            } => {
                *value = to;
                true
            }
            _ => false,
        })
    }

    /// Private and pool pages held.
    pub(super) fn held(&self) -> (u64, u64) {
        self.memory.with(|m| {
            let shown = m.windows.values().flat_map(|(_, pages)| pages);
            let private = shown.filter(|s| matches!(s, Shown::Private { .. })).count();
            (private as u64, m.pool.len() as u64)
        })
    }
}

impl Host for Machine {
    fn reserve_pool(&self, _: u64) -> Result<(), HostError> {
        Ok(())
    }

    fn open(&self, space: SpaceNo, home: PoolPage, _: u32, len: u32) -> Result<u64, HostError> {
        self.concerns(space, all());
        assert_eq!(len, PAGES);
        let before = self
            .memory
            .with(|m| m.windows.insert(space.0, (home, Default::default())));
        assert!(before.is_none(), "a window was opened twice");
        Ok(0)
    }

    fn close(&self, space: SpaceNo) -> u64 {
        self.concerns(space, all());
        let window = self.memory.with(|m| m.windows.remove(&space.0));
        assert!(window.is_some(), "a window was closed twice");
        0
    }

    fn resize(&self, _: SpaceNo, _: u32) -> Result<u64, HostError> {
        Ok(0)
    }

    fn show(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        for page in run.pages() {
            let at = self.memory.with(|m| m.at(space, page));
            self.concerns_pool(at);
            assert!(
                self.memory.with(|m| m.pool.contains_key(&at.0)),
                "showed a pool page that holds nothing"
            );
        }
        self.each(space, run, |shown| {
            assert!(
                matches!(shown, Shown::Empty | Shown::Pool),
                "showed a pool page over {shown:?}"
            );
            *shown = Shown::Pool;
        });
        Ok(())
    }

    fn show_zero(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        self.each(space, run, |shown| match shown {
            Shown::Empty | Shown::Zero => *shown = Shown::Zero,
            other => panic!("showed zeros over {other:?}"),
        });
        Ok(0)
    }

    fn fill(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        self.each(space, Run::one(page), |shown| {
            assert!(matches!(shown, Shown::Empty | Shown::Zero), "filled {shown:?}");
            *shown = Shown::Private {
                value: value_of(bytes),
                writable: protection == Protection::Writable,
            };
        });
        Ok(())
    }

    fn fill_zero(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        for page in run.pages() {
            self.fill(space, page, &[0; PAGE_SIZE], Protection::Writable)?;
        }
        Ok(())
    }

    fn copy_from_pool(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError> {
        self.concerns_pool(from);
        let (value, own) = self.memory.with(|m| {
            let value = *m
                .pool
                .get(&from.0)
                .expect("copied a pool page that holds nothing");
            (value, m.at(space, page) == from)
        });
        self.each(space, Run::one(page), |shown| {
            let fits = *shown == Shown::Empty || (own && *shown == Shown::Pool);
            assert!(fits, "copied a pool page over {shown:?}");
            *shown = Shown::Private {
                value,
                writable: true,
            };
        });
        Ok(())
    }

    fn show_standby(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        self.each(space, Run::one(page), |shown| {
            assert!(
                !matches!(shown, Shown::Private { .. }),
                "showed a standby page over {shown:?}"
            );
            *shown = Shown::Private {
                value: value_of(bytes),
                writable: protection == Protection::Writable,
            };
        });
        Ok(())
    }

    fn protect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.each(space, run, |shown| match shown {
            Shown::Private { writable, .. } => *writable = false,
            other => panic!("protected {other:?}"),
        });
        Ok(())
    }

    fn unprotect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.each(space, run, |shown| match shown {
            Shown::Private { writable, .. } => *writable = true,
            other => panic!("let stores through to {other:?}"),
        });
        Ok(())
    }

    fn drop_pages(&self, space: SpaceNo, run: Run) {
        self.each(space, run, |shown| *shown = Shown::Empty);
    }

    fn read_private(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        self.each(space, Run::one(page), |shown| match shown {
            Shown::Private {
                value,
                writable: false,
            } => bytes_of(*value, out),
            other => panic!("read {other:?} as a protected private page"),
        });
        Ok(())
    }

    fn read_racy(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        self.each(space, Run::one(page), |shown| match shown {
            Shown::Private { value, .. } => bytes_of(*value, out),
            other => panic!("looked at {other:?} as a private page"),
        });
        Ok(())
    }

    fn copy_to_pool(&self, space: SpaceNo, run: Run, to: PoolPage) -> Result<(), HostError> {
        for (n, page) in run.pages().enumerate() {
            let mut bytes = [0; PAGE_SIZE];
            self.read_private(space, page, &mut bytes)?;
            self.pool_write(to.plus(n as u32), &bytes)?;
        }
        Ok(())
    }

    fn pool_write(&self, at: PoolPage, bytes: &PageBytes) -> Result<(), HostError> {
        self.concerns_pool(at);
        let before = self.memory.with(|m| m.pool.insert(at.0, value_of(bytes)));
        assert!(before.is_none(), "wrote a pool page that is in use");
        Ok(())
    }

    fn pool_read(&self, at: PoolPage, out: &mut PageBytes) -> Result<(), HostError> {
        self.concerns_pool(at);
        let value = self.memory.with(|m| m.pool.get(&at.0).copied());
        bytes_of(value.expect("read a pool page that holds nothing"), out);
        Ok(())
    }

    fn pool_free(&self, first: PoolPage, len: u32) {
        for at in (0..len).map(|n| first.plus(n)) {
            self.concerns_pool(at);
            self.memory.with(|m| {
                m.pool.remove(&at.0);
                for (home, pages) in m.windows.values_mut() {
                    let shows = |n: usize| home.plus(n as u32) == at && pages[n] == Shown::Pool;
                    if let Some(n) = (0..pages.len()).find(|&n| shows(n)) {
                        pages[n] = Shown::Empty;
                    }
                }
            });
        }
    }

    fn test_and_clear_young(&self, space: SpaceNo, run: Run) -> u64 {
        let mut young = 0;
        let mut bit = 1;
        self.each(space, run, |shown| {
            if *shown == Shown::Pool {
                *shown = Shown::Empty;
                young |= bit;
            }
            bit <<= 1;
        });
        young
    }
}

/// The store.
#[derive(Default)]
pub(super) struct Shelf(Outside<(u64, BTreeMap<u64, u64>)>);

impl Shelf {
    pub(super) fn pages(&self) -> usize {
        self.0.with(|shelf| shelf.1.len())
    }
}

impl Store for Shelf {
    fn put(
        &self,
        domain: Domain,
        page: &PageBytes,
        _: Option<Stored>,
        _: &dyn Ledger,
    ) -> Result<Stored, StoreError> {
        assert_eq!(domain, DOMAIN, "a page went to the store in another domain");
        let id = self.0.with(|(last, pages)| {
            *last += 1;
            pages.insert(*last, value_of(page));
            *last
        });
        Ok(Stored(NonZeroU64::new(id).expect("not 0")))
    }

    fn get(&self, id: Stored, out: &mut PageBytes) -> Result<(), StoreError> {
        let value = self.0.with(|shelf| shelf.1.get(&id.0.get()).copied());
        bytes_of(value.expect("got bytes that were freed"), out);
        Ok(())
    }

    fn free(&self, id: Stored, _: &dyn Ledger) {
        let was = self.0.with(|shelf| shelf.1.remove(&id.0.get()));
        assert!(was.is_some(), "freed bytes twice");
    }

    /// Every page by itself, in little room.
    fn cost(&self, _: Stored) -> Cost {
        Cost {
            bytes: 100,
            ..Cost::default()
        }
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            pages: self.pages() as u64,
            ..StoreStats::default()
        }
    }
}

/// The manager on this machine.
pub(super) type World = Mm<Machine, Shelf>;

/// All pages of a space.
pub(super) fn all() -> Run {
    Run {
        first: PageNo(0),
        len: PAGES,
    }
}

/// An empty manager and a space; its tree has `levels` levels, 1 or 2.
pub(super) fn world(levels: u32) -> (Arc<World>, SpaceNo) {
    let config = Config {
        replacement: crate::Replacement::default(),
        limit_bytes: UNLIMITED,
        machine_bytes: 1 << 20,
        spaces: 6,
        store_bytes: 0,
        page_tables: crate::PageTables::Counted,
    };
    let mm = Mm::new(Machine::new(), Shelf::default(), config).expect("no limit");
    let space = create(&mm, levels);
    (Arc::new(mm), space)
}

/// One space more.
pub(super) fn create(mm: &World, levels: u32) -> SpaceNo {
    let reserve = if levels == 1 { PAGES } else { 17 };
    mm.create(Size { len: PAGES, reserve }, DOMAIN).expect("no limit")
}

/// A program's load.
pub(super) fn load(mm: &World, space: SpaceNo, page: u32) -> u64 {
    loop {
        if let Some(value) = mm.host().load(space, PageNo(page)) {
            return value;
        }
        mm.fault(space, PageNo(page), Access::Read)
            .expect("nothing fails here");
    }
}

/// A program's store.
pub(super) fn store(mm: &World, space: SpaceNo, page: u32, value: u64) {
    while !mm.host().store(space, PageNo(page), value) {
        mm.fault(space, PageNo(page), Access::Write)
            .expect("nothing fails here");
    }
}

/// Everything is as it must be when nothing runs: the invariants, and what the machine holds.
pub(super) fn check(mm: &World) {
    if let Err(violations) = crate::check(&mm) {
        panic!(
            "{}",
            violations
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        );
    }
    let usage = mm.usage();
    let page = PAGE_SIZE as u64;
    assert_eq!(
        mm.host().held(),
        (usage.private / page, usage.pool / page),
        "the machine holds what was charged"
    );
}
