//! Files under pressure: seeded histories of spaces that map files, and memory that they share, at
//! many places, private and shared, against arrays of bytes.
//!
//! The model of a space says for each page what backs it, what the space stored there itself, and
//! which accesses it allows; that of a file is its bytes. The budget holds a part of it all, and
//! now and then calls of the machine and of the files are refused. Every load is compared at once;
//! every few steps all bytes are, as the manager tells them and as windows show them, with its
//! invariants. After a sync that says so the file itself has the bytes. `files/steps.rs`,
//! `files/moves.rs` and `files/given_up.rs` have the steps. Called by `tests/files.rs`.

mod given_up;
mod moves;
mod steps;

use crate::audit;
use memfold_host::addr::{Access, PAGE_SIZE, PageBytes, PageNo, Run, SpaceNo};
use memfold_host::{Domain, Piece};
use memfold_mm::{
    Config, Digest, FaultError, InFork, Mm, OpenFile, PageTables, Replacement, Rights, SpaceError,
};
use memfold_sim::{Plan, Rng, SimHost, SimSource, SimStore};
use std::collections::BTreeMap;

/// Pages of a space.
const LEN: u32 = 48;
/// Most spaces.
const SPACES: usize = 9;
/// Files; the last is memory that spaces share.
const FILES: usize = 4;
/// Steps between two full comparisons.
const AUDIT_EVERY: u64 = 16;

/// A page of a file, and whose it is.
type Backed = (usize, u32, Piece);

/// One page of a space.
#[derive(Clone, Debug, Default)]
struct Page {
    /// `None`: zeros.
    file: Option<Backed>,
    /// What the space stored.
    own: Option<Box<PageBytes>>,
    rights: Rights,
    in_fork: InFork,
    locked: bool,
    /// What the space stored may be gone, until it stores again.
    given_up: bool,
}

impl Page {
    /// What a fork has in its place.
    fn in_fork(&self) -> Self {
        let zeros = Self {
            in_fork: self.in_fork,
            rights: self.rights,
            ..Self::default()
        };
        match self.in_fork {
            InFork::Same => Self {
                locked: false,
                ..self.clone()
            },
            InFork::Zeros => zeros,
            InFork::Nothing => Self {
                in_fork: InFork::Same,
                rights: Rights::None,
                ..zeros
            },
        }
    }
}

/// A file, how it is opened, and what it must read as.
#[derive(Debug)]
struct File {
    /// None: memory that spaces share.
    source: Option<SimSource>,
    /// Taken out for a moment only.
    open: Option<OpenFile>,
    bytes: Vec<u8>,
}

