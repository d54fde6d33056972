//! [`FileSource`]: a file of the system as a source of pages.
//!
//! It owns a descriptor, with a high number, which is looked at before each use (`keep.rs`):
//! nothing is ever read from, or written to, another file that the program has opened at its number
//! meanwhile. Called in fault handlers, under locks of the manager: no lock of its own, no
//! allocation; a call waits for the disk, and for nobody who touches a window.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{PageSource, SourceError};

use crate::keep::{Holder, Kept};
use crate::sys::file::{self, Kind};
use crate::sys::{self, Errno};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileAccess {
    /// Its bytes are read; stores never reach it.
    ReadOnly,
    /// Stores through shared mappings reach it.
    ReadWrite,
}

/// Why a file cannot be a source of pages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileOpenError {
    /// The system does not open it.
    #[error("{} cannot be opened: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Its bytes have no places, or it is no file at all.
    #[error("{0} cannot be mapped: only regular files and block devices can")]
    Kind(&'static str),
    /// The descriptor was opened for less.
    #[error("the descriptor was not opened for {0}: open the file anew, or map it for less")]
    Rights(&'static str),
    /// Pages cannot be read and written at their places through such a descriptor.
    #[error("the descriptor was opened with {0}, by which pages have no places: open it without")]
    Mode(&'static str),
    /// The system says nothing about the descriptor.
    #[error("the descriptor cannot be used (error {errno})")]
    Descriptor {
        /// The error code.
        errno: i32,
    },
}

impl From<Errno> for FileOpenError {
    fn from(Errno(errno): Errno) -> Self {
        Self::Descriptor { errno }
    }
}

/// A regular file or a block device. Others may change it, and its length, at any time.
///
/// A descriptor that the program closes (closing numbers that it did not open) is lost: from then
/// on each call is `EBADF`. Dropping it closes the descriptor; it makes nothing last, see
/// [`sync`](PageSource::sync). In a child of `fork(2)` it reads and writes the same file.
#[derive(Debug)]
pub struct FileSource {
    // Immutable; the kernel guards the file:
    fd: Kept,
    kind: Kind,
    access: FileAccess,
}

/// Where a page begins.
fn offset(page: u64) -> Result<u64, SourceError> {
    let most = i64::MAX.cast_unsigned() - PAGE_SIZE as u64;
    let at = page.checked_mul(PAGE_SIZE as u64).filter(|&at| at <= most);
    at.ok_or(SourceError::Os(libc::EFBIG))
}

impl FileSource {
    /// Opens a file, which is there. Never waits for the other end of a pipe.
    ///
    /// # Errors
    /// [`FileOpenError`]; nothing is left open.
    pub fn open(path: impl AsRef<Path>, access: FileAccess) -> Result<Self, FileOpenError> {
        let path = path.as_ref();
        let opened = File::options()
            .read(true)
            .write(access == FileAccess::ReadWrite)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path);
        let refused = |error: std::io::Error| match error.raw_os_error() {
            // What the system says of a directory that is opened for stores.
            Some(libc::EISDIR) => FileOpenError::Kind("a directory"),
            _ => FileOpenError::Open {
                path: path.to_owned(),
                error,
            },
        };
        Self::new(opened.map_err(refused)?, access)
    }

    /// Takes over a descriptor. Its position means nothing.
    ///
    /// # Errors
    /// [`FileOpenError`]; the descriptor is closed then.
    pub fn new(fd: impl Into<OwnedFd>, access: FileAccess) -> Result<Self, FileOpenError> {
        let fd: OwnedFd = fd.into();
        let flags = file::flags(fd.as_fd())?;
        let modes = [
            (libc::O_PATH, "O_PATH"),
            (libc::O_APPEND, "O_APPEND"),
            (libc::O_DIRECT, "O_DIRECT"),
        ];
        if let Some((_, mode)) = modes.into_iter().find(|(mode, _)| flags & mode != 0) {
            return Err(FileOpenError::Mode(mode));
        }
        let (kind, _) = file::kind(fd.as_fd())?;
        if let Kind::Other(what) = kind {
            return Err(FileOpenError::Kind(what));
        }
        match flags & libc::O_ACCMODE {
            libc::O_WRONLY => return Err(FileOpenError::Rights("reading")),
            libc::O_RDONLY if access == FileAccess::ReadWrite => {
                return Err(FileOpenError::Rights("writing"));
            }
            _ => (),
        }
        // Nobody has a second reference to it: a host's keeper is older than the file.
        let holder = Arc::new(Holder::default());
        let fd = Kept::new(fd, &holder)?;
        Ok(Self { fd, kind, access })
    }

    /// Makes a call on the file. The thread that answers faults has a table of descriptors of its
    /// own, which is older than the file: there it is borrowed from the process's.
    fn call<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> Result<R, Errno>) -> Result<R, SourceError> {
        let done = match self.fd.checked() {
            Ok(fd) => call(fd),
            Err(_) => self.fd.borrowed().and_then(|fd| call(fd.as_fd())),
        };
        done.map_err(|Errno(code)| SourceError::Os(code))
    }

    fn check_writable(&self) -> Result<(), SourceError> {
        match self.access {
            FileAccess::ReadOnly => Err(SourceError::ReadOnly),
            FileAccess::ReadWrite => Ok(()),
        }
    }
}

impl PageSource for FileSource {
    fn bytes(&self) -> Result<u64, SourceError> {
        self.call(|fd| match self.kind {
            Kind::BlockDevice => file::end(fd),
            _ => file::kind(fd).map(|(_, bytes)| bytes),
        })
    }

    fn is_writable(&self) -> bool {
        self.access == FileAccess::ReadWrite
    }

    fn read(&self, page: u64, out: &mut PageBytes) -> Result<(), SourceError> {
        let at = offset(page)?;
        let done = self.call(|fd| {
            let mut done = 0;
            // Ends: each turn reads something, or is the last.
            while done < PAGE_SIZE {
                match file::read_at(fd, &mut out[done..], at + done as u64)? {
                    0 => break,
                    more => done += more,
                }
            }
            out[done..].fill(0);
            Ok(done)
        })?;
        if done == 0 {
            Err(SourceError::Ended)
        } else {
            Ok(())
        }
    }

    fn write(&self, page: u64, bytes: &PageBytes, len: usize) -> Result<(), SourceError> {
        assert!(
            (1..=PAGE_SIZE).contains(&len),
            "{len} bytes of page {page} are written"
        );
        self.check_writable()?;
        let at = offset(page)?;
        self.call(|fd| {
            let mut done = 0;
            // Ends: as above.
            while done < len {
                match file::write_at(fd, &bytes[done..len], at + done as u64)? {
                    0 => return Err(Errno(libc::EIO)),
                    more => done += more,
                }
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), SourceError> {
        self.call(file::sync)
    }

    fn resize(&self, bytes: u64) -> Result<(), SourceError> {
        self.check_writable()?;
        self.call(|fd| sys::truncate(fd, bytes))
    }
}
