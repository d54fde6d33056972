//! The seam to Wasmtime: memories that stand on spaces. The only file of this
//! crate with `unsafe`.
//!
//! Wasmtime calls `new_memory` on the thread that instantiates; the memory is
//! then owned by a store. Nothing here is locked: a memory is grown through
//! `&mut`, and the manager does its own locking.

use crate::code::GuestCode;
use crate::config::{GUARD, RESERVATION, size};
use crate::handoff::{self, Offer};
use memfold::{Memory, Space};
use std::sync::Arc;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// Makes the memories of an engine.
pub(crate) struct Creator {
    memory: Memory,
}

impl Creator {
    pub(crate) fn new(memory: Memory) -> Self {
        Creator { memory }
    }

    /// The space on offer, or a new one of zeros.
    fn space(&self, minimum: usize) -> Result<Offer, String> {
        if let Some(offer) = handoff::take() {
            return Ok(offer);
        }
        if minimum == 0 {
            return Err(
                "a memory that begins empty is not supported: its first size must be a page or more".into(),
            );
        }
        let space = self
            .memory
            .create(size(minimum as u64))
            .map_err(|error| error.to_string())?;
        Ok(Offer {
            space: Arc::new(space),
            code: None,
        })
    }
}

// SAFETY: every memory stands on a space of `RESERVATION + GUARD` bytes of addresses, of which only the first
// `byte_size` are accessible, so the guard that compiled code relies on is there; other sizes are refused. A space
// made here is all zeros. A space on offer holds a fork's contents, which is what its instance is to start with:
// the module's own segments are empty, and whoever offers it hands it to one memory only. Nobody but the
// owner of the store writes to the space after that: `InstanceSpace` offers no way to.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _type: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let reserved = reserved.unwrap_or(minimum) as u64;
        if reserved > RESERVATION || guard as u64 > GUARD || minimum as u64 > RESERVATION {
            return Err(format!(
                "a memory of {minimum} bytes with {reserved} bytes of addresses and a guard of {guard} does not fit: \
                 `memfold_wasmtime::configure` must be the last to set these"
            ));
        }
        let Offer { space, code } = self.space(minimum)?;
        if space.len() < minimum as u64 {
            return Err(format!(
                "the space has {} bytes, the memory needs {minimum}",
                space.len()
            ));
        }
        Ok(Box::new(Linear { space, _code: code }))
    }
}

/// One memory of a store.
struct Linear {
    space: Arc<Space>,
    /// Dropped with the memory: until then its faults come from guest code.
    _code: Option<Arc<GuestCode>>,
}

// SAFETY: the space does not move, is accessible up to its length, and lives as long as this value. It may be longer
// than the module's minimum (a fork of a memory that has grown): Wasmtime takes `byte_size` as the current size.
unsafe impl LinearMemory for Linear {
    fn byte_size(&self) -> usize {
        usize::try_from(self.space.len()).expect("a space has an address for each byte")
    }

    fn byte_capacity(&self) -> usize {
        usize::try_from(RESERVATION).expect("addresses have 64 bits")
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.byte_capacity() {
            return Err(wasmtime::Error::msg("a memory cannot grow beyond 4 GiB"));
        }
        Ok(self.space.grow(new_size as u64)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.space.as_ptr().as_ptr()
    }
}