impl File {
    fn open(&self) -> &OpenFile {
        self.open.as_ref().expect("it is open")
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTally {
    /// Steps that ended in a stated error.
    pub failed: u64,
    /// Syncs that succeeded.
    pub synced: u64,
    /// Writes of pages that were refused.
    pub write_errors: u64,
    /// Pages of files that were evicted.
    pub evicted: u64,
    /// Times that a range was locked.
    pub locked: u64,
    /// Times that a range was moved.
    pub moved: u64,
    /// Pages whose areas the machine did not take back when a move was refused.
    pub half_moved: u64,
    /// Pages that were given up and went.
    pub given_up: u64,
}

/// Both sides.
struct World {
    mm: Mm<SimHost, SimStore>,
    rng: Rng,
    files: Vec<File>,
    spaces: BTreeMap<u32, Vec<Page>>,
    refusing: bool,
    tally: FileTally,
}

/// So many steps from a seed, then the end of all spaces and files.
///
/// # Panics
/// When the manager and the model differ.
pub fn run(seed: u64, steps: u64) -> FileTally {
    let mut world = World::new(seed);
    for step in 0..steps {
        world.step();
        audit::quick(&world.mm, 0);
        if step % AUDIT_EVERY == 0 {
            world.audit();
        }
    }
    world.finish()
}

fn contents(file: usize, pages: u32) -> Vec<u8> {
    let page = |page: u32| [(page as u8).wrapping_mul(3).wrapping_add(file as u8 + 1); PAGE_SIZE];
    (0..pages).flat_map(page).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = Config {
            limit_bytes: [5 << 18, 3 << 19, 1 << 30][rng.below(3) as usize],
            machine_bytes: 64 << 20,
            spaces: SPACES as u32 + 1,
            store_bytes: 0,
            page_tables: PageTables::Counted,
            replacement: Replacement::ALL[rng.below(2) as usize],
            native: memfold_mm::Native::Off,
        };
        let mm = Mm::new(SimHost::new(seed ^ 2), SimStore::new(seed), config).expect("the sizes fit");
        let files = (0..FILES).map(|n| {
            let pages = 20 + 40 * n as u32;
            if n == FILES - 1 {
                let open = mm.files().share(pages, Domain(1)).ok();
                let (source, bytes) = (None, vec![0; pages as usize * PAGE_SIZE]);
                return File { source, open, bytes };
            }
            let bytes = contents(n, pages);
            let source = SimSource::new(seed ^ n as u64, bytes.clone());
            let open = mm.files().open(Box::new(source.clone())).ok();
            let source = Some(source);
            File { source, open, bytes }
        });
        let files = files.collect();
        Self {
            mm,
            rng,
            files,
            spaces: BTreeMap::new(),
            refusing: false,
            tally: FileTally::default(),
        }
    }

    fn step(&mut self) {
        let kind = self.rng.below(116);
        let Some(space) = self.pick() else {
            return self.create();
        };
        let run = self.run(24);
        let done = match kind {
            0..20 => self.load(space, run.first.0),
            20..52 => self.store(space, run.first.0),
            52..60 => self.map(space, run),
            60..63 => self.remake(space, run, Page::default(), |mm| mm.areas(space).unmap(run)),
            63..68 => self.protect(space, run),
            68..71 => self.discard(space, run),
            71..75 => self.mm.evict(space, run).map(|_| ()),
            75..80 => {
                self.mm.reclaim(run.len);
                Ok(())
            }
            80..86 => self.sync(),
            106 | 107 => {
                // Whether it was written is seen by nobody but the file.
                self.mm.files().write_back();
                Ok(())
            }
            86..88 => self.resize(),
            88..90 => self.copy(space, Mm::fork),
            90..92 => self.copy(space, Mm::freeze),
            92..94 => self.drop_space(space),
            94 => self.pin(space, run),
            95 => self.mm.merge_round(None).map(|_| ()),
            96 => self.advise(space, run),
            97 => {
                self.refuse();
                Ok(())
            }
            100..103 => self.lock(space, run),
            103..106 => self.unlock(space, run),
            108..112 => self.remap(space, run),
            112..116 => self.give_up(space, run),
            _ => {
                self.create();
                Ok(())
            }
        };
        self.find_given_up();
        if let Err(error) = done {
            self.tally.failed += 1;
            assert!(self.excused(error), "a step failed without a reason: {error}");
        }
    }

    fn excused(&self, error: SpaceError) -> bool {
        match error {
            SpaceError::OverBudget { .. }
            | SpaceError::NoRoomToLock { .. }
            | SpaceError::Fault(FaultError::OverBudget { .. }) => true,
            SpaceError::Host(_) | SpaceError::Fault(FaultError::Host { .. } | FaultError::Source { .. }) => {
                self.refusing
            }
            _ => false,
        }
    }

    fn pick(&mut self) -> Option<SpaceNo> {
        let n = self.rng.below(self.spaces.len().max(1) as u32) as usize;
        self.spaces.keys().nth(n).map(|&no| SpaceNo(no))
    }

    fn run(&mut self, most: u32) -> Run {
        let first = self.rng.below(LEN);
        let len = 1 + self.rng.below(most.min(LEN - first));
        let first = PageNo(first);
        Run { first, len }
    }

    fn page(&mut self, space: SpaceNo, page: u32) -> &mut Page {
        &mut self.spaces.get_mut(&space.0).expect("it lives")[page as usize]
    }

    /// What a page reads as; `None` behind the end of its file.
    fn value(&self, page: &Page) -> Option<PageBytes> {
        if let Some(own) = &page.own {
            return Some(**own);
        }
        let Some((file, at, _)) = page.file else {
            return Some([0; PAGE_SIZE]);
        };
        let start = at as usize * PAGE_SIZE;
        let bytes = self.files[file].bytes.get(start..start + PAGE_SIZE)?;
        Some(bytes.try_into().expect("a page"))
    }

    /// The page is the space's own from now on.
    fn own(&mut self, space: SpaceNo, page: u32) -> &mut PageBytes {
        let model = self.page(space, page).clone();
        let value = self.value(&model).expect("it is there");
        self.page(space, page).own.get_or_insert_with(|| Box::new(value))
    }

    /// A page as the manager tells it, while nothing is refused; `None` behind the end of its file.
    fn read(&self, space: SpaceNo, page: PageNo) -> Option<PageBytes> {
        let mut bytes = [0; PAGE_SIZE];
        let read = self
            .mm
            .host()
            .at_rest(|| self.mm.read_page(space, page, &mut bytes));
        match read {
            Ok(()) => Some(bytes),
            // Told by the file, and not kept from being told again.
            Err(SpaceError::Fault(FaultError::Source { .. })) if self.refusing => self.read(space, page),
            Err(SpaceError::Fault(FaultError::BeyondEnd { .. })) => None,
            Err(error) => panic!("page {page} of space {space} cannot be read: {error}"),
        }
    }

    fn audit(&self) {
        assert_eq!(self.mm.host().at_rest(|| memfold_mm::check(&self.mm)), Ok(()));
        for (&no, pages) in &self.spaces {
            let space = SpaceNo(no);
            self.audit_locks(space, pages);
            let open = self.mm.host().stores_go_through(space);
            for (page, model) in (0..).map(PageNo).zip(pages) {
                let value = self.value(model);
                assert!(
                    self.read(space, page) == value,
                    "page {page} of space {no}: {model:?}"
                );
                if let Some(shown) = self.mm.host().shown(space, page) {
                    let what = "a window shows page";
                    assert!(model.rights.allow(Access::Read), "{what} {page} of space {no}");
                    assert!(
                        value == Some(*shown),
                        "{what} {page} of space {no} as it is not: {model:?}"
                    );
                }
                let may = (model.own.is_some() || model.file.is_none()) && model.rights.allow(Access::Write);
                assert!(
                    may || !open.contains(&page),
                    "stores to page {page} of space {no}: {model:?}"
                );
            }
        }
    }

    /// The areas say which pages are locked. (That these are in memory is an invariant.)
    fn audit_locks(&self, space: SpaceNo, pages: &[Page]) {
        let areas = self.mm.areas(space).list().expect("it lives");
        for (page, model) in (0..).map(PageNo).zip(pages) {
            let area = areas.iter().find(|area| area.run.has(page));
            let locked = area.is_some_and(|area| area.locked);
            assert_eq!(locked, model.locked, "page {page} of space {space}: {model:?}");
        }
    }

    /// Whether the space has a page of its own there, in memory or in the store.
    fn has_own(&self, space: SpaceNo, page: PageNo) -> bool {
        let digest = Digest::of(&self.mm);
        digest.spaces[&space.0].pages[page.0 as usize].is_some()
    }

    fn finish(mut self) -> FileTally {
        self.refusing = false;
        self.mm.host().set_plan(Plan::NONE);
        self.files
            .iter()
            .filter_map(|file| file.source.as_ref())
            .for_each(|source| source.set_plan(Plan::NONE));
        self.audit();
        // The youngest share with nobody.
        while !self.spaces.is_empty() {
            let before = self.spaces.len();
            let all: Vec<u32> = self.spaces.keys().copied().collect();
            for no in all {
                if let Err(error) = self.drop_space(SpaceNo(no)) {
                    assert!(self.excused(error), "a space cannot be dropped: {error}");
                }
            }
            assert!(self.spaces.len() < before, "no space can be dropped");
        }
        let stats = self.mm.stats();
        self.tally.write_errors = stats.file_write_errors;
        self.tally.evicted = stats.file_evictions;
        self.tally.given_up = stats.given_up_dropped;
        for (n, file) in self.files.into_iter().enumerate() {
            self.mm.files().close(file.open.expect("it is open"));
            assert!(
                file.source.is_none_or(|source| source.contents() == file.bytes),
                "file {n} has lost a store, or has one too many"
            );
        }
        assert_eq!(memfold_mm::check(&self.mm), Ok(()));
        let (usage, frames) = (self.mm.usage(), self.mm.files().stats().resident);
        assert_eq!((usage.private, usage.pool, usage.stored, frames), (0, 0, 0, 0));
        self.tally
    }
}
