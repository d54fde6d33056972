//! The pool's direct mappings: made at first use, renewed when their page tables have become too
//! many, taken away with their range. Under `changing`; found without it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use memfold_host::addr::{PAGE_SIZE, PoolPage};

use super::{PIECE_BYTES, PIECE_PAGES, Pool, TABLES, offset};
use crate::pagetables::TABLE_PAGES;
use crate::span::Span;
use crate::sys::{self, Allowed, Errno};
use crate::uffd::insist;

/// A direct mapping.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// A multiple of its length; 0: there is none.
    base: AtomicUsize,
    /// Which of its page tables may be filled; the last word is for the one above them.
    tables: [AtomicU64; TABLES / 64 + 1],
}

impl Piece {
    /// Notes that a table is about to be filled, and the one above; how many of them were not
    /// before.
    fn fill(&self, table: usize) -> u32 {
        let new = |word: usize, bit: u64| {
            let word = &self.tables[word];
            // Relaxed: a count, which may be behind by as many as there are threads.
            u32::from(
                word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0,
            )
        };
        match new(table / 64, 1 << (table % 64)) {
            0 => 0,
            one => one + new(TABLES / 64, 1),
        }
    }

    /// Forgets which tables are filled; how many there may have been.
    fn take_filled(&self) -> u32 {
        // Relaxed: one that is being filled by another thread at this moment is seen the next time.
        let take = |word: &AtomicU64| word.swap(0, Ordering::Relaxed).count_ones();
        self.tables.iter().map(take).sum()
    }
}

/// A whole direct mapping.
fn mapping(base: usize) -> Span {
    // SAFETY: mapped by `direct`, and not unmapped before its piece is forgotten.
    unsafe { Span::new(base, PIECE_BYTES) }
}

impl Pool {
    /// The most page tables that the direct mappings hold, with those above them.
    pub(crate) fn direct_tables(&self) -> u32 {
        self.most_tables
    }

    /// Where the bytes of pool page `at` can be read; `None` when there is no address space left
    /// for that.
    pub(crate) fn direct(&self, at: PoolPage) -> Option<usize> {
        let piece = self.direct.get((at.0 / PIECE_PAGES) as usize)?;
        let within = (at.0 % PIECE_PAGES) as usize * PAGE_SIZE;
        // Acquire: pairs with the Release below; the mapping exists.
        let base = match piece.base.load(Ordering::Acquire) {
            0 => self.map_piece(piece, at)?,
            base => base,
        };
        self.note_table(piece, base, base + within);
        Some(base + within)
    }

    fn map_piece(&self, piece: &Piece, at: PoolPage) -> Option<usize> {
        let _changing = self.changing.lock();
        // Relaxed: changed only under the lock that is held.
        let mut base = piece.base.load(Ordering::Relaxed);
        if base == 0 {
            base = self.make_mapping(at.0 / PIECE_PAGES).ok()?;
            // Release: publishes the mapping.
            piece.base.store(base, Ordering::Release);
        }
        Some(base)
    }

    /// The page table of `addr` is about to be filled; if there are too many, all are emptied.
    fn note_table(&self, piece: &Piece, base: usize, addr: usize) {
        let new = piece.fill((addr - base) / (TABLE_PAGES as usize * PAGE_SIZE));
        // Relaxed: a count, as in `fill`.
        if new != 0 && self.tables.fetch_add(new, Ordering::Relaxed) + new > self.most_tables {
            self.empty_tables();
        }
    }

    /// Renews the mapping of every piece, with which its page tables go; who reads through one
    /// fills it again.
    fn empty_tables(&self) {
        let Some(_changing) = self.changing.try_lock() else {
            return;
        };
        // Relaxed: a count.
        let pieces = self.pages.load(Ordering::Relaxed).div_ceil(PIECE_PAGES);
        for n in 0..pieces {
            let Some(piece) = self.direct.get(n as usize) else {
                continue;
            };
            // Relaxed: changed only under the lock that is held.
            let base = piece.base.load(Ordering::Relaxed);
            let filled = if base == 0 { 0 } else { piece.take_filled() };
            if filled == 0 {
                continue;
            }
            // Relaxed: a count.
            self.tables.fetch_sub(filled, Ordering::Relaxed);
            // Refused for want of memory or addresses: the next time.
            let _ = self.renew_mapping(n, base);
        }
    }

    /// Puts a new mapping in place of a piece's, in one step: who reads it meanwhile waits and sees
    /// the same.
    fn renew_mapping(&self, piece: u64, base: usize) -> Result<(), Errno> {
        let fresh = self.make_mapping(piece)?;
        // SAFETY: the mapping of this piece, which nobody takes away while `changing` is held, and
        // one that nobody else knows.
        if let Err(errno) = unsafe { sys::replace_mapping(fresh, base, PIECE_BYTES) } {
            // SAFETY: as above.
            unsafe { sys::unmap(fresh, PIECE_BYTES) };
            return Err(errno);
        }
        // The kernel has taken the fence away from what moved.
        insist("fencing the pool", || self.fence.register_missing(mapping(base)));
        Ok(())
    }

    /// A direct mapping: everything in order before it becomes accessible, so that nobody populates
    /// it.
    fn make_mapping(&self, piece: u64) -> Result<usize, Errno> {
        let start = offset(PoolPage(piece * PIECE_PAGES));
        let base = sys::map_direct(self.fd()?, start, PIECE_BYTES)?;
        let whole = mapping(base);
        // Refused: a child of fork(2) could read the pool, and a core dump has it, huge pages would
        // be possible. No harm.
        let _ = sys::dont_fork(whole);
        let _ = sys::not_huge(whole);
        if !self.dumped {
            let _ = sys::dont_dump(whole);
        }
        let fenced = self.fence.register_missing(whole);
        let ready = fenced
            .and_then(|()| sys::unlock(whole))
            .and_then(|()| sys::allow(whole, Allowed::Loads));
        if let Err(errno) = ready {
            // SAFETY: mapped above; nobody knows it.
            unsafe { sys::unmap(base, whole.len()) };
            return Err(errno);
        }
        Ok(base)
    }

    pub(super) fn forget_direct(&self, piece: usize) {
        let _changing = self.changing.lock();
        let Some(piece) = self.direct.get(piece) else {
            return;
        };
        // Relaxed: changed only under the lock that is held.
        let base = piece.base.swap(0, Ordering::Relaxed);
        if base != 0 {
            // Relaxed: a count.
            self.tables.fetch_sub(piece.take_filled(), Ordering::Relaxed);
            // SAFETY: mapped by `direct`, and its place is now 0. Who read through it held a page
            // of the range, and all of these are being freed by the only thread that may name them.
            unsafe { sys::unmap(base, PIECE_BYTES) };
        }
    }
}
