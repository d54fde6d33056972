//! The seam itself: each call of the manager, counted, traced and written down, and one step of the
//! machine for each page. Under the host's lock, page by page.

use super::SimHost;
use crate::machine::{Shown, Window};
use crate::plan::Call;
use crate::race::Moment;
use crate::requests::Request;
use crate::trace::sample;
use memfold_host::addr::{PAGE_SIZE, PageBytes, PageNo, PoolPage, Run, SpaceNo};
use memfold_host::{Host, HostError, Piece, Protection, Tables, Taken};

/// What the trace calls those that cannot fail.
const CLOSE: u64 = 100;
const DROP_PAGES: u64 = 101;
const POOL_FREE: u64 = 102;
const FREE_TABLE: u64 = 104;
const SHRINK: u64 = 105;

impl Host for SimHost {
    fn reserve_pool(&self, pages: u64) -> Result<(), HostError> {
        self.enter(Call::ReservePool, &[pages])?
            .machine
            .pool
            .reserve(pages);
        Ok(())
    }

    fn open(&self, space: SpaceNo, backing: PoolPage, reserve: u32, len: u32) -> Result<u64, HostError> {
        let words = [u64::from(space.0), backing.0, u64::from(reserve), u64::from(len)];
        let all = Run {
            first: PageNo(0),
            len,
        };
        self.witnesses.concerns(space, all);
        let mut state = self.enter(Call::Open, &words)?;
        Ok(state.machine.open(space, Window::new(backing, reserve, len)))
    }

    fn open_native(
        &self,
        space: SpaceNo,
        backing: PoolPage,
        (reserve, len): (u32, u32),
        native: Run,
    ) -> Result<u64, HostError> {
        let held = self.open(space, backing, reserve, len)?;
        let kept = self.lock().machine.serve_run(space, native);
        Ok(held - kept)
    }

    fn manage(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.witnesses.concerns(space, run);
        let words = [space.0, run.first.0, run.len].map(u64::from);
        let mut state = self.enter(Call::Manage, &words)?;
        state.machine.window_mut(space).manage(run);
        Ok(())
    }

    fn stored_to(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        assert!(run.len <= 64, "one bit a page: {run:?}");
        self.witnesses.concerns(space, run);
        let words = [space.0, run.first.0, run.len].map(u64::from);
        let mut state = self.enter(Call::StoredTo, &words)?;
        let private = state.machine.private_in(space, run);
        run.pages()
            .for_each(|page| state.run_races(Moment::Scanned, space, page));
        Ok(private)
    }

    fn close(&self, space: SpaceNo, tables: u64) -> u64 {
        let len = self.lock().machine.window(space).len;
        let all = Run {
            first: PageNo(0),
            len,
        };
        self.witnesses.concerns(space, all);
        let mut state = self.lock();
        state.note(CLOSE, &[u64::from(space.0)]);
        state.log.add(Request::Close(space));
        state.machine.close(space, tables)
    }

    fn free_kept(&self) -> u64 {
        self.lock().machine.free_kept()
    }

    fn resize(&self, space: SpaceNo, len: u32) -> Result<u64, HostError> {
        let words = [u64::from(space.0), u64::from(len)];
        Ok(self.enter(Call::Resize, &words)?.machine.resize(space, len))
    }

    fn shrink(&self, space: SpaceNo, len: u32) {
        let mut state = self.lock();
        state.note(SHRINK, &[u64::from(space.0), u64::from(len)]);
        state.machine.shrink(space, len);
    }

    fn page_tables(&self) -> Tables {
        self.lock().machine.geometry()
    }

    fn most_window_bytes(&self, pages: u32) -> u64 {
        self.lock().machine.most_window_bytes(pages)
    }

    fn windows_held(&self) -> u64 {
        self.lock().machine.windows_held()
    }

    fn free_table(&self, space: SpaceNo, run: Run) -> bool {
        let mut state = self.lock();
        let words = [u64::from(space.0), u64::from(run.first.0), u64::from(run.len)];
        state.note(FREE_TABLE, &words);
        state.log.add(Request::FreeTable(space, run));
        if state.keeps_tables {
            return false;
        }
        // Now and then the machine does not, and has hidden some pages all the same.
        if !state.willing && state.planner.below(16) == 0 {
            let len = state.planner.below(run.len + 1);
            run.pages()
                .take(len as usize)
                .for_each(|page| state.machine.hide(space, page));
            return false;
        }
        state.machine.free_table(space, run);
        true
    }

