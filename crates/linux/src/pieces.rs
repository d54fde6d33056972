//! Pieces of a window: runs that can show other pool pages than those at the window's own backing.
//!
//! [`Pieces`] says what of a window is what, as far as its mappings go. One lock, held for a look
//! or a change and for nothing else, in fault handlers too; changed by `host/pieces.rs` alone,
//! which the manager's locks keep from other calls on the same pages. A window that never had a
//! piece is told from others by one load. The number of pieces in the process is bounded by what
//! the machine lets it have of mappings, so that the rest of the process is never refused one for
//! their sake.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use memfold_host::addr::{PageNo, PoolPage, Run};
use memfold_host::{HostError, Limit, Piece};
use memfold_sync::{Mutex, Rank};

/// Mappings of the machine's that a piece may cost: its own, and that of what lies behind it.
const MAPPINGS: u64 = 2;
/// The part of the mappings of a process that pieces may have.
const SHARE: u64 = 2;

/// The pieces of all windows of the process. Relaxed wherever it is used: a number on its own.
static COUNT: AtomicU64 = AtomicU64::new(0);
/// The most mappings that a process may have, as last read; 0 before that. Relaxed, as above.
static MOST: AtomicU64 = AtomicU64::new(0);

/// A run of a window whose pages can show pool pages that lie as they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) run: Run,
    /// What its first page can show.
    pub(crate) from: PoolPage,
    /// `None`: the window's own backing.
    pub(crate) kind: Option<Piece>,
}

impl Part {
    /// What of it lies from one page to before another.
    fn within(self, first: PageNo, end: PageNo) -> Option<Self> {
        let run = self.run.within(first, end)?;
        let from = self.from.plus(run.first.0 - self.run.first.0);
        Some(Self { run, from, ..self })
    }
}

/// What a window consists of.
#[derive(Debug)]
pub(crate) struct Pieces {
    // Atomic: whether there was a piece since the window was opened. Relaxed wherever it is used:
    // the manager orders who makes the first piece and who works on its pages.
    used: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// In order, without overlap; each is a piece.
    pieces: Vec<Part>,
    /// From the first page that ever was in a piece to behind the last.
    touched: Option<(PageNo, PageNo)>,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            used: AtomicBool::new(false),
            known: Mutex::new(Rank::Host, Known::default()),
        }
    }
}

impl Known {
    /// Where the pieces stand that the run touches.
    fn touching(&self, run: Run) -> std::ops::Range<usize> {
        let first = self.pieces.partition_point(|piece| piece.run.end() <= run.first);
        first..self.pieces.partition_point(|piece| piece.run.first < run.end())
    }

    /// What stands in place of the pieces that it touches when the run is so.
    fn beside(&self, now: Part) -> (std::ops::Range<usize>, Vec<Part>) {
        let at = self.touching(now.run);
        let old = &self.pieces[at.clone()];
        let before = old
            .first()
            .and_then(|piece| piece.within(PageNo(0), now.run.first));
        let behind = old
            .last()
            .and_then(|piece| piece.within(now.run.end(), PageNo(u32::MAX)));
        let new = now.kind.map(|_| now);
        (at, before.into_iter().chain(new).chain(behind).collect())
    }
}

impl Pieces {
    fn is_used(&self) -> bool {
        // Relaxed: see above.
        self.used.load(Ordering::Relaxed)
    }

    /// The pool page that a page can show, in a window on this backing.
    pub(crate) fn pool_page(&self, page: PageNo, backing: PoolPage) -> PoolPage {
        let own = backing.plus(page.0);
        if !self.is_used() {
            return own;
        }
        let known = self.known.lock();
        let piece = known.pieces[known.touching(Run::one(page))].first();
        piece.map_or(own, |piece| piece.from.plus(page.0 - piece.run.first.0))
    }

    /// Which pages of the run, at most 64, lie in shared pieces (bit `n`: page `n`).
    pub(crate) fn shared(&self, run: Run) -> u64 {
        if !self.is_used() {
            return 0;
        }
        let known = self.known.lock();
        let touched = &known.pieces[known.touching(run)];
        let shared = touched.iter().filter(|p| p.kind == Some(Piece::Shared));
        let pages = shared
            .filter_map(|piece| piece.within(run.first, run.end()))
            .flat_map(|part| part.run.pages());
        pages.fold(0, |bits, page| bits | 1 << (page.0 - run.first.0))
    }

    /// Whether the run surely lies in one mapping of the machine's.
    pub(crate) fn is_one(&self, run: Run) -> bool {
        if !self.is_used() {
            return true;
        }
        let known = self.known.lock();
        let apart = known
            .touched
            .is_none_or(|(first, end)| run.end() <= first || end <= run.first);
        let has = |piece: &Part| piece.run.first <= run.first && run.end() <= piece.run.end();
        apart || known.pieces[known.touching(run)].iter().any(has)
    }

