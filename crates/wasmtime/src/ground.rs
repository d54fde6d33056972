//! [`Ground`]: a space, and which of its bytes a memory is.
//!
//! A space has at least one page; a memory may begin empty. So the space of
//! such a memory has one page *before* the memory, which no program can reach
//! and which costs addresses only: nobody writes to it. All else follows: the
//! memory's first byte stands behind that page, and what lies behind its last
//! byte is inaccessible, at length 0 as at any other.
//!
//! A handle; the manager does its own locking.

use crate::config::{GUARD, RESERVATION};
use memfold::{Error, Memory, PAGE_SIZE, Space, SpaceSize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cheap to clone: the space is shared.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    space: Arc<Space>,
    /// Bytes of the space before the memory.
    head: u64,
    /// Bytes that the owner of the memory has been told of: no more than there are.
    told: Arc<AtomicUsize>,
}

impl Ground {
    /// Zeros for a memory of `len` bytes, with addresses for every memory that it may grow to and
    /// the guard behind that.
    pub(crate) fn new(memory: &Memory, len: u64) -> Result<Self, Error> {
        let head = if len == 0 { PAGE_SIZE as u64 } else { 0 };
        let size = SpaceSize {
            len: head + len,
            reserve: head + RESERVATION + GUARD,
        };
        let space = Arc::new(memory.create(size)?);
        Ok(Ground {
            space,
            head,
            told: Arc::default(),
        })
    }

    /// The same bytes in another space.
    fn of(&self, space: Space) -> Self {
        Ground {
            space: Arc::new(space),
            head: self.head,
            told: Arc::default(),
        }
    }

    /// See [`Space::fork`].
    pub(crate) fn fork(&self) -> Result<Self, Error> {
        Ok(self.of(self.space.fork()?))
    }

    /// See [`Space::freeze`].
    pub(crate) fn freeze(&self) -> Result<Self, Error> {
        Ok(self.of(self.space.freeze()?))
    }

    /// See [`Space::reset_to`].
    pub(crate) fn reset_to(&self, to: &Self) -> Result<(), Error> {
        self.space.reset_to(&to.space)
    }

    /// Whoever owns the memory takes it for so long.
    pub(crate) fn tell(&self, len: u64) {
        let len = usize::try_from(len).expect("addresses have 64 bits");
        // Relaxed: told and asked by whoever has the store exclusively.
        self.told.store(len, Ordering::Relaxed);
    }

    /// How long the owner takes it for.
    pub(crate) fn told(&self) -> usize {
        // Relaxed: as `tell`.
        self.told.load(Ordering::Relaxed)
    }

    /// The space; offsets in it count from `head` bytes before the memory.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Bytes of the space before the memory.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Bytes of the memory, in whole pages of the machine.
    pub(crate) fn len(&self) -> u64 {
        self.space.len() - self.head
    }

    /// The memory's first byte.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        // Only a number is added: a page of addresses lies there in any case.
        let head = usize::try_from(self.head).expect("a page is small");
        self.space.as_ptr().as_ptr().wrapping_add(head)
    }

    /// See [`Space::grow`].
    pub(crate) fn grow(&self, len: u64) -> Result<(), Error> {
        self.space.grow(self.head + len)
    }

    /// See [`Space::write`].
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.space.write(self.head + offset, bytes)
    }
}
