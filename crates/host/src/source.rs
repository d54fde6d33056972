//! [`PageSource`]: where the bytes of a file's pages come from, and where those that were stored to
//! go back to: a file, bytes in memory, an image.
//!
//! A source knows nothing of frames, spaces or budgets. It is called from fault handlers, with
//! locks of the manager held, by several threads at once, but never by two for the same page. So it
//! waits for nobody who touches a window, and touches none itself; it should allocate nothing.

use crate::addr::PageBytes;

/// Why a source could not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused (`EIO`, `ENOSPC`, ...); the number is its error code.
    #[error("the file could not be read or written (error {0})")]
    Os(i32),
    /// The source cannot be written.
    #[error("the file was opened for reading only; open it for reading and writing")]
    ReadOnly,
    /// The whole page lies behind the end of the source, which others have made shorter.
    #[error("the file ends before that: others have made it shorter")]
    Ended,
}

/// A seekable array of bytes, read and written in pages. The page `n` is the bytes from
/// `n` × [`PAGE_SIZE`](crate::addr::PAGE_SIZE) on.
pub trait PageSource: Send + Sync {
    /// How long it is now, in bytes. Others may make it longer or shorter at any time.
    ///
    /// # Errors
    /// When the source does not say.
    fn bytes(&self) -> Result<u64, SourceError>;

    /// Whether it can be written. The same answer always.
    fn is_writable(&self) -> bool;

    /// Reads a page. What lies behind the end of the source, in the page in which it ends, is
    /// zeros.
    ///
    /// # Errors
    /// When it cannot be read; [`SourceError::Ended`] when all of it lies behind the end. `out`
    /// then has no meaning.
    fn read(&self, page: u64, out: &mut PageBytes) -> Result<(), SourceError>;

    /// Writes the first `len` bytes of a page, at least 1 and no more than the source has there as
    /// the manager knows it: a source becomes no longer by this, unless others made it shorter.
    ///
    /// # Errors
    /// When they cannot be written; some of them may be.
    fn write(&self, page: u64, bytes: &PageBytes, len: usize) -> Result<(), SourceError>;

    /// What was written so far outlives the machine, when this returns.
    ///
    /// # Errors
    /// When that cannot be promised for some of it.
    fn sync(&self) -> Result<(), SourceError>;

    /// Makes the source so many bytes long; what is new is zeros.
    ///
    /// # Errors
    /// When it cannot; the length is then as it was.
    fn resize(&self, bytes: u64) -> Result<(), SourceError>;
}
