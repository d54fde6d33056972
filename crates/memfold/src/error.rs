//! What can go wrong, for people: what happened, to which space, and what to do.

/// A fault that could not be resolved, as the space remembers it.
pub use memfold_mm::FaultError as Failure;
/// What [`Error::Build`] and [`Error::Space`] hold.
pub use memfold_mm::{BuildError, SpaceError};

/// Any failure of a [`Memory`](crate::Memory) or [`Space`](crate::Space). A failed operation leaves
/// everything as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine does not let this process manage its memory.
    #[error("cannot manage memory on this machine: {0}")]
    Machine(#[from] memfold_linux::OpenError),
    /// The budget or the sizes do not work.
    #[error(transparent)]
    Build(#[from] memfold_mm::BuildError),
    /// An operation on a space failed.
    #[error(transparent)]
    Space(#[from] memfold_mm::SpaceError),
    /// A page could not be brought in.
    #[error(transparent)]
    Fault(#[from] Failure),
    /// The range is not inside the space.
    #[error("bytes {start}..{end} are not inside a space of {len} bytes")]
    OutOfRange {
        /// First byte asked for.
        start: u64,
        /// The byte after the last one.
        end: u64,
        /// Length of the space.
        len: u64,
    },
    /// A file cannot be opened for mapping.
    #[error(transparent)]
    Open(#[from] memfold_linux::FileOpenError),
    /// Something could not be done with a file.
    #[error(transparent)]
    File(#[from] memfold_mm::FileError),
    /// The file was opened in another memory.
    #[error("the file was opened in another memory: open it in the one that the space is of")]
    ForeignFile,
    /// A range of bytes is empty, or does not begin and end at pages.
    #[error("areas are whole pages, at least one: give ranges that begin and end at multiples of 4096 bytes")]
    Unaligned,
    /// This process is a child of `fork(2)`, and the memory is its parent's; nothing was done.
    #[error(
        "this process is a child of fork(2) and the memory is its parent's: exit, call exec, or build a Memory of this process's own"
    )]
    Forked,
    /// A size is not a whole number of pages, or is none at all.
    #[error("{bytes} bytes are not a possible size: 1 byte to {most} are")]
    BadSize {
        /// What was asked for.
        bytes: u64,
        /// The most that is possible.
        most: u64,
    },
}

impl From<memfold_mm::Forked> for Error {
    fn from(_: memfold_mm::Forked) -> Self {
        Self::Forked
    }
}
