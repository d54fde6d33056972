//! The addresses that windows stand on.
//!
//! Arenas are large inaccessible reservations, made when the free addresses run out and never given
//! back while the host lives. The first has 16 GiB, each later one as much as all before it, up to
//! 4 TiB, or what the kernel still allows: a process has room for many hosts, and a large host has
//! few arenas. They are usually adjacent to the last, so that all unused addresses are one VMA. A
//! window takes a *slot*: a multiple of 64 MiB, aligned to that (one place of the table in
//! `table.rs`). Free addresses are kept by place and by size under one lock and join with their
//! neighbours; the best fit is taken, so slots of one size are reused. A slot is always mapped: by
//! the arena, or by its window. Called by `host.rs` to open and close windows.
//!
//! The kernel's upper page tables are for whole blocks of addresses, so they are kept here too:
//! when the last window of a block has gone, all of it is sealed once more, in one call, with which
//! its table goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use memfold_sync::{Mutex, Rank};

use crate::pagetables::{Block, Uppers};
use crate::span::Span;
use crate::sys::{self, Errno};

/// Windows are aligned to this, and take a multiple of it.
pub(crate) const GRANULE: usize = 64 << 20;

/// Arenas are aligned to this, and take a multiple of it, where the kernel has room for that: so no
/// two share an upper page table.
const BLOCK: usize = 1 << 30;

/// The first arena.
const FIRST: usize = 16 << 30;

/// The largest arena, unless one window is larger.
const LARGEST: usize = 4 << 40;

/// All addresses of one host.
#[derive(Debug)]
pub(crate) struct Arenas {
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// Length by address; no two are adjacent.
    by_place: BTreeMap<usize, usize>,
    /// The same as (length, address).
    by_size: BTreeSet<(usize, usize)>,
    /// Address and length of every reservation.
    arenas: Vec<(usize, usize)>,
    uppers: Uppers,
}

impl Arenas {
    pub(crate) fn new() -> Self {
        Self {
            free: Mutex::new(Rank::Host, Free::default()),
        }
    }

    /// A slot of at least `bytes`.
    pub(crate) fn take(&self, bytes: usize) -> Result<Span, Errno> {
        let len = bytes
            .checked_next_multiple_of(GRANULE)
            .ok_or(Errno(libc::ENOMEM))?
            .max(GRANULE);
        let mut free = self.free.lock();
        if let Some(addr) = free.best_fit(len) {
            return Ok(slot(addr, len));
        }
        free.reserve(len)?;
        let addr = free.best_fit(len).expect("the new arena is large enough");
        Ok(slot(addr, len))
    }

    /// A part of a slot becomes accessible; bytes of upper page tables that there may be from now
    /// on.
    pub(crate) fn cover(&self, part: Span) -> u64 {
        let addrs = part.addr()..part.addr() + part.len();
        self.free.lock().uppers.cover(addrs)
    }

    /// Takes back a slot in which nothing became accessible. It is sealed.
    pub(crate) fn put_back(&self, slot: Span) {
        self.free.lock().add(slot.addr(), slot.len());
    }

    /// Takes a slot back. It is sealed: inaccessible, empty, part of the arena again. Bytes of the
    /// upper page tables that are gone.
    pub(crate) fn put(&self, slot: Span) -> u64 {
        let mut free = self.free.lock();
        free.add(slot.addr(), slot.len());
        // The addresses are free and nobody can take them while the lock is held.
        Block::around(slot.addr()..slot.addr() + slot.len())
            .map(|block| free.give_up(block))
            .sum()
    }
}

/// The slot at `addr`, which belongs to an arena.
fn slot(addr: usize, len: usize) -> Span {
    // SAFETY: the free addresses are parts of arenas, which are unmapped only when the host is
    // dropped.
    unsafe { Span::new(addr, len) }
}

