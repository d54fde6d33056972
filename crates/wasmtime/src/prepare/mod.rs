//! Makes a module forkable: [`prepare`].
//!
//! An instance's state is its memory, its mutable globals, its tables, and which segments were
//! dropped. A fork copies all of it. So that it can be seen and set from outside,
//!
//! * a module with state that cannot be is refused, with all [`Reason`]s (`scan.rs` finds them);
//! * the module is rewritten (`rewrite.rs`): every mutable global, the memory, the start function,
//!   tables that the program changes and functions that these may refer to are exported under new
//!   names, the start section is gone, and each active data segment has become an empty passive
//!   one. That is the state of a segment after instantiation. What changes a table or drops a
//!   segment sets a flag (`marks.rs`), a global of our own. No index changes: what is new stands at
//!   the end.
//!
//! Instantiating the rewritten module thus runs no code of it and writes
//! nothing to its memory. What it left out is kept beside it in [`Prepared`]:
//! a cold start writes the segments once into a pristine memory, forks it, and
//! calls the start function; a fork of a live instance does neither. Both use
//! the same compiled code.
//!
//! All of this is pure: no engine, no state, no panic for any input.

mod given;
mod imports;
mod marks;
mod reason;
mod rewrite;
mod scan;
mod sections;
mod tables;
#[cfg(test)]
mod tests;

pub use given::{Given, Number};
pub use imports::Own;
pub use reason::{NotForkable, Reason, Site};
pub use tables::{Contents, Slot};

use wasmparser::{Parser, Validator, WasmFeatures};

/// A module that can be forked, and what its first instance still needs.
///
/// Made by [`prepare`]. Immutable; compile its [`wasm`](Prepared::wasm) once
/// and make any number of instances of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub(crate) wasm: Vec<u8>,
    pub(crate) memory: MemoryPlan,
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

    /// The module's one memory.
    pub fn memory(&self) -> &MemoryPlan {
        &self.memory
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

/// The memory of a [`Prepared`] module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The name under which it is exported (besides names that it had). It ends with a fingerprint
    /// of the module, by which [`Template::from_module`](crate::Template::from_module) knows that a
    /// compiled module is this one.
    pub export: String,
    /// Its first size, in Wasm pages of 64 KiB; may be 0.
    pub minimum_pages: u64,
    /// The size that it may grow to, in Wasm pages, if the module has a limit.
    pub maximum_pages: Option<u64>,
}

/// A mutable global of a [`Prepared`] module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalPlan {
    /// Its index in the module.
    pub index: u32,
    /// The name under which it is exported (besides names that it had).
    pub export: String,
}

/// A table of a [`Prepared`] module that the program may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// Its index in the module.
    pub index: u32,
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

/// Data that the first instance of a [`Prepared`] module needs in its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The address of the first byte; the whole segment lies within the
    /// memory's first size.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Rewrites a module of the binary format so that its instances can be forked.
///
/// The module must have exactly one memory. It keeps its exports and all indices; new exports have
/// names that begin with `memfold:` and a number. It keeps its imports, but for memories and
/// tables, which nobody else has: each instance gets its own, of the size that the import asks for.
/// Host functions find such a memory under the name `memory`, if the module exports nothing else by
/// that, and under [`MemoryPlan::export`]. Globals that are mutable need a value
/// ([`prepare_with`]).
///
/// A table is copied into a fork when the program has changed it; otherwise it is built again from
/// the module. So a host that changes an exported table by itself must do so in each fork.
/// Positions of instructions change where the program changes tables or drops segments, which those
/// who read debugging information see.
///
/// # Errors
/// [`NotForkable`] lists every reason at once; an invalid module and a
/// component have just that one.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let module = wat::parse_str(r#"(module (memory 1) (data (i32.const 8) "hi"))"#)?;
/// let prepared = memfold_wasmtime::prepare(&module)?;
/// assert_eq!(prepared.segments()[0].offset, 8);
/// # Ok(())
/// # }
/// ```
pub fn prepare(wasm: &[u8]) -> Result<Prepared, NotForkable> {
    prepare_with(wasm, &Given::new())
}

/// As [`prepare`], with values for globals that are imported.
///
/// When a value is given for one global, or one is mutable, each imported global needs one: all
/// become the instance's own. A segment whose address stands in such a global is written there.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_with(wasm: &[u8], given: &Given) -> Result<Prepared, NotForkable> {
    if Parser::is_component(wasm) {
        return Err(Reason::Component.into());
    }
    Validator::new_with_features(features())
        .validate_all(wasm)
        .map_err(invalid)?;
    let found = scan::scan(wasm, given).map_err(invalid)?.finish()?;
    rewrite::rewrite(wasm, found).map_err(invalid)
}

/// What a module may use and still be valid here. More than an engine may
/// accept, so that what cannot be forked is refused by its name.
fn features() -> WasmFeatures {
    WasmFeatures::WASM3 | WasmFeatures::CUSTOM_PAGE_SIZES | WasmFeatures::WIDE_ARITHMETIC
}

fn invalid(error: wasmparser::BinaryReaderError) -> NotForkable {
    Reason::Invalid {
        offset: error.offset(),
        message: error.message().to_owned(),
    }
    .into()
}
