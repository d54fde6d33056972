//! The seam to Wasmtime: memories that stand on spaces. With `mapping.rs` the only
//! file of this crate with `unsafe`.
//!
//! Wasmtime calls `new_memory` on the thread that instantiates; the memory is
//! then owned by a store. Nothing here is locked: a memory is grown through
//! `&mut`, and the manager does its own locking.

#[cfg(test)]
mod tests;

use crate::code::GuestCode;
use crate::config::{GC_GUARD, GUARD, RESERVATION};
use crate::ground::Ground;
use crate::handoff::{self, Addresses};
use memfold::Memory;
use std::sync::Arc;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// Makes the memories of an engine, and its heaps for garbage-collected objects.
pub(crate) struct Creator {
    memory: Memory,
}

impl Creator {
    pub(crate) fn new(memory: Memory) -> Self {
        Creator { memory }
    }

    /// A new space of zeros.
    fn zeros(&self, minimum: usize) -> Result<Ground, String> {
        Ground::new(&self.memory, minimum as u64).map_err(|error| error.to_string())
    }
}

// SAFETY: every memory stands on a space of `RESERVATION + GUARD` bytes of addresses behind its
// first byte, of which only the first `byte_size` (and the rest of their last page) are accessible,
// so the guard that compiled code relies on is there; other sizes are refused. Pages of less than 4
// KiB are bounds-checked by the compiled code itself. A space made here is all zeros. A space on
// offer holds a fork's contents, which is what its instance is to start with: the module's own
// segments are empty, whoever offers it hands it to one memory only, of the type and the place that
// it is for, and it is not a heap: those have another guard. It may be longer than `byte_size` says
// until `Template::place` has grown the memory to it, before any code runs. Nobody but the owner of
// the store writes to the space after that: `InstanceSpace` offers no way to, and who maps a file
// there promises it. Only a reset makes it shorter, after its owner was told, and only where
// nothing of the store runs.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let addresses = Addresses {
            reservation: reserved.unwrap_or(minimum) as u64,
            guard: guard as u64,
        };
        if handoff::answer(addresses) {
            return Err("this engine was only asked how it is configured".into());
        }
        let holds = holds(addresses)?;
        if minimum as u64 > RESERVATION {
            return Err(format!(
                "a memory that begins with {minimum} bytes is not supported: the most is {RESERVATION}"
            ));
        }
        let offer = match holds {
            Holds::Memory => handoff::take(&ty),
            Holds::Objects => None,
        };
        let (ground, code) = match offer {
            Some((ground, code)) => (ground, Some(code)),
            None => (self.zeros(minimum)?, None),
        };
        ground.tell(minimum as u64);
        Ok(Box::new(Linear { ground, _code: code }))
    }
}

/// What a memory is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// A memory of a module.
    Memory,
    /// The heap of a store for garbage-collected objects.
    Objects,
}

/// Told by the guard, which `configure` sets for each.
fn holds(addresses: Addresses) -> Result<Holds, String> {
    match (addresses.reservation, addresses.guard) {
        (RESERVATION, GUARD) => Ok(Holds::Memory),
        (RESERVATION, GC_GUARD) => Ok(Holds::Objects),
        (reservation, guard) => Err(format!(
            "the engine asks for memories of {reservation} bytes of addresses with a guard of {guard} (`memory_reservation`, \
             `memory_guard_size`), and memfold needs {RESERVATION} and {GUARD}: call `memfold_wasmtime::configure` after \
             all other settings"
        )),
    }
}

/// One memory of a store.
struct Linear {
    /// Says how long it is, and has room for as many bytes at the least.
    ground: Ground,
    /// Dropped with the memory: until then its faults come from guest code.
    _code: Option<Arc<GuestCode>>,
}

// SAFETY: the space does not move, is accessible up to `byte_size` at the least, and lives as long
// as this value.
unsafe impl LinearMemory for Linear {
    fn byte_size(&self) -> usize {
        self.ground.told()
    }

    fn byte_capacity(&self) -> usize {
        usize::try_from(RESERVATION).expect("addresses have 64 bits")
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.byte_capacity() {
            return Err(wasmtime::Error::msg(format!(
                "a memory cannot grow beyond {RESERVATION} bytes, which is what it has addresses for"
            )));
        }
        // The space of a fork has the length already that its memory grows to first, and pages of
        // the machine may be larger than those of the memory.
        if new_size as u64 > self.ground.room() {
            self.ground.grow(new_size as u64)?;
        }
        self.ground.tell(new_size as u64);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.ground.as_ptr()
    }
}
