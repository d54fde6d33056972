//! Makes a Wasm module forkable, or says every reason why it cannot be: [`prepare`]. Wasm to Wasm,
//! pure: no engine, no state, no panic for any input. `memfold-wasmtime` makes and forks the
//! instances.
//!
//! An instance's state is its memories, its mutable globals, its tables, and which segments were
//! dropped. A fork copies all of it. So that it can be seen and set from outside,
//!
//! * a module with state that cannot be is refused, with all [`Reason`]s (`scan.rs` finds them);
//! * the module is rewritten (`rewrite.rs`): every mutable global, every memory, the start
//!   function, tables that the program changes and functions that these may refer to are exported
//!   under new names, the start section is gone, and each active data segment has become an empty
//!   passive one. That is the state of a segment after instantiation. What changes a table or drops
//!   a segment sets a flag (`marks.rs`), a global of our own. No index changes: what is new stands
//!   at the end.
//!
//! Instantiating the rewritten module thus runs no code of it and writes nothing to its memories.
//! What it left out is kept beside it in [`Prepared`]: a cold start writes the segments once into
//! pristine memories, forks them, and calls the start function; a fork of a live instance does
//! neither. Both use the same compiled code.
//!
//! With the feature `component`, [`prepare_component`] does the same to components, whose core
//! modules share memories and tables with one another (`component.rs`).
//!
//! All is thread-safe: values without interior mutability. The cost is one pass to validate and two
//! over the module, and memory for as many bytes as it has, some more for its flags and exports.
#![forbid(unsafe_code)]

#[cfg(feature = "component")]
mod component;
mod given;
mod imports;
mod marks;
mod objects;
mod plan;
#[cfg(any(test, feature = "promises"))]
pub mod promises;
mod reason;
mod rewrite;
mod scan;
mod sections;
mod tables;
#[cfg(test)]
mod tests;

#[cfg(feature = "component")]
pub use component::{Cell, ComponentTable, PreparedComponent, prepare_component};
pub use given::{Given, Number};
pub use imports::Own;
pub use plan::{
    Addresses, DropPlan, FunctionPlan, GlobalPlan, MOST_BYTES, MemoryPlan, Prepared, Segment, TablePlan,
};
pub use reason::{NotForkable, Reason, Site};
pub use tables::{Contents, Slot};

use wasmparser::{Parser, Validator, WasmFeatures};

/// Rewrites a module of the binary format so that its instances can be forked.
///
/// The module must have a memory; it may have several, with pages of 64 KiB or of one byte, with
/// 32-bit or 64-bit addresses, of at most [`MOST_BYTES`] each. It keeps its exports and all
/// indices; new exports have names that begin with `memfold:` and a number. It keeps its imports,
/// but for memories and tables, which nobody else has: each instance gets its own, of the size that
/// the import asks for. Host functions find the first memory, if it was imported, under the name
/// `memory`, unless the module exports something else by that, and each under
/// [`MemoryPlan::export`]. Globals that are mutable need a value
/// ([`prepare_with`]).
///
/// A table is copied into a fork when the program has changed it; otherwise it is built again from
/// the module. So a host that changes an exported table by itself must do so in each fork.
/// Positions of instructions change where the program changes tables or drops segments, which those
/// who read debugging information see.
///
/// # Errors
/// [`NotForkable`] lists every reason at once; an invalid module and a
/// component have just that one. (`prepare_component` takes components.)
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let module = wat::parse_str(r#"(module (memory 1) (data (i32.const 8) "hi"))"#)?;
/// let prepared = memfold_prepare::prepare(&module)?;
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