    fn show(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let first = self.lock().machine.window(space).pool_page(run.first);
        self.witnesses.concerns_pool(first, run.len);
        let (_, result) = self.enter_run(Call::Show, space, run, 0);
        self.lock().log.add(Request::Show(space, run));
        result?;
        self.each(run, run.len, |m, page| m.show(space, page));
        Ok(())
    }

    fn map_piece(&self, space: SpaceNo, run: Run, from: PoolPage, kind: Piece) -> Result<(), HostError> {
        let more = from.0 << 1 | u64::from(kind == Piece::Shared);
        let (_, result) = self.enter_run(Call::MapPiece, space, run, more);
        result.map(|()| self.lock().machine.map_piece(space, run, from, kind))
    }

    fn unmap_piece(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (_, result) = self.enter_run(Call::UnmapPiece, space, run, 0);
        result.map(|()| self.lock().machine.unmap_piece(space, run))
    }

    fn show_writable(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let first = self.lock().machine.window(space).pool_page(run.first);
        self.witnesses.concerns_pool(first, run.len);
        let (len, result) = self.enter_run(Call::ShowWritable, space, run, 0);
        self.lock().log.add(Request::ShowWritable(space, run));
        self.each(run, len, |m, page| m.show(space, page));
        if result.is_ok() {
            self.each(run, len, |m, page| m.show_writable(space, page));
        }
        result
    }

    fn show_zero(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        self.zeros_shown(space, run)
    }

    fn fill(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        let mut state = self.enter_fill(Call::Fill, (space, page), bytes, protection)?;
        state.emptied.retain(|&at| at != (space, page));
        state
            .machine
            .fill(space, page, bytes, protection == Protection::Writable);
        Ok(())
    }

    fn show_standby(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        let mut state = self.enter_fill(Call::ShowStandby, (space, page), bytes, protection)?;
        state
            .machine
            .show_standby(space, page, bytes, protection == Protection::Writable);
        Ok(())
    }

    fn fill_zero(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (len, result) = self.enter_run(Call::FillZero, space, run, 0);
        self.each(run, len, |m, page| m.fill(space, page, &[0; PAGE_SIZE], true));
        result
    }

    fn copy_from_pool(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError> {
        let words = [u64::from(space.0), u64::from(page.0), from.0];
        self.witnesses.concerns_pool(from, 1);
        self.witnesses.concerns(space, Run::one(page));
        match self.enter(Call::CopyFromPool, &words) {
            Ok(mut state) => state.machine.copy_from_pool(space, page, from),
            Err(e) => {
                // The page is as it was, or empty.
                let mut state = self.lock();
                if state.planner.below(2) == 0 {
                    state.machine.drop_page(space, page);
                }
                return Err(e);
            }
        }
        Ok(())
    }

    fn protect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (len, result) = self.enter_run(Call::Protect, space, run, 0);
        self.lock().log.add(Request::Protect(space, run));
        self.lock().find_lost(space, run);
        self.each(run, len, |m, page| {
            // A protection of an empty page needs a place as well.
            m.populate(space, page);
            m.window_mut(space).set_writable(page, false);
        });
        result
    }

    fn protect_around(&self, space: SpaceNo, runs: &[Run]) -> Result<(), HostError> {
        let Some(whole) = Run::around(runs) else {
            return Ok(());
        };
        for &run in runs {
            self.witnesses.concerns(space, run);
            self.lock().find_lost(space, run);
        }
        let (len, result) = self.enter_pages(Call::Protect, space, whole, 0);
        self.lock().log.add(Request::Protect(space, whole));
        self.each(whole, len, |m, page| {
            m.populate(space, page);
            match runs.iter().any(|run| run.has(page)) {
                true => m.window_mut(space).set_writable(page, false),
                false => m.window_mut(space).pass_over(page),
            }
        });
        result
    }

