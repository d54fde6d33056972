//! The addresses that windows stand on.
//!
//! Arenas are large inaccessible reservations, made when the free addresses run out and never given back
//! while the host lives; each as large as the kernel still allows, up to 4 TiB, and usually adjacent to the
//! last, so that all unused addresses are one VMA. A window takes a *slot*: a multiple of 64 MiB, aligned
//! to that (one place of the table in `table.rs`). Free addresses are kept by place and by size under one
//! lock and join with their neighbours; the best fit is taken, so slots of one size are reused. A slot is
//! always mapped: by the arena, or by its window. Called by `window.rs` to open and close windows.

use std::collections::{BTreeMap, BTreeSet};

use memfold_sync::{Mutex, Rank};

use crate::span::Span;
use crate::sys::{self, Errno};

/// Windows are aligned to this, and take a multiple of it.
pub(crate) const GRANULE: usize = 64 << 20;

/// The largest arena.
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

    /// Takes a slot back. It is sealed: inaccessible, empty, part of the arena again.
    pub(crate) fn put(&self, slot: Span) {
        self.free.lock().add(slot.addr(), slot.len());
    }
}

/// The slot at `addr`, which belongs to an arena.
fn slot(addr: usize, len: usize) -> Span {
    // SAFETY: the free addresses are parts of arenas, which are unmapped only when the host is dropped.
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

    /// One more arena, of at least `least` bytes.
    fn reserve(&mut self, least: usize) -> Result<(), Errno> {
        let mut want = LARGEST.max(least);
        let (addr, len) = loop {
            // Room to cut at both ends, so that what remains is aligned.
            match sys::map_arena(want + GRANULE) {
                Ok(addr) => break (addr, want + GRANULE),
                Err(errno) if want == least => return Err(errno),
                Err(_) => want = (want / 2 / GRANULE * GRANULE).max(least),
            }
        };
        let start = addr.next_multiple_of(GRANULE);
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