impl Free {
    fn best_fit(&mut self, len: usize) -> Option<usize> {
        let &(size, addr) = self.by_size.range((len, 0)..).next()?;
        self.by_size.remove(&(size, addr));
        self.by_place.remove(&addr);
        if size > len {
            self.insert(addr + len, size - len);
        }
        Some(addr)
    }

    fn insert(&mut self, addr: usize, len: usize) {
        self.by_place.insert(addr, len);
        self.by_size.insert((len, addr));
    }

    /// Adds addresses, joined with free neighbours.
    fn add(&mut self, mut addr: usize, mut len: usize) {
        if let Some((&before, &size)) = self.by_place.range(..addr).next_back() {
            assert!(before + size <= addr, "freed twice: {addr:#x}");
            if before + size == addr {
                self.by_place.remove(&before);
                self.by_size.remove(&(size, before));
                (addr, len) = (before, size + len);
            }
        }
        if let Some(size) = self.by_place.remove(&(addr + len)) {
            self.by_size.remove(&(size, addr + len));
            len += size;
        }
        self.insert(addr, len);
    }

    /// Whether all of these addresses are free.
    fn is_free(&self, addrs: &Range<usize>) -> bool {
        let run = self.by_place.range(..=addrs.start).next_back();
        run.is_some_and(|(&at, &len)| addrs.end <= at + len)
    }

    /// Gives up the upper page table of a block, if all of its addresses that are ours are free;
    /// how many bytes that are. Where they are in pieces, the kernel may keep one table for a block
    /// of the higher kind: these few are charged from the start.
    fn give_up(&mut self, block: Block) -> u64 {
        if !self.uppers.has(block) {
            return 0;
        }
        let addrs = block.addrs();
        let ours = || {
            let pieces = self.arenas.iter();
            let pieces = pieces.map(|&(at, len)| at.max(addrs.start)..(at + len).min(addrs.end));
            pieces.filter(|piece| !piece.is_empty())
        };
        if ours().any(|piece| !self.is_free(&piece)) {
            return 0;
        }
        for piece in ours() {
            let piece = slot(piece.start, piece.len());
            if sys::seal(piece).is_err() {
                return 0;
            }
            // Refused: the arena stays in pieces there. No harm.
            let _ = sys::dont_fork(piece);
        }
        self.uppers.forget(block)
    }

    /// One more arena, of at least `least` bytes.
    fn reserve(&mut self, least: usize) -> Result<(), Errno> {
        self.arenas.try_reserve(1).map_err(|_| Errno(libc::ENOMEM))?;
        let held: usize = self.arenas.iter().map(|&(_, len)| len).sum();
        let mut align = BLOCK;
        let mut want = held.clamp(FIRST, LARGEST).max(least).next_multiple_of(align);
        let (addr, len) = loop {
            // Room to cut at both ends, so that what remains is aligned.
            match sys::map_arena(want + align) {
                Ok(addr) => break (addr, want + align),
                Err(errno) if want == least && align == GRANULE => return Err(errno),
                Err(_) if want <= least.next_multiple_of(align) => (want, align) = (least, GRANULE),
                Err(_) => want = (want / 2).max(least).next_multiple_of(align),
            }
        };
        let start = addr.next_multiple_of(align);
        let end = start + want;
        // SAFETY: cuts off the two ends of a reservation just made, which nobody uses.
        unsafe {
            if start > addr {
                sys::unmap(addr, start - addr);
            }
            if addr + len > end {
                sys::unmap(end, addr + len - end);
            }
        }
        // Refused: a child of fork(2) would see inaccessible addresses. No harm.
        let _ = sys::dont_fork(slot(start, want));
        self.arenas.push((start, want));
        self.add(start, want);
        Ok(())
    }
}

impl Drop for Arenas {
    fn drop(&mut self) {
        for (addr, len) in std::mem::take(&mut self.free.lock().arenas) {
            // SAFETY: the host is being dropped: its windows are closed, and no span of it is left.
            unsafe { sys::unmap(addr, len) };
        }
    }
}