    fn unprotect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (len, result) = self.enter_run(Call::Unprotect, space, run, 0);
        self.lock().log.add(Request::Unprotect(space, run));
        self.each(run, len, |m, page| m.window_mut(space).set_writable(page, true));
        result
    }

    fn protections_hold(&self) -> bool {
        self.lock().protections_hold
    }

    fn writable(&self, space: SpaceNo, run: Run) -> u64 {
        assert!(run.len <= 64, "one bit a page: {run:?}");
        let state = self.lock();
        let Some(window) = state.machine.find(space) else {
            return 0;
        };
        let writable = |&(_, page): &(usize, PageNo)| {
            let shown = window.page(page);
            matches!(
                shown,
                Shown::Private { writable: true, .. } | Shown::Pool { writable: true }
            )
        };
        run.pages()
            .enumerate()
            .filter(writable)
            .map(|(bit, _)| 1 << bit)
            .sum()
    }

    fn drop_pages(&self, space: SpaceNo, run: Run) {
        let words = [u64::from(space.0), u64::from(run.first.0), u64::from(run.len)];
        self.witnesses.concerns(space, run);
        {
            let mut state = self.lock();
            state.note(DROP_PAGES, &words);
            state.log.add(Request::Drop(space, run));
            state.emptied.retain(|&(s, page)| s != space || !run.has(page));
        }
        self.each(run, run.len, |m, page| m.drop_page(space, page));
    }

    fn take_private(
        &self,
        pages: &[(SpaceNo, PageNo)],
        bytes: &mut PageBytes,
        look: &mut dyn FnMut(usize, &PageBytes) -> Taken,
    ) -> usize {
        if !self.lock().takes || !self.protections_hold() {
            return 0;
        }
        let held = self.take_some(pages);
        for (n, (&(space, page), held)) in pages.iter().zip(&held).enumerate() {
            *bytes = **held;
            // The host's lock is not held here: the manager may ask the machine meanwhile.
            match look(n, bytes) {
                Taken::Gone => self.lock().machine.let_go(),
                Taken::Back => {
                    self.witnesses.concerns(space, Run::one(page));
                    self.lock().machine.give_back(space, page, bytes);
                }
            }
        }
        held.len()
    }

    fn read_private(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        self.witnesses.concerns(space, Run::one(page));
        let state = self.enter(Call::ReadPrivate, &[u64::from(space.0), u64::from(page.0)])?;
        let window = state.machine.window(space);
        // At rest: a test looks, or no program was ever inside. And a fork copies a pinned page for
        // the child although it is writable: what the kernel stores meanwhile may or may not be in
        // the copy.
        let unprotected_is_fine = state.at_rest != 0 || !window.entered || window.may_be_pinned(page);
        match window.page(page) {
            Shown::Private { bytes, writable } => {
                assert!(
                    !writable || unprotected_is_fine,
                    "page {page} of space {space} is read while stores go through"
                );
                *out = **bytes;
                Ok(())
            }
            Shown::Empty if state.emptied.contains(&(space, page)) => Err(HostError::Emptied),
            other => panic!("page {page} of space {space} is read as private, but it is {other}"),
        }
    }

    fn read_racy(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        self.witnesses.concerns(space, Run::one(page));
        let mut state = self.enter(Call::ReadPrivate, &[u64::from(space.0), u64::from(page.0)])?;
        match state.machine.window(space).page(page) {
            Shown::Private { bytes, .. } => *out = **bytes,
            Shown::Empty if state.emptied.contains(&(space, page)) => return Err(HostError::Emptied),
            other => panic!("page {page} of space {space} is looked at as private, but it is {other}"),
        }
        state.run_races(Moment::LookedAt, space, page);
        Ok(())
    }

    fn copy_to_pool(&self, space: SpaceNo, run: Run, to: PoolPage) -> Result<(), HostError> {
        self.vouch(space, run)?;
        self.witnesses.concerns_pool(to, run.len);
        let (len, result) = self.enter_run(Call::CopyToPool, space, run, to.0);
        self.each(run, len, |m, page| {
            m.copy_to_pool(space, page, to.plus(page.0 - run.first.0))
        });
        result
    }

    fn pool_write(&self, at: PoolPage, bytes: &PageBytes) -> Result<(), HostError> {
        self.witnesses.concerns_pool(at, 1);
        self.enter(Call::PoolWrite, &[at.0, sample(bytes)])?
            .machine
            .pool_write(at, bytes);
        Ok(())
    }

    fn pool_read(&self, at: PoolPage, out: &mut PageBytes) -> Result<(), HostError> {
        self.witnesses.concerns_pool(at, 1);
        let state = self.enter(Call::PoolRead, &[at.0])?;
        if state.at_rest == 0 {
            state.machine.check_still(at);
        }
        *out = *state.machine.pool.read(at);
        Ok(())
    }

    fn pool_free(&self, first: PoolPage, len: u32) {
        self.witnesses.concerns_pool(first, len);
        {
            let mut state = self.lock();
            state.note(POOL_FREE, &[first.0, u64::from(len)]);
            state.log.add(Request::Free(first, len));
        }
        (0..len).for_each(|n| self.lock().machine.pool_free(first.plus(n)));
    }

    fn test_and_clear_young(&self, space: SpaceNo, run: Run) -> u64 {
        self.ask_young(space, run)
    }
}
