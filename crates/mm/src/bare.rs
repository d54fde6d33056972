//! The barest machine, for unit tests that look inside the manager: bytes of pages, and a list of the calls.
//!
//! There are no windows and no programs: a test calls the manager's own operations and looks
//! at what it decided. (Behaviour seen from outside, with windows and stale translations, is the business of `verify`.) One lock
//! of rank `Host` guards all of it.

mod shelf;

pub(crate) use shelf::{Shelf, Shelved};

use crate::addr::{Access, FrameNo, PAGE_SIZE, PageBytes, PageNo, PoolPage, Run, SpaceNo};
use crate::host::{
    Cost, Domain, Host, HostError, Ledger, Protection, Store, StoreError, StoreStats, Stored, Tables,
};
use crate::table::Entry;
use crate::{Config, Mm, PageTables, Size, UNLIMITED};
use memfold_sync::{Mutex, Rank};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

/// A call that a test may ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Protect(SpaceNo, Run),
    Unprotect(SpaceNo, Run),
    Show(SpaceNo, Run),
    ShowZero(SpaceNo, Run),
    Drop(SpaceNo, Run),
    Free(PoolPage, u32),
    AskYoung(SpaceNo, Run),
    Close(SpaceNo),
    FreeTable(SpaceNo, Run),
}

#[derive(Debug, Default)]
struct Inside {
    private: BTreeMap<(SpaceNo, PageNo), Box<PageBytes>>,
    pool: BTreeMap<PoolPage, Box<PageBytes>>,
    calls: Vec<Call>,
    /// Pages whose protection something took away.
    exposed: BTreeSet<(SpaceNo, PageNo)>,
    /// Pool pages are said to be used from now on.
    young: bool,
    /// Pages of the next run of zeros to which a second thread stores before they are protected.
    raced: u64,
    /// None, until a test says otherwise.
    tables: Tables,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Bare(Mutex<Inside>);

/// Reads a page, if it is there.
fn read_out(from: Option<&PageBytes>, out: &mut PageBytes) -> Result<(), HostError> {
    *out = *from.ok_or(HostError::Os(14))?;
    Ok(())
}

impl Bare {
    fn call(&self, call: Call) -> Result<(), HostError> {
        self.0.lock().calls.push(call);
        Ok(())
    }

    /// The calls since this was last asked.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().calls)
    }

    /// What a program stored.
    pub(crate) fn poke(&self, space: SpaceNo, page: u32, value: u8) {
        let was = self
            .0
            .lock()
            .private
            .insert((space, PageNo(page)), Box::new([value; PAGE_SIZE]));
        assert!(was.is_some(), "a program stored to a page that is not its own");
    }

    /// The program empties a page that it has.
    pub(crate) fn empty(&self, space: SpaceNo, page: u32) {
        let gone = self.0.lock().private.remove(&(space, PageNo(page)));
        assert!(gone.is_some(), "there was nothing");
    }

    /// Something beside us takes the protection of a page away.
    pub(crate) fn expose(&self, space: SpaceNo, page: u32) {
        self.0.lock().exposed.insert((space, PageNo(page)));
    }

    /// A second thread stores ones to these pages of the next run of zeros (bit `n`: page `n` of the run).
    pub(crate) fn race(&self, pages: u64) {
        self.0.lock().raced = pages;
    }

    /// From now on there are page tables; before any space is made.
    pub(crate) fn set_tables(&self, pages: u32, bytes: u64) {
        self.0.lock().tables = Tables {
            pages,
            bytes,
            fixed_bytes: 0,
        };
    }

    /// Whether shared pages are said to be used from now on.
    pub(crate) fn set_young(&self, young: bool) {
        self.0.lock().young = young;
    }
}

impl Host for Bare {
    fn reserve_pool(&self, _: u64) -> Result<(), HostError> {
        Ok(())
    }

    fn open(&self, _: SpaceNo, _: PoolPage, _: u32, _: u32) -> Result<u64, HostError> {
        Ok(0)
    }

    fn close(&self, space: SpaceNo) -> u64 {
        self.0.lock().private.retain(|&(s, _), _| s != space);
        self.call(Call::Close(space)).expect("never refused");
        0
    }

    fn resize(&self, _: SpaceNo, _: u32) -> Result<u64, HostError> {
        Ok(0)
    }

    fn page_tables(&self) -> Tables {
        self.0.lock().tables
    }

    fn free_table(&self, space: SpaceNo, run: Run) -> bool {
        self.call(Call::FreeTable(space, run)).is_ok()
    }

    fn show(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.call(Call::Show(space, run))
    }

    fn show_zero(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        let mut inside = self.0.lock();
        inside.calls.push(Call::ShowZero(space, run));
        let raced = std::mem::take(&mut inside.raced);
        let stored = run.pages().filter(|p| raced >> (p.0 - run.first.0) & 1 == 1);
        let filled = stored.map(|page| ((space, page), Box::new([1; PAGE_SIZE])));
        inside.private.extend(filled);
        Ok(raced)
    }

    fn fill(&self, space: SpaceNo, page: PageNo, bytes: &PageBytes, _: Protection) -> Result<(), HostError> {
        self.0.lock().private.insert((space, page), Box::new(*bytes));
        Ok(())
    }

    fn show_standby(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        self.fill(space, page, bytes, protection)
    }

    fn fill_zero(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let mut inside = self.0.lock();
        inside
            .private
            .extend(run.pages().map(|page| ((space, page), Box::new([0; PAGE_SIZE]))));
        Ok(())
    }

