//! What `prepare_component` makes: a component that can be forked, and what its state is
//! ([`PreparedComponent`]).
//!
//! Immutable values; built by `component.rs`, read by whoever instantiates.

use crate::plan::MemoryPlan;
use std::ops::Range;

/// A component that can be forked.
///
/// Made by [`prepare_component`](crate::prepare_component). Immutable; compile its
/// [`wasm`](PreparedComponent::wasm) once and make any number of instances of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedComponent {
    pub(crate) wasm: Vec<u8>,
    pub(crate) accessor: String,
    pub(crate) memories: Vec<MemoryPlan>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) drops: Range<usize>,
    pub(crate) starts: bool,
}

impl PreparedComponent {
    /// The rewritten component, in the binary format.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The name of the exported instance whose functions reach the state: `get: func(cell: u32) ->
    /// u64`, `set: func(row: u32, ...)` (fifteen values of type `u64`, for the cells from fifteen
    /// times that number on; those beyond the last cell are ignored), `grow: func(memory: u32,
    /// pages: u64) -> u64` (all ones when it is refused), `start: func()` (what instantiation left
    /// out: data, start functions) and `drop: func()` (drops the segments whose flags are set). The
    /// name ends with a fingerprint of the component.
    pub fn accessor(&self) -> &str {
        &self.accessor
    }

    /// The memories of one instance, in the order in which instantiation makes them; there is at
    /// least one. Their indices are those in the modules that define them.
    pub fn memories(&self) -> &[MemoryPlan] {
        &self.memories
    }

    /// The state of one instance besides its memories: what each number is that `get` reads and
    /// `set` writes.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The places, among the [`cells`](PreparedComponent::cells), of the flags that say which
    /// segments were dropped.
    pub fn drops(&self) -> Range<usize> {
        self.drops.clone()
    }

    /// Whether instantiation left something out that `start` does.
    pub fn starts(&self) -> bool {
        self.starts
    }
}

/// What one number of 64 bits of a component's state is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cell {
    /// The value of a global, or half of one, or whether a segment was dropped. It is copied.
    Copied,
    /// Not zero when the code of a core instance has changed a table. Such a table cannot be
    /// copied: what stands in it cannot leave the component.
    ChangedTable(ComponentTable),
}

/// A table, as the core module names it whose code changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentTable {
    /// The index of the core module in the component.
    pub module: u32,
    /// The index of the table in the module.
    pub table: u32,
    /// What the module exports or imports it as.
    pub name: Option<String>,
}
