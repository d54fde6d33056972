//! Why a module cannot be forked: [`NotForkable`], with every [`Reason`] at once.
//!
//! Immutable values, built by `scan.rs`. A reason about instructions names the
//! first place of each kind and counts the rest, so a report stays readable.

use std::fmt;

/// The module cannot be forked. All reasons are listed, so that one look tells
/// what would have to change.
///
/// ```
/// use memfold_wasmtime::{Reason, prepare};
///
/// let refused = prepare(b"not a module").unwrap_err();
/// assert!(matches!(refused.reasons[..], [Reason::Invalid { .. }]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotForkable {
    /// Never empty. [`Reason::Invalid`] and [`Reason::Component`] stand alone:
    /// nothing can be said about the contents of such a module.
    pub reasons: Vec<Reason>,
}

impl fmt::Display for NotForkable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the module cannot be forked")?;
        for (number, reason) in self.reasons.iter().enumerate() {
            f.write_str(if number == 0 { ": " } else { "; " })?;
            reason.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for NotForkable {}

impl From<Reason> for NotForkable {
    fn from(reason: Reason) -> Self {
        NotForkable {
            reasons: vec![reason],
        }
    }
}

/// One reason why a module cannot be forked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Not a WebAssembly module, or cut short, or it does not validate.
    #[error("not a valid module: {message} (at byte {offset:#x})")]
    Invalid {
        /// The byte of the file at which reading stopped.
        offset: usize,
        /// What is wrong there, in the validator's words.
        message: String,
    },
    /// A component. Only core modules can be forked.
    #[error("it is a component, not a core module")]
    Component,
    /// There is no memory, so there is nothing to share: instantiating the
    /// module again costs no more than a fork would.
    #[error("it has no memory")]
    NoMemory,
    /// The memory belongs to another instance.
    #[error("it imports the memory {module:?} {name:?}")]
    ImportedMemory {
        /// The import's module name.
        module: String,
        /// The import's field name.
        name: String,
    },
    /// A table that other instances may change.
    #[error("it imports the table {module:?} {name:?}")]
    ImportedTable {
        /// The import's module name.
        module: String,
        /// The import's field name.
        name: String,
    },
    /// A global that other instances may change.
    #[error("it imports the mutable global {module:?} {name:?}")]
    ImportedMutableGlobal {
        /// The import's module name.
        module: String,
        /// The import's field name.
        name: String,
    },
    /// A memory that several threads may run on: there is no moment at rest.
    #[error("its memory is shared between threads")]
    SharedMemory,
    /// More than one memory, imported ones included.
    #[error("it has {count} memories; one is supported")]
    SeveralMemories {
        /// How many.
        count: u32,
    },
    /// A memory with 64-bit addresses.
    #[error("its memory has 64-bit addresses, which are not supported yet")]
    Memory64,
    /// A memory whose pages are not 64 KiB.
    #[error("its memory has pages of 2^{log2} bytes; 2^16 is supported")]
    CustomPageSize {
        /// The binary logarithm of the page size.
        log2: u32,
    },
    /// The value of a reference belongs to one store and cannot be copied into
    /// another.
    #[error("the mutable global {global} holds a reference")]
    MutableReferenceGlobal {
        /// The index of the global.
        global: u32,
    },
    /// It changes a table; a fork would start with the table as it was first.
    #[error("it changes a table: {site}")]
    TableMutation {
        /// Where.
        site: Site,
    },
    /// It drops a data or element segment; a fork would have it again.
    #[error("it drops a segment: {site}")]
    SegmentDrop {
        /// Where.
        site: Site,
    },
    /// It makes or changes objects of the garbage-collected heap, which cannot
    /// be copied into another store.
    #[error("it makes or changes garbage-collected objects: {site}")]
    Gc {
        /// Where.
        site: Site,
    },
    /// Where the data goes is known only when the module is instantiated.
    #[error("the address of data segment {segment} is not a constant")]
    NonConstantOffset {
        /// The index of the segment.
        segment: u32,
    },
    /// The data does not fit into the memory: instantiation always traps.
    #[error("data segment {segment} lies outside the memory, so that no instance can be made")]
    SegmentOutOfBounds {
        /// The index of the segment.
        segment: u32,
    },
}

/// Where an instruction stands, and how often there is one like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The name of the instruction in the text format, such as `table.set`.
    pub operator: &'static str,
    /// The byte of the file at which the first one stands.
    pub offset: usize,
    /// How many there are.
    pub count: usize,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {:#x}", self.operator, self.offset)?;
        match self.count {
            0 | 1 => f.write_str(")"),
            count => write!(f, " and {} more)", count - 1),
        }
    }
}
