//! Pieces of a window: runs that show other pool pages than those at the window's own backing.
//! Plain data, under the host's lock.

use super::{Machine, Shown};
use memfold_host::Piece;
use memfold_host::addr::{PageNo, PoolPage, Run, SpaceNo};

/// One run that shows pool pages from `from` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PieceAt {
    pub run: Run,
    from: PoolPage,
    pub kind: Piece,
}

impl PieceAt {
    /// The pool page that a page of the piece can show.
    pub fn pool_page(&self, page: PageNo) -> PoolPage {
        self.from.plus(page.0 - self.run.first.0)
    }

    /// The page of the piece that can show a pool page.
    fn place_of(&self, at: PoolPage) -> Option<PageNo> {
        let n = u32::try_from(at.0.checked_sub(self.from.0)?).ok()?;
        (n < self.run.len).then(|| self.run.first.plus(n))
    }

    /// What is left of it without the pages of a run: nothing, one part or two.
    fn without(self, run: Run) -> impl Iterator<Item = Self> {
        let before = self.run.within(self.run.first, run.first);
        let behind = self.run.within(run.end(), self.run.end());
        let part = move |run: Run| {
            let from = self.pool_page(run.first);
            Self { run, from, ..self }
        };
        before.into_iter().chain(behind).map(part)
    }
}

/// The pieces of one window, which do not overlap.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Vec<PieceAt>);

impl Pieces {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The piece in which a page lies.
    pub fn at(&self, page: PageNo) -> Option<PieceAt> {
        self.0.iter().copied().find(|piece| piece.run.has(page))
    }

    pub fn is_shared(&self, page: PageNo) -> bool {
        self.at(page).is_some_and(|piece| piece.kind == Piece::Shared)
    }

    /// The pages of pieces at which a pool page can be shown.
    pub fn places_of(&self, at: PoolPage) -> impl Iterator<Item = PageNo> + '_ {
        self.0.iter().filter_map(move |piece| piece.place_of(at))
    }

    fn remove(&mut self, run: Run) {
        let parts = self.0.iter().flat_map(|piece| piece.without(run)).collect();
        self.0 = parts;
    }
}

impl Machine {
    /// A run becomes a piece.
    pub fn map_piece(&mut self, no: SpaceNo, run: Run, from: PoolPage, kind: Piece) {
        self.pool.check_length(from.plus(run.len - 1));
        self.unmap_piece(no, run);
        let piece = PieceAt { run, from, kind };
        self.window_mut(no).pieces.0.push(piece);
    }

    /// What was a piece, or part of one, is none any more.
    pub fn unmap_piece(&mut self, no: SpaceNo, run: Run) {
        let window = self.window_mut(no);
        for page in run.pages() {
            let shown = window.page(page);
            assert!(
                matches!(shown, Shown::Empty),
                "a piece begins or ends at page {page} of space {no}, which is {shown}"
            );
        }
        window.pieces.remove(run);
    }

    /// Shows a pool page in a shared piece, open to stores.
    pub fn show_writable(&mut self, no: SpaceNo, page: PageNo) {
        assert!(
            self.window(no).pieces.is_shared(page),
            "stores to page {page} of space {no} are let through to the pool, but it lies in no shared piece"
        );
        self.show(no, page);
        *self.window_mut(no).page_mut(page) = Shown::Pool { writable: true };
    }

    /// No window lets stores through to a pool page.
    pub fn check_still(&self, at: PoolPage) {
        for (no, window) in &self.windows {
            assert!(
                !window.stores_to(at),
                "pool page {at} is read while space {no} stores to it"
            );
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
