//! [`Ground`]: a space, and which of its bytes a memory is; [`Grounds`]: those of one instance.
//!
//! A space has at least one page; a memory may begin empty. So the space of
//! such a memory has one page *before* the memory, which no program can reach
//! and which costs addresses only: nobody writes to it. All else follows: the
//! memory's first byte stands behind that page, and what lies behind its last
//! byte is inaccessible, at length 0 as at any other.
//!
//! A space has whole pages of the machine; a memory whose pages are smaller may end inside of one.
//! What follows there are zeros, which compiled code cannot reach: it checks each access against
//! the length that the memory's owner was told.
//!
//! A handle; the manager does its own locking.

use crate::config::{GUARD, RESERVATION};
use crate::reset::Irreversible;
use memfold::{Error, Memory, OnLoss, PAGE_SIZE, Space, SpaceError, SpaceSize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cheap to clone: the space is shared.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    space: Arc<Space>,
    /// Bytes of the space before the memory.
    head: u64,
    /// Bytes of the memory, as its owner has been told: no more than the space has.
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
        let space = memory.create(size)?;
        Ok(Ground::of(space, head, told(len)))
    }

    /// As [`new`](Ground::new), for a guest, which must not take the process with it: host code (a
    /// `memory.copy` of Wasmtime's) that meets a page which cannot be had goes on, and the call
    /// ends with [`Error::MemoryLost`](crate::Error::MemoryLost).
    pub(crate) fn of_guest(memory: &Memory, len: u64) -> Result<Self, Error> {
        let ground = Ground::new(memory, len)?;
        ground.space().set_on_loss(OnLoss::Sink)?;
        Ok(ground)
    }

    fn of(space: Space, head: u64, told: usize) -> Self {
        Ground {
            space: Arc::new(space),
            head,
            told: Arc::new(AtomicUsize::new(told)),
        }
    }

    /// The same bytes in another space.
    fn like(&self, space: Space) -> Self {
        Ground::of(space, self.head, self.told())
    }

    /// See [`Space::fork`].
    pub(crate) fn fork(&self) -> Result<Self, Error> {
        Ok(self.like(self.space.fork()?))
    }

    /// See [`Space::freeze`].
    pub(crate) fn freeze(&self) -> Result<Self, Error> {
        Ok(self.like(self.space.freeze()?))
    }

    /// See [`Space::reset_to`].
    pub(crate) fn reset_to(&self, to: &Self) -> Result<(), Error> {
        self.space.reset_to(&to.space)
    }

    /// Whoever owns the memory takes it for so long.
    pub(crate) fn tell(&self, len: u64) {
        // Relaxed: told by whoever has the store exclusively; anybody else who asks has the length
        // of some moment.
        self.told.store(told(len), Ordering::Relaxed);
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

    /// Bytes of the memory.
    pub(crate) fn len(&self) -> u64 {
        self.told() as u64
    }

    /// Its owner is told again that it is so long, unless it has grown beyond that meanwhile:
    /// whether that is so. Then a growth by nothing, which asks nobody, makes Wasmtime look at the
    /// length.
    pub(crate) fn tell_back(&self, bytes: u64) -> bool {
        let is_so = self.len() <= bytes;
        if is_so {
            self.tell(bytes);
        }
        is_so
    }

    /// Bytes that the memory has room for: whole pages of the machine.
    pub(crate) fn room(&self) -> u64 {
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

fn told(len: u64) -> usize {
    usize::try_from(len).expect("addresses have 64 bits")
}

/// What the memories of one instance stand on, in the order of their indices; there is at least
/// one. Cheap to clone: the spaces are shared.
#[derive(Clone, Debug)]
pub(crate) struct Grounds(Box<[Ground]>);

impl Grounds {
    pub(crate) fn new(grounds: Vec<Ground>) -> Self {
        assert!(!grounds.is_empty(), "a prepared module has a memory");
        Grounds(grounds.into())
    }

    /// That of the first memory.
    pub(crate) fn first(&self) -> &Ground {
        &self.0[0]
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Ground> {
        self.0.iter()
    }

    /// Whether all memory could be had since this was last asked.
    pub(crate) fn check(&self) -> Result<(), crate::Error> {
        // Of all, so that none is told of a call that it was not in.
        let failures = self.iter().filter_map(|ground| ground.space().take_failure());
        match failures.reduce(|first, _| first) {
            Some(failure) => Err(crate::Error::MemoryLost { failure }),
            None => Ok(()),
        }
    }

    /// Bytes of each memory.
    pub(crate) fn lengths(&self) -> Vec<u64> {
        self.iter().map(Ground::len).collect()
    }

    /// Whether a memory has bytes that has none there.
    pub(crate) fn have_begun_since(&self, then: &Self) -> bool {
        let mut both = self.iter().zip(then.iter());
        both.any(|(now, then)| now.len() > 0 && then.len() == 0)
    }

    /// Makes all what they are there, or says how many of them are when one cannot be.
    pub(crate) fn reset_to(&self, then: &Self) -> Result<(), (crate::Error, usize)> {
        for (done, (ground, then)) in self.iter().zip(then.iter()).enumerate() {
            ground.reset_to(then).map_err(|error| match error {
                Error::Space(SpaceError::NotRelated(_)) => {
                    (crate::Error::Irreversible(Irreversible::OtherMemory), done)
                }
                error => (crate::Error::Memory(error), done),
            })?;
        }
        Ok(())
    }

    /// Forks of all, or of none.
    pub(crate) fn fork(&self) -> Result<Self, Error> {
        self.0
            .iter()
            .map(Ground::fork)
            .collect::<Result<_, _>>()
            .map(Grounds)
    }

    /// Frozen copies of all, or of none.
    pub(crate) fn freeze(&self) -> Result<Self, Error> {
        self.0
            .iter()
            .map(Ground::freeze)
            .collect::<Result<_, _>>()
            .map(Grounds)
    }
}