    fn copy_from_pool(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError> {
        let mut inside = self.0.lock();
        let value = inside.pool[&from].clone();
        inside.private.insert((space, page), value);
        Ok(())
    }

    fn writable(&self, space: SpaceNo, run: Run) -> u64 {
        let inside = self.0.lock();
        let exposed = |&(bit, page): &(usize, PageNo)| inside.exposed.contains(&(space, page)) && bit < 64;
        run.pages()
            .enumerate()
            .filter(exposed)
            .map(|(bit, _)| 1 << bit)
            .sum()
    }

    fn protect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let protected = |&(s, page): &(SpaceNo, PageNo)| s == space && run.pages().any(|p| p == page);
        self.0.lock().exposed.retain(|at| !protected(at));
        self.call(Call::Protect(space, run))
    }

    fn unprotect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.call(Call::Unprotect(space, run))
    }

    fn drop_pages(&self, space: SpaceNo, run: Run) {
        self.0
            .lock()
            .private
            .retain(|&(s, p), _| s != space || !run.pages().any(|page| page == p));
        self.call(Call::Drop(space, run)).expect("never refused");
    }

    fn read_private(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        *out = **self
            .0
            .lock()
            .private
            .get(&(space, page))
            .ok_or(HostError::Emptied)?;
        Ok(())
    }

    fn copy_to_pool(&self, space: SpaceNo, run: Run, to: PoolPage) -> Result<(), HostError> {
        let mut inside = self.0.lock();
        if run
            .pages()
            .any(|page| !inside.private.contains_key(&(space, page)))
        {
            return Err(HostError::Emptied);
        }
        for (n, page) in (0..).zip(run.pages()) {
            let value = inside.private[&(space, page)].clone();
            inside.pool.insert(to.plus(n), value);
        }
        Ok(())
    }

    fn pool_write(&self, at: PoolPage, bytes: &PageBytes) -> Result<(), HostError> {
        self.0.lock().pool.insert(at, Box::new(*bytes));
        Ok(())
    }

    fn pool_read(&self, at: PoolPage, out: &mut PageBytes) -> Result<(), HostError> {
        read_out(self.0.lock().pool.get(&at).map(|b| &**b), out)
    }

    fn pool_free(&self, first: PoolPage, len: u32) {
        let mut inside = self.0.lock();
        inside.pool.retain(|&at, _| at < first || at >= first.plus(len));
        inside.calls.push(Call::Free(first, len));
    }

    fn test_and_clear_young(&self, space: SpaceNo, run: Run) -> u64 {
        let mut inside = self.0.lock();
        inside.calls.push(Call::AskYoung(space, run));
        u64::from(inside.young)
    }
}

/// The manager on this machine.
pub(crate) type World = Mm<Bare, Shelf>;

/// An empty machine.
pub(crate) fn machine() -> Bare {
    Bare(Mutex::new(Rank::Host, Inside::default()))
}

/// An empty shelf.
pub(crate) fn shelf() -> Shelf {
    let shelved = Shelved {
        plain: PAGE_SIZE as u64 / 4,
        ..Shelved::default()
    };
    Shelf(Mutex::new(Rank::Store, shelved))
}

/// An empty manager without a limit.
pub(crate) fn world() -> World {
    limited(UNLIMITED)
}

/// An empty manager with a budget.
pub(crate) fn limited(limit_bytes: u64) -> World {
    roomy(limit_bytes, 16)
}

/// The same for so many spaces.
pub(crate) fn roomy(limit_bytes: u64, spaces: u32) -> World {
    let config = Config {
        replacement: crate::Replacement::default(),
        limit_bytes,
        machine_bytes: 64 << 20,
        spaces,
        store_bytes: 0,
        page_tables: PageTables::Counted,
    };
    Mm::new(machine(), shelf(), config).expect("the limit holds the tables")
}

/// A space of so many pages.
pub(crate) fn space(mm: &World, pages: u32) -> SpaceNo {
    let size = Size {
        len: pages,
        reserve: pages,
    };
    mm.create(size, Domain(3)).expect("room for a space")
}

/// A program fills each page of a range, from its end on: so none is made ahead of need, and the last page is the oldest.
pub(crate) fn write(mm: &World, space: SpaceNo, pages: std::ops::Range<u32>, value: u8) {
    for page in pages.rev() {
        mm.fault(space, PageNo(page), Access::Write)
            .expect("room for a page");
        mm.host.poke(space, page, value);
    }
}

/// A program loads from a page.
pub(crate) fn read(mm: &World, space: SpaceNo, page: u32) {
    mm.fault(space, PageNo(page), Access::Read)
        .expect("room for a page");
}

/// Pages from `first` on.
pub(crate) fn run(first: u32, len: u32) -> Run {
    Run {
        first: PageNo(first),
        len,
    }
}

/// The frame of a page, if it is in memory.
pub(crate) fn frame_at(mm: &World, space: SpaceNo, page: u32) -> Option<FrameNo> {
    let st = mm.lock_space(space).expect("it lives");
    match mm.lookup(&st, PageNo(page)).entry {
        Entry::Frame(no) => Some(no),
        _ => None,
    }
}

/// The pages of a space that are in memory.
pub(crate) fn resident(mm: &World, space: SpaceNo) -> Vec<u32> {
    let len = mm.len(space).expect("it lives");
    (0..len)
        .filter(|&page| frame_at(mm, space, page).is_some())
        .collect()
}

/// What all bytes of a page are.
pub(crate) fn value(mm: &World, space: SpaceNo, page: u32) -> u8 {
    let mut bytes = [99; PAGE_SIZE];
    mm.read_page(space, PageNo(page), &mut bytes)
        .expect("it can be read");
    assert!(
        bytes.iter().all(|&byte| byte == bytes[0]),
        "page {page} of space {space} is torn"
    );
    bytes[0]
}

/// The invariants hold.
pub(crate) fn sound(mm: &World) {
    assert_eq!(crate::check(mm), Ok(()));
}