    /// What the run consists of now, in order, in a window on this backing.
    pub(crate) fn parts(&self, run: Run, backing: PoolPage) -> Vec<Part> {
        let from = backing.plus(run.first.0);
        let kind = None;
        let own = |first, end| Part { run, from, kind }.within(first, end);
        let known = self.known.lock();
        let (mut parts, mut next) = (Vec::new(), run.first);
        for piece in &known.pieces[known.touching(run)] {
            let piece = piece.within(run.first, run.end()).expect("they touch");
            parts.extend(own(next, piece.run.first));
            parts.push(piece);
            next = piece.run.end();
        }
        parts.extend(own(next, run.end()));
        parts
    }

    /// Whether there is room for the pieces that there are when a run is so.
    pub(crate) fn check_room(&self, now: Part) -> Result<(), HostError> {
        let (at, beside) = self.known.lock().beside(now);
        match beside.len().saturating_sub(at.len()) {
            0 => Ok(()),
            more => check_room(more as u64),
        }
    }

    /// From now on the run is so.
    pub(crate) fn set(&self, now: Part) {
        let mut known = self.known.lock();
        let (at, beside) = known.beside(now);
        // Wrapping: fewer than before.
        let more = (beside.len() as u64).wrapping_sub(at.len() as u64);
        // Relaxed: see above.
        COUNT.fetch_add(more, Ordering::Relaxed);
        known.pieces.splice(at, beside);
        let (first, end) = (now.run.first, now.run.end());
        known.touched = match known.touched {
            Some((from, to)) => Some((from.min(first), to.max(end))),
            None => Some((first, end)),
        };
        // Relaxed: see above.
        self.used.store(true, Ordering::Relaxed);
    }

    /// The window ends.
    pub(crate) fn clear(&self) {
        if !self.is_used() {
            return;
        }
        let mut known = self.known.lock();
        // Relaxed: see above.
        COUNT.fetch_sub(known.pieces.len() as u64, Ordering::Relaxed);
        *known = Known::default();
        // Relaxed: see above.
        self.used.store(false, Ordering::Relaxed);
    }
}

/// Whether there is room for more pieces. Two threads may find the same room; the machine's own
/// limit is far.
fn check_room(more: u64) -> Result<(), HostError> {
    let wanted = (COUNT.load(Ordering::Relaxed) + more) * MAPPINGS * SHARE;
    if wanted <= MOST.load(Ordering::Relaxed) {
        return Ok(());
    }
    // The setting may have been changed. Unreadable: the machine's own refusal must do.
    let most = crate::limits::most_mappings().unwrap_or(u64::MAX);
    MOST.store(most, Ordering::Relaxed);
    if wanted <= most {
        return Ok(());
    }
    Err(HostError::Window {
        call: "another mapping of a file",
        code: libc::ENOMEM,
        limit: Limit::Mappings(most),
    })
}

#[cfg(test)]
mod tests {
    //! Goal: what a run consists of follows from what was made of it.
    use super::*;

    fn run(first: u32, len: u32) -> Run {
        let first = PageNo(first);
        Run { first, len }
    }

    fn part(at: Run, from: u64, kind: Option<Piece>) -> Part {
        let from = PoolPage(from);
        Part { run: at, from, kind }
    }

    #[test]
    fn pieces_of_pieces() {
        let pieces = Pieces::default();
        let (backing, shared, private) = (PoolPage(100), Some(Piece::Shared), Some(Piece::Private));
        assert!(pieces.is_one(run(0, 512)));
        assert_eq!(pieces.parts(run(0, 40), backing), [part(run(0, 40), 100, None)]);
        pieces.set(part(run(4, 20), 1000, shared));
        pieces.set(part(run(10, 4), 2000, private));
        pieces.set(part(run(20, 2), 120, None));
        let all = [
            part(run(0, 4), 100, None),
            part(run(4, 6), 1000, shared),
            part(run(10, 4), 2000, private),
            part(run(14, 6), 1010, shared),
            part(run(20, 2), 120, None),
            part(run(22, 2), 1018, shared),
            part(run(24, 16), 124, None),
        ];
        assert_eq!(pieces.parts(run(0, 40), backing), all);
        let shown = [3, 4, 12, 19, 21, 23, 24].map(|page| pieces.pool_page(PageNo(page), backing).0);
        assert_eq!(shown, [103, 1000, 2002, 1015, 121, 1019, 124]);
        assert_eq!(pieces.shared(run(8, 16)), 0b1100_1111_1100_0011);
        let one = [run(0, 4), run(0, 5), run(4, 6), run(9, 2), run(20, 2), run(24, 9)];
        assert_eq!(
            one.map(|run| pieces.is_one(run)),
            [true, false, true, false, false, true]
        );
        pieces.clear();
        assert_eq!(pieces.pool_page(PageNo(4), backing), PoolPage(104));
    }
}
