//! What each step does on both sides; the model changes only after the manager has said yes.

use super::{FILES, LEN, Page, SPACES, World};
use memfold_host::addr::{Access, PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_host::{Domain, Piece};
use memfold_mm::{FaultError, FileError, InFork, Mm, Order, Rights, Size, SpaceError};
use memfold_sim::program::Place;
use memfold_sim::{Plan, SimHost, SimSource, SimStore};

impl World {
    pub(super) fn create(&mut self) {
        if self.spaces.len() == SPACES {
            return;
        }
        let size = Size {
            len: LEN,
            reserve: LEN,
        };
        match self.mm.create(size, Domain(1)) {
            Ok(no) => {
                self.mm
                    .set_merging(no, memfold_mm::Merging::On)
                    .expect("it lives");
                let before = self.spaces.insert(no.0, vec![Page::default(); LEN as usize]);
                assert!(before.is_none());
            }
            Err(error) => assert!(self.excused(error), "{error}"),
        }
    }

    /// Faults until an access goes through; why not, where that is what the model says, is no
    /// failure.
    fn access(
        &mut self,
        space: SpaceNo,
        page: u32,
        access: Access,
        mut step: impl FnMut(&SimHost) -> bool,
    ) -> Result<bool, SpaceError> {
        let model = self.page(space, page).clone();
        let forbidden = !model.rights.allow(access);
        let gone = self.value(&model).is_none();
        for _ in 0..100 {
            if step(self.mm.host()) {
                assert!(!forbidden && !gone, "page {page} of space {space}: {model:?}");
                return Ok(true);
            }
            match self.mm.fault(space, PageNo(page), access) {
                Ok(()) => (),
                Err(FaultError::Forbidden { .. }) if forbidden => return Ok(false),
                Err(FaultError::BeyondEnd { .. }) if gone => return Ok(false),
                Err(error) => {
                    assert_eq!(self.mm.take_failure(space), Some(error));
                    return Err(error.into());
                }
            }
        }
        panic!("page {page} of space {space} does not come")
    }

    pub(super) fn load(&mut self, space: SpaceNo, page: u32) -> Result<(), SpaceError> {
        let place = Place {
            page: PageNo(page),
            offset: 7,
        };
        let mut out = [0; 9];
        if self.access(space, page, Access::Read, |host| {
            host.load(space, place, &mut out).is_ok()
        })? {
            self.settle_given_up(space, page, |_| ());
            let model = self.page(space, page).clone();
            let value = self.value(&model).expect("it was there");
            assert_eq!(out, value[7..16], "page {page} of space {space}");
        }
        Ok(())
    }

    pub(super) fn store(&mut self, space: SpaceNo, page: u32) -> Result<(), SpaceError> {
        let (offset, byte) = (
            self.rng.below(PAGE_SIZE as u32) as usize,
            self.rng.below(256) as u8,
        );
        let place = Place {
            page: PageNo(page),
            offset,
        };
        if !self.access(space, page, Access::Write, |host| {
            host.store(space, place, &[byte]).is_ok()
        })? {
            return Ok(());
        }
        match self.page(space, page).file {
            Some((file, at, Piece::Shared)) => {
                self.files[file].bytes[at as usize * PAGE_SIZE + offset] = byte;
            }
            _ => {
                self.settle_given_up(space, page, |bytes| bytes[offset] = byte);
                let own = self.own(space, page);
                own[offset] = byte;
                self.keep_given_up(space, page);
            }
        }
        Ok(())
    }

    pub(super) fn map(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let n = self.rng.below(FILES as u32) as usize;
        let pages = (self.files[n].bytes.len() / PAGE_SIZE) as u32;
        if pages <= run.len {
            return Ok(());
        }
        let first = self.rng.below(pages - run.len);
        let kind = [Piece::Private, Piece::Shared][self.rng.below(2) as usize];
        let rights = [Rights::ReadWrite, Rights::ReadWrite, Rights::Read][self.rng.below(3) as usize];
        let to = Page {
            file: Some((n, first, kind)),
            rights,
            ..Page::default()
        };
        let open = self.files[n].open.take().expect("it is open");
        let mapped = self.remake(space, run, to, |mm| {
            mm.areas(space).map(run, &open, PageNo(first), kind, rights)
        });
        self.files[n].open = Some(open);
        mapped
    }

    /// The pages of the run become others, or, when that fails, may have lost what was stored to
    /// them.
    pub(super) fn remake(
        &mut self,
        space: SpaceNo,
        run: Run,
        to: Page,
        step: impl FnOnce(&Mm<SimHost, SimStore>) -> Result<(), SpaceError>,
    ) -> Result<(), SpaceError> {
        let done = step(&self.mm);
        if done.is_err() {
            self.look_again(space, run);
            return done;
        }
        for (n, page) in (0..).zip(run.pages()) {
            let mut to = to.clone();
            if let Some((_, at, _)) = &mut to.file {
                *at += n;
            }
            *self.page(space, page.0) = to;
        }
        Ok(())
    }

    /// Some of what was stored to the pages may be gone: the rest goes as well.
    pub(super) fn look_again(&mut self, space: SpaceNo, run: Run) {
        let discarded = self
            .mm
            .host()
            .under(Plan::NONE, || self.mm.discard(space, run).is_ok());
        for page in run.pages() {
            let model = self.page(space, page.0).clone();
            if let Some(own) = &model.own
                && (discarded || !self.has_own(space, page) || self.read(space, page) != Some(**own))
            {
                self.page(space, page.0).own = None;
            }
        }
    }

    pub(super) fn protect(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let rights =
            [Rights::None, Rights::Read, Rights::ReadWrite, Rights::ReadWrite][self.rng.below(4) as usize];
        let loses = |page: &Page| {
            let private = matches!(page.file, Some((_, _, Piece::Private)));
            page.locked && private && page.rights != Rights::ReadWrite
        };
        let refused = rights == Rights::ReadWrite && self.pages(space, run).iter().any(loses);
        match self.mm.areas(space).protect(run, rights) {
            Err(SpaceError::Locked(_)) if refused => return Ok(()),
            done => done?,
        }
        assert!(!refused, "locked pages would be nowhere");
        run.pages()
            .for_each(|page| self.page(space, page.0).rights = rights);
        Ok(())
    }

    /// What forks get, in which order pages are used, or that they are needed now.
    pub(super) fn advise(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let areas = self.mm.areas(space);
        let n = self.rng.below(3) as usize;
        match self.rng.below(4) {
            0 => areas.set_order(run, [Order::Adaptive, Order::Sequential, Order::Random][n]),
            1 => areas.bring_in(run).map(drop),
            _ => {
                let in_fork = [InFork::Same, InFork::Zeros, InFork::Nothing][n];
                areas.set_in_fork(run, in_fork)?;
                run.pages()
                    .for_each(|page| self.page(space, page.0).in_fork = in_fork);
                Ok(())
            }
        }
    }

    pub(super) fn discard(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let done = self.mm.discard(space, run);
        if self.pages(space, run).iter().any(|page| page.locked) {
            assert!(matches!(done, Err(SpaceError::Locked(_))), "{done:?}");
            return Ok(());
        }
        match done {
            Ok(()) => run.pages().for_each(|page| self.page(space, page.0).own = None),
            Err(_) => self.look_again(space, run),
        }
        done
    }

    pub(super) fn pages(&self, space: SpaceNo, run: Run) -> &[Page] {
        &self.spaces[&space.0][run.first.0 as usize..run.end().0 as usize]
    }

    /// Locked pages that may be stored to, and are not shared with all who map their file, are the
    /// space's own. When it fails, some may be.
    pub(super) fn lock(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let forbidden = |page: &Page| page.rights == Rights::None && !page.locked;
        let forbidden = self.pages(space, run).iter().any(forbidden);
        let done = self.mm.areas(space).lock(run);
        for page in run.pages() {
            let model = self.page(space, page.0).clone();
            let shared = matches!(model.file, Some((_, _, Piece::Shared)));
            let owned = !shared && model.rights == Rights::ReadWrite && self.value(&model).is_some();
            if owned && (done.is_ok() || self.has_own(space, page)) {
                self.settle_given_up(space, page.0, |_| ());
                self.own(space, page.0);
            }
            self.page(space, page.0).locked |= done.is_ok();
        }
        match done {
            Err(SpaceError::Fault(FaultError::Forbidden { .. })) => {
                let none = |page: &Page| page.rights == Rights::None;
                assert!(forbidden || self.pages(space, run).iter().any(none));
                Ok(())
            }
            done => {
                assert!(done.is_err() || !forbidden, "what allows nothing was locked");
                self.tally.locked += u64::from(done.is_ok());
                done
            }
        }
    }

    pub(super) fn unlock(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        self.mm.areas(space).unlock(run)?;
        run.pages()
            .for_each(|page| self.page(space, page.0).locked = false);
        Ok(())
    }

    /// A pinned page is the space's own, also after it was unpinned.
    pub(super) fn pin(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let run = Run { len: 1, ..run };
        let model = self.page(space, run.first.0).clone();
        match self.mm.pin(space, run) {
            Ok(()) => {
                self.mm.unpin(space, run);
                self.settle_given_up(space, run.first.0, |_| ());
                self.own(space, run.first.0);
                self.keep_given_up(space, run.first.0);
                Ok(())
            }
            Err(FaultError::PinOfShared { .. }) => {
                assert!(matches!(model.file, Some((_, _, Piece::Shared))));
                Ok(())
            }
            Err(FaultError::Forbidden { .. }) if !model.rights.allow(Access::Write) => Ok(()),
            Err(FaultError::BeyondEnd { .. }) if self.value(&model).is_none() => Ok(()),
            Err(error) => {
                // The page came first, and stays.
                if self.has_own(space, run.first) {
                    self.settle_given_up(space, run.first.0, |_| ());
                    self.own(space, run.first.0);
                }
                Err(error.into())
            }
        }
    }

    /// A copy, by a fork or a freeze.
    pub(super) fn copy(
        &mut self,
        space: SpaceNo,
        how: fn(&Mm<SimHost, SimStore>, SpaceNo) -> Result<SpaceNo, SpaceError>,
    ) -> Result<(), SpaceError> {
        if self.spaces.len() == SPACES {
            return Ok(());
        }
        let child = how(&self.mm, space)?;
        let pages = self.spaces[&space.0].iter().map(Page::in_fork).collect();
        assert!(self.spaces.insert(child.0, pages).is_none());
        for page in 0..LEN {
            self.settle_given_up(child, page, |_| ());
            self.keep_given_up(child, page);
        }
        Ok(())
    }

    pub(super) fn drop_space(&mut self, space: SpaceNo) -> Result<(), SpaceError> {
        self.mm.drop_space(space)?;
        self.spaces.remove(&space.0);
        Ok(())
    }

    /// After a sync that succeeds the file has the bytes of its range, and keeps them.
    pub(super) fn sync(&mut self) -> Result<(), SpaceError> {
        let n = self.rng.below(FILES as u32) as usize;
        let pages = (self.files[n].bytes.len() / PAGE_SIZE) as u32;
        let first = self.rng.below(pages.max(1));
        let len = 1 + self.rng.below(pages.max(1));
        let file = &self.files[n];
        match self.mm.files().sync(file.open(), PageNo(first), len) {
            Ok(()) => {
                let end = file.bytes.len().min((first + len) as usize * PAGE_SIZE);
                let range = (first as usize * PAGE_SIZE).min(end)..end;
                let lasts = |source: &SimSource| source.lasting()[range.clone()] == file.bytes[range.clone()];
                assert!(
                    file.source.as_ref().is_none_or(lasts),
                    "a store is not in file {n}"
                );
                self.tally.synced += 1;
            }
            Err(error) => assert!(self.is_told(error), "a sync failed without a reason: {error}"),
        }
        Ok(())
    }

    /// Whether a file may fail so: a refusal may be told long after it was made.
    fn is_told(&self, error: FileError) -> bool {
        match error {
            FileError::Source(_) => self.mm.stats().file_write_errors != 0 || self.refusing,
            FileError::Host(_) => self.refusing,
            FileError::NoRoom => true,
            _ => false,
        }
    }

    pub(super) fn resize(&mut self) -> Result<(), SpaceError> {
        let n = self.rng.below(FILES as u32) as usize;
        let pages = self.rng.below(21 + 40 * n as u32);
        let bytes = u64::from(pages) * PAGE_SIZE as u64;
        let file = &self.files[n];
        let resized = self.mm.files().resize(file.open(), bytes);
        let now = self.mm.files().bytes(file.open()) as usize;
        if let Err(error) = resized {
            assert!(
                self.is_told(error),
                "a file was not resized without a reason: {error}"
            );
        }
        self.files[n].bytes.resize(now, 0);
        let end = (now / PAGE_SIZE) as u32;
        let all: Vec<u32> = self.spaces.keys().copied().collect();
        for no in all {
            for page in 0..LEN {
                let model = &self.spaces[&no][page as usize];
                let behind = model.file.is_some_and(|(file, at, _)| file == n && at >= end);
                if behind && model.own.is_some() {
                    match resized {
                        Ok(()) => self.page(SpaceNo(no), page).own = None,
                        Err(_) => self.look_again(SpaceNo(no), Run::one(PageNo(page))),
                    }
                }
            }
        }
        Ok(())
    }

    /// From now on calls are refused now and then, or none is.
    pub(super) fn refuse(&mut self) {
        self.refusing = self.rng.below(2) == 0;
        let chance = |often| {
            if self.refusing {
                Plan::chance(often)
            } else {
                Plan::NONE
            }
        };
        self.mm.host().set_plan(chance(500));
        self.files
            .iter()
            .filter_map(|file| file.source.as_ref())
            .for_each(|source| source.set_plan(chance(9000)));
    }
}
