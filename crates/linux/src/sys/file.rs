//! The system calls on a file that is mapped: reading and writing pages, and what kind of file it
//! is; any file's record too. As in `sys.rs`: one call each, nothing decided, nothing shared.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::{Errno, check_file_limit, checked, pread, pwrite, restarted};
use crate::inject::{Call, refuse};

/// What a descriptor's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    BlockDevice,
    /// What people call it.
    Other(&'static str),
}

/// The record of the file behind a number.
pub(super) fn stat(number: RawFd) -> Result<libc::stat, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the structure it is given.
    checked(unsafe { i64::from(libc::fstat(number, stat.as_mut_ptr())) })?;
    // SAFETY: `fstat` succeeded, so the structure is filled.
    Ok(unsafe { stat.assume_init() })
}

/// The kind of a file, and how long it is as far as its record says (a device's does not).
pub(crate) fn kind(fd: BorrowedFd<'_>) -> Result<(Kind, u64), Errno> {
    let stat = stat(fd.as_raw_fd())?;
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => Kind::Regular,
        libc::S_IFBLK => Kind::BlockDevice,
        libc::S_IFDIR => Kind::Other("a directory"),
        libc::S_IFIFO => Kind::Other("a pipe"),
        libc::S_IFSOCK => Kind::Other("a socket"),
        libc::S_IFCHR => Kind::Other("a character device"),
        _ => Kind::Other("something else"),
    };
    Ok((kind, stat.st_size.cast_unsigned()))
}

/// The flags with which the file was opened.
pub(crate) fn flags(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    // SAFETY: asks for a number.
    checked(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })).map(|flags| flags as i32)
}

/// Where a file ends, by going there.
pub(crate) fn end(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: moves a position that nobody uses.
    checked(unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_END) })
}

/// Reads at `at`; how many bytes came.
pub(crate) fn read_at(fd: BorrowedFd<'_>, out: &mut [u8], at: u64) -> Result<usize, Errno> {
    refuse(Call::FileRead)?;
    pread(fd, out, at)
}

/// Writes at `at`; how many bytes were taken.
pub(crate) fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], at: u64) -> Result<usize, Errno> {
    refuse(Call::FileWrite)?;
    check_file_limit(at + bytes.len() as u64)?;
    pwrite(fd, bytes, at)
}

/// Makes what was written last.
pub(crate) fn sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    refuse(Call::FileSync)?;
    // SAFETY: no memory of ours is touched.
    restarted(|| i64::from(unsafe { libc::fdatasync(fd.as_raw_fd()) })).map(drop)
}
