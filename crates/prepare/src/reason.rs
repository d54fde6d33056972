//! Why a module cannot be forked: [`NotForkable`], with every [`Reason`] at once.
//!
//! Immutable values, built by `scan.rs`. A reason about instructions names the
//! first place of each kind and counts the rest, so a report stays readable.

use crate::plan::MOST_BYTES;
use std::fmt;

/// The module cannot be forked. All reasons are listed, so that one look tells
/// what would have to change.
///
/// ```
/// use memfold_prepare::{Reason, prepare};
///
/// let refused = prepare(b"not a module").unwrap_err();
/// assert!(matches!(refused.reasons[..], [Reason::Invalid { .. }]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotForkable {
    /// Never empty. [`Reason::Invalid`], [`Reason::Component`] and [`Reason::CoreModule`] stand
    /// alone: nothing can be said about the contents of such a module.
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
    /// A component, where a core module was asked for.
    #[error("it is a component, not a core module")]
    Component,
    /// A core module, where a component was asked for.
    #[error("it is a core module, not a component")]
    CoreModule,
    /// A component inside of the component has core modules of its own: nobody outside reaches
    /// their state.
    #[error("a component inside of it has core modules of its own")]
    NestedModule,
    /// The component gets core modules or components from elsewhere, which cannot be rewritten with
    /// it.
    #[error("it imports core modules or components, or takes them from other components")]
    ForeignModule,
    /// The component uses the asynchronous ABI: its tasks, streams and futures live in their store.
    #[error("it uses the asynchronous component ABI ({what})")]
    Asynchronous {
        /// The canonical function or option that is met first, such as `stream-new`.
        what: String,
    },
    /// A mutable global of a core module in a component holds a reference, which cannot leave the
    /// component.
    #[error("its mutable global {global} holds a reference, which cannot leave a component")]
    ReferenceGlobal {
        /// The index of the global in its module.
        global: u32,
    },
    /// A reason in one of a component's core modules.
    #[error("in its core module {module}: {reason}")]
    InModule {
        /// The index of the module in the component.
        module: u32,
        /// What it is.
        reason: Box<Reason>,
    },
    /// There is no memory, so there is nothing to share: instantiating the
    /// module again costs no more than a fork would.
    #[error("it has no memory")]
    NoMemory,
    /// A table that is imported and cannot be filled with null: what it begins with, only another
    /// instance knows.
    #[error("it imports the table {module:?} {name:?}, whose slots cannot be null")]
    ImportedTable {
        /// The import's module name.
        module: String,
        /// The import's field name.
        name: String,
    },
    /// A mutable global that is imported, and whose value (of its type) was not given: each
    /// instance would have it for itself.
    #[error(
        "it imports the mutable global {module:?} {name:?}: its value must be given, as a number of its type"
    )]
    ImportedMutableGlobal {
        /// The import's module name.
        module: String,
        /// The import's field name.
        name: String,
    },
    /// A global that is imported beside others that are given or mutable, and whose value was not
    /// given.
    #[error(
        "it imports the global {module:?} {name:?}: its value must be given like that of its mutable globals"
    )]
    ImportedGlobal {
        /// The import's module name.
        module: String,
        /// The import's field name.
        name: String,
    },
    /// A memory that several threads may run on: there is no moment at rest.
    #[error("its memory is shared between threads")]
    SharedMemory,
    /// A memory with 64-bit addresses that begins larger than there are addresses for.
    #[error("its memory {memory} begins with {bytes} bytes, and an instance has addresses for {MOST_BYTES}")]
    LargeMemory {
        /// The index of the memory.
        memory: u32,
        /// Bytes of its first size.
        bytes: u128,
    },
    /// A memory, a table or a mutable global is imported twice under one name. It would be one and
    /// the same thing under two indices, and each instance's own would be two.
    #[error("it imports {module:?} {name:?} twice, and each instance would have two of its own")]
    ImportedTwice {
        /// The import's module name.
        module: String,
        /// The import's field name.
        name: String,
    },
    /// Its globals, tables or element segments begin with objects of the garbage-collected heap,
    /// which a fork would have anew. Objects that only its code makes are no reason against it, but
    /// one that is alive in a global or a table is when an instance is forked.
    #[error("it begins with garbage-collected objects, which cannot be copied: {site}")]
    Gc {
        /// Where.
        site: Site,
    },
    /// The slots of a table begin with what an imported global gives, and imported globals become
    /// the instance's own: they would come after the table.
    #[error("the slots of its table {table} begin with a value that an imported global gives")]
    TableOfGlobal {
        /// The index of the table.
        table: u32,
    },
    /// Where the data goes is known only when the module is instantiated.
    #[error(
        "the address of data segment {segment} is not a constant: give the value of the global that it stands in"
    )]
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

impl Reason {
    /// What would have to change, in half a sentence.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Reason::Invalid { .. } => {
                "build it again for WebAssembly 3.0; exceptions of the older form are not part of it (`-fwasm-exceptions` with \
                 `-wasm-use-legacy-eh=false` makes the standard ones)"
            }
            Reason::Component => {
                "prepare it as a component (`prepare_component`, with the feature `component`)"
            }
            Reason::CoreModule => "prepare it as a module (`prepare`)",
            Reason::NestedModule => {
                "build it as one component, or fork the inner component before they are composed"
            }
            Reason::ForeignModule => "let it define the core modules that it instantiates",
            Reason::Asynchronous { .. } => "build it for WASI 0.2, whose functions are not asynchronous",
            Reason::ReferenceGlobal { .. } => "let the global hold a number, or be immutable",
            Reason::InModule { reason, .. } => reason.help(),
            Reason::NoMemory => "instantiate it again: there is nothing to share",
            Reason::ImportedTable { .. } => {
                "import a table whose slots can be null, or define it in the module"
            }
            Reason::ImportedMutableGlobal { .. } | Reason::ImportedGlobal { .. } => {
                "give its value (`prepare_with`; `memfold run --stub-imports` gives zero)"
            }
            Reason::SharedMemory => "build it without threads",
            Reason::LargeMemory { .. } => "let the memory begin smaller, with at most 4 GiB",
            Reason::ImportedTwice { .. } => "import it once",
            Reason::Gc { .. } => {
                "make these objects when the program starts, and drop them before it is forked"
            }
            Reason::TableOfGlobal { .. } => {
                "let the slots be null at first, and set them when the program starts"
            }
            Reason::NonConstantOffset { .. } => "give the value of the global that its address stands in",
            Reason::SegmentOutOfBounds { .. } => "let the memory begin larger",
        }
    }
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
