//! What `prepare` makes: a module that can be forked, and what its first instance still needs
//! ([`Prepared`]).
//!
//! Immutable values; built by `rewrite.rs`, read by whoever instantiates.

use crate::imports::Own;
use crate::tables::Contents;

/// A module that can be forked, and what its first instance still needs.
///
/// Made by [`prepare`](crate::prepare). Immutable; compile its [`wasm`](Prepared::wasm) once
/// and make any number of instances of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub(crate) wasm: Vec<u8>,
    pub(crate) memories: Vec<MemoryPlan>,
    pub(crate) globals: Vec<GlobalPlan>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) start: Option<String>,
    pub(crate) tables: Vec<TablePlan>,
    pub(crate) functions: Vec<FunctionPlan>,
    pub(crate) drops: Option<DropPlan>,
    pub(crate) own: Vec<Own>,
}

impl Prepared {
    /// The rewritten module, in the binary format.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The module's memories, in the order of their indices; there is at least one.
    pub fn memories(&self) -> &[MemoryPlan] {
        &self.memories
    }

    /// The mutable globals, in the order of their indices. The last ones may be flags of our own.
    pub fn globals(&self) -> &[GlobalPlan] {
        &self.globals
    }

    /// The data that instantiation would have written, in the order in which
    /// it must be: segments may overlap.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The tables that the program may change, in the order of their indices.
    pub fn tables(&self) -> &[TablePlan] {
        &self.tables
    }

    /// The functions that references in tables and mutable globals can be to, in the order of their
    /// indices.
    pub fn functions(&self) -> &[FunctionPlan] {
        &self.functions
    }

    /// Imports that each instance has for itself, and that a linker is not asked for.
    pub fn own(&self) -> &[Own] {
        &self.own
    }

    /// How a fork drops the segments that its parent has dropped, if the program drops any.
    pub fn drops(&self) -> Option<&DropPlan> {
        self.drops.as_ref()
    }

    /// The name under which the start function is exported now, if there is one.
    pub fn start(&self) -> Option<&str> {
        self.start.as_deref()
    }
}

/// A memory of a [`Prepared`] module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Its index in the module.
    pub index: u32,
    /// The name under which it is exported (besides names that it had). It ends with a fingerprint
    /// of the module, by which `memfold_wasmtime::Template::from_module` knows that a compiled
    /// module is this one.
    pub export: String,
    /// Its first size, in its pages; may be 0.
    pub minimum_pages: u64,
    /// The size that it may grow to, in its pages, if the module has a limit. It may be more than
    /// there are addresses for ([`MOST_BYTES`]).
    pub maximum_pages: Option<u64>,
    /// Bytes of one of its pages: 65,536, or 1.
    pub page_bytes: u64,
    /// What its addresses are.
    pub addresses: Addresses,
}

/// What a program's addresses in a memory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Numbers of 32 bits.
    Bits32,
    /// Numbers of 64 bits.
    Bits64,
}

/// Most bytes of a memory, those with 64-bit addresses included: what an instance has addresses
/// for, 4 GiB.
pub const MOST_BYTES: u64 = 4 << 30;

impl MemoryPlan {
    /// Bytes of its first size: no more than [`MOST_BYTES`].
    #[must_use]
    pub fn minimum_bytes(&self) -> u64 {
        self.minimum_pages.saturating_mul(self.page_bytes)
    }
}

/// A mutable global of a [`Prepared`] module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalPlan {
    /// Its index in the module.
    pub index: u32,
    /// What the module calls it: a name that it had as an export, or the name of the import.
    pub name: Option<String>,
    /// The name under which it is exported (besides names that it had).
    pub export: String,
}

/// A table of a [`Prepared`] module that the program may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// Its index in the module.
    pub index: u32,
    /// What the module calls it: a name that it had as an export, or the name of the import.
    pub name: Option<String>,
    /// The name under which it is exported (besides names that it had).
    pub export: String,
    /// The place, among [`Prepared::globals`], of the flag that says whether the program has
    /// changed it.
    pub flag: usize,
    /// What it holds before.
    pub contents: Contents,
}

/// A function of a [`Prepared`] module that a reference can be to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPlan {
    /// Its index in the module.
    pub index: u32,
    /// The name under which it is exported (besides names that it had).
    pub export: String,
}

/// What drops segments in forks of a [`Prepared`] module's instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropPlan {
    /// The name of the exported function without parameters that drops each segment whose flag is
    /// set.
    pub export: String,
    /// The places of the flags among [`Prepared::globals`].
    pub flags: std::ops::Range<usize>,
}

/// Data that the first instance of a [`Prepared`] module needs in one of its memories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The index of the memory.
    pub memory: u32,
    /// The address of the first byte; the whole segment lies within the
    /// memory's first size.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}
