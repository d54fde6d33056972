//! Every system call of this crate on pools, windows and userfaultfd, one function each.
//!
//! Nothing is decided here: a function makes one call (again, when a signal interrupted it) and
//! returns the error code. Each first asks `inject.rs` whether it shall fail. Memory is only
//! named by [`Span`]s, which is why functions that remap it can be safe. No lock, nothing shared.
//! The calls about signals stand in `sys/signal.rs`, those that make descriptors in `sys/open.rs`.

pub(crate) mod batch;
pub(crate) mod clock;
pub(crate) mod file;
pub(crate) mod open;
pub(crate) mod piece;
pub(crate) mod pipe;
pub(crate) mod populate;
pub(crate) mod signal;
pub(crate) mod tables;

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void};

use crate::inject::{Call, refuse};
use crate::span::Span;

/// An error code of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    /// The calling thread's last error code.
    pub(crate) fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

/// 0 or more is the answer, -1 an error.
fn checked(answer: i64) -> Result<u64, Errno> {
    u64::try_from(answer).map_err(|_| Errno::last())
}

/// As [`checked`], and repeats a call that a signal interrupted; ends because signals do.
fn restarted(mut call: impl FnMut() -> i64) -> Result<u64, Errno> {
    loop {
        match checked(call()) {
            Err(Errno(libc::EINTR)) => {}
            other => return other,
        }
    }
}

/// Makes the file `len` bytes long.
pub(crate) fn truncate(fd: BorrowedFd<'_>, len: u64) -> Result<(), Errno> {
    refuse(Call::Truncate)?;
    check_file_limit(len)?;
    let len = i64::try_from(len).map_err(|_| Errno(libc::EFBIG))?;
    // SAFETY: changes the length of a file; growing it moves no mapping.
    restarted(|| unsafe { i64::from(libc::ftruncate(fd.as_raw_fd(), len)) }).map(drop)
}

/// Writes at `at`; how many bytes were taken.
pub(crate) fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], at: u64) -> Result<usize, Errno> {
    refuse(Call::PoolWrite)?;
    pwrite(fd, bytes, at)
}

/// Writes the memory of `from` at `at`; how many bytes were taken.
pub(crate) fn write_span_at(fd: BorrowedFd<'_>, from: Span, at: u64) -> Result<usize, Errno> {
    refuse(Call::PoolWrite)?;
    // By number: a sanitizer takes libc's function for a read of the program's own, and knows of no
    // protection. SAFETY: the kernel reads memory of our own arena; an inaccessible page is an
    // error, not a fault.
    restarted(|| unsafe {
        libc::syscall(
            libc::SYS_pwrite64,
            fd.as_raw_fd(),
            from.addr() as *const c_void,
            from.len(),
            at.cast_signed(),
        )
    })
    .map(|n| n as usize)
}

/// Reads at `at`; how many bytes came.
pub(crate) fn read_at(fd: BorrowedFd<'_>, out: &mut [u8], at: u64) -> Result<usize, Errno> {
    refuse(Call::PoolRead)?;
    pread(fd, out, at)
}

/// Reads memory of this process through its file; how many bytes came. What a userfaultfd would
/// have to fill is an error.
pub(crate) fn read_memory(memory: BorrowedFd<'_>, out: &mut [u8], addr: usize) -> Result<usize, Errno> {
    pread(memory, out, addr as u64)
}

/// Whether a file may be so long: beyond the process's limit for files the kernel sends a deadly
/// signal instead of an error.
fn check_file_limit(len: u64) -> Result<(), Errno> {
    let over = open::limit(open::Limit::FileSize).is_some_and(|most| len > most);
    if over { Err(Errno(libc::EFBIG)) } else { Ok(()) }
}

fn pwrite(fd: BorrowedFd<'_>, bytes: &[u8], at: u64) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `bytes.len()` bytes of a live slice.
    restarted(|| unsafe {
        libc::pwrite(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            at.cast_signed(),
        ) as i64
    })
    .map(|n| n as usize)
}

fn pread(fd: BorrowedFd<'_>, out: &mut [u8], at: u64) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `out.len()` bytes into a live, exclusive slice.
    restarted(|| unsafe {
        libc::pread(
            fd.as_raw_fd(),
            out.as_mut_ptr().cast(),
            out.len(),
            at.cast_signed(),
        ) as i64
    })
    .map(|n| n as usize)
}

/// Frees the file's pages in the range; the length stays.
pub(crate) fn punch(fd: BorrowedFd<'_>, at: u64, len: u64) -> Result<(), Errno> {
    refuse(Call::Punch)?;
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: frees file pages; memory that showed them becomes empty, which our windows are made
    // for.
    restarted(|| unsafe {
        i64::from(libc::fallocate(
            fd.as_raw_fd(),
            mode,
            at.cast_signed(),
            len.cast_signed(),
        ))
    })
    .map(drop)
}

/// Bytes of memory that the file holds.
pub(crate) fn held(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(file::stat(fd.as_raw_fd())?.st_blocks.cast_unsigned() * 512)
}

/// Maps `len` bytes somewhere; never over what is there.
fn map(len: usize, prot: c_int, flags: c_int, fd: c_int, at: u64) -> Result<usize, Errno> {
    // SAFETY: without MAP_FIXED the kernel chooses free addresses.
    let addr = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, at.cast_signed()) };
    if addr == libc::MAP_FAILED {
        Err(Errno::last())
    } else {
        Ok(addr as usize)
    }
}

/// Maps over `span`, replacing what is there in one step.
fn map_over(span: Span, prot: c_int, flags: c_int, fd: c_int, at: u64) -> Result<(), Errno> {
    let addr = span.addr() as *mut c_void;
    // SAFETY: the addresses are an arena's of ours, to which no Rust reference points.
    let got = unsafe {
        libc::mmap(
            addr,
            span.len(),
            prot,
            flags | libc::MAP_FIXED,
            fd,
            at.cast_signed(),
        )
    };
    if got == libc::MAP_FAILED {
        Err(Errno::last())
    } else {
        Ok(())
    }
}

const NOTHING: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// Reserves `len` bytes of addresses, inaccessible.
pub(crate) fn map_arena(len: usize) -> Result<usize, Errno> {
    refuse(Call::MapArena)?;
    map(len, libc::PROT_NONE, NOTHING, -1, 0)
}

/// Maps `len` bytes of zeros that are zeros again in a child that `fork(2)` makes.
pub(crate) fn map_wiped(len: usize) -> Result<usize, Errno> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let addr = map(len, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
    // SAFETY: memory that has just been mapped and that nobody else knows.
    let wiped = unsafe { libc::madvise(addr as *mut c_void, len, libc::MADV_WIPEONFORK) };
    if let Err(errno) = checked(i64::from(wiped)) {
        // SAFETY: as above.
        unsafe { unmap(addr, len) };
        return Err(errno);
    }
    Ok(addr)
}

/// Maps a stack of `len` bytes whose lowest page is inaccessible.
pub(crate) fn map_stack(len: usize) -> Result<usize, Errno> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let addr = map(len, prot, NOTHING | libc::MAP_STACK, -1, 0)?;
    // SAFETY: memory that has just been mapped and that nobody else knows. Refused: no guard, no
    // harm otherwise.
    unsafe {
        libc::mprotect(
            addr as *mut c_void,
            memfold_host::addr::PAGE_SIZE,
            libc::PROT_NONE,
        )
    };
    Ok(addr)
}

/// Makes `span` inaccessible and empty; what was mapped there is gone.
pub(crate) fn seal(span: Span) -> Result<(), Errno> {
    refuse(Call::Seal)?;
    map_over(span, libc::PROT_NONE, NOTHING, -1, 0)
}

/// Maps the pool's bytes from `at` on over `span`, copy-on-write, still inaccessible.
pub(crate) fn map_window(span: Span, pool: BorrowedFd<'_>, at: u64) -> Result<(), Errno> {
    refuse(Call::MapWindow)?;
    map_over(
        span,
        libc::PROT_NONE,
        libc::MAP_PRIVATE | libc::MAP_NORESERVE,
        pool.as_raw_fd(),
        at,
    )
}

/// Maps the pool's bytes from `at` on, shared, inaccessible so far, at a multiple of `len`.
pub(crate) fn map_direct(pool: BorrowedFd<'_>, at: u64, len: usize) -> Result<usize, Errno> {
    refuse(Call::MapDirect)?;
    let room = map(2 * len, libc::PROT_NONE, NOTHING, -1, 0)?;
    let addr = room.next_multiple_of(len);
    // SAFETY: of the room just made, which nobody else knows, all but the middle is given back.
    unsafe {
        if addr > room {
            unmap(room, addr - room);
        }
        if room + len > addr {
            unmap(addr + len, room + len - addr);
        }
    }
    // SAFETY: the middle, which nobody else knows, and which is unmapped only if this fails.
    let middle = unsafe { Span::new(addr, len) };
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
    let mapped = map_over(middle, libc::PROT_NONE, flags, pool.as_raw_fd(), at);
    if mapped.is_err() {
        // SAFETY: as above.
        unsafe { unmap(addr, len) };
    }
    mapped.map(|()| addr)
}

/// Moves a mapping to where another of the same length is, which goes; in one step.
///
/// # Safety
/// Nobody else knows the addresses `from`, and what is read at `to` is the same before and after.
pub(crate) unsafe fn replace_mapping(from: usize, to: usize, len: usize) -> Result<(), Errno> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: by the caller's word nobody sees a difference.
    let got = unsafe { libc::mremap(from as *mut c_void, len, len, flags, to as *mut c_void) };
    if got == libc::MAP_FAILED {
        Err(Errno::last())
    } else {
        Ok(())
    }
}

/// Gives addresses back to the kernel.
///
/// # Safety
/// They were mapped by [`map_arena`], [`map_direct`], [`map_stack`] or [`map_wiped`] and nobody
/// uses them any more.
pub(crate) unsafe fn unmap(addr: usize, len: usize) {
    // SAFETY: by the caller's word nobody uses the addresses. A failure leaks addresses, nothing
    // else.
    unsafe { libc::munmap(addr as *mut c_void, len) };
}

/// What a window's pages may be used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Loads and stores, through faults.
    All,
    /// Loads.
    Loads,
    /// Nothing; an access is a segmentation violation.
    Nothing,
}

/// Changes what the pages of `span` may be used for.
pub(crate) fn allow(span: Span, allowed: Allowed) -> Result<(), Errno> {
    refuse(Call::Allow)?;
    let prot = match allowed {
        Allowed::All => libc::PROT_READ | libc::PROT_WRITE,
        Allowed::Loads => libc::PROT_READ,
        Allowed::Nothing => libc::PROT_NONE,
    };
    // SAFETY: the addresses are an arena's of ours, to which no Rust reference points.
    checked(i64::from(unsafe {
        libc::mprotect(span.addr() as *mut c_void, span.len(), prot)
    }))
    .map(drop)
}

fn advise(span: Span, advice: c_int) -> Result<(), Errno> {
    // SAFETY: the addresses are an arena's of ours, to which no Rust reference points.
    restarted(|| i64::from(unsafe { libc::madvise(span.addr() as *mut c_void, span.len(), advice) }))
        .map(drop)
}

/// Leaves `span` out of a child that `fork(2)` makes.
pub(crate) fn dont_fork(span: Span) -> Result<(), Errno> {
    refuse(Call::DontFork)?;
    advise(span, libc::MADV_DONTFORK)
}

/// Keeps the kernel's own merging (KSM) away from `span`.
pub(crate) fn unmergeable(span: Span) -> Result<(), Errno> {
    advise(span, libc::MADV_UNMERGEABLE)
}

/// Whether the process lets the kernel merge its memory (`PR_SET_MEMORY_MERGE`).
pub(crate) fn merges_all() -> bool {
    const PR_GET_MEMORY_MERGE: c_int = 68;
    // SAFETY: asks for a setting; a kernel that does not know the question refuses.
    unsafe { libc::prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1 }
}

/// Leaves `span` out of core dumps.
pub(crate) fn dont_dump(span: Span) -> Result<(), Errno> {
    advise(span, libc::MADV_DONTDUMP)
}

/// Keeps huge pages out of `span`. An error where the kernel knows none.
pub(crate) fn not_huge(span: Span) -> Result<(), Errno> {
    advise(span, libc::MADV_NOHUGEPAGE)
}

/// Takes the lock off `span` that a process which locks all its memory (`mlockall`) has put on it.
pub(crate) fn unlock(span: Span) -> Result<(), Errno> {
    // SAFETY: changes what may become of pages, not what they hold.
    checked(i64::from(unsafe {
        libc::munlock(span.addr() as *const c_void, span.len())
    }))
    .map(drop)
}

/// `MADV_DONTNEED` that does not mind locked memory; younger than the crate's list.
const MADV_DONTNEED_LOCKED: c_int = 24;

/// Empties the pages of `span`, also when the process has locked its memory.
pub(crate) fn dont_need(span: Span) -> Result<(), Errno> {
    refuse(Call::DontNeed)?;
    advise(span, MADV_DONTNEED_LOCKED)
}

/// An `ioctl` whose argument is a structure of `abi.rs`.
///
/// # Safety
/// `T` is the structure that belongs to `request`, and what the kernel does with the addresses in
/// it is sound.
pub(crate) unsafe fn ioctl<T>(fd: BorrowedFd<'_>, request: u64, argument: &mut T) -> Result<u64, Errno> {
    let argument = std::ptr::from_mut(argument);
    // SAFETY: the caller vouches for the pair of request and structure.
    restarted(|| i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, argument) }))
}

/// The calling thread's number in the system.
pub(crate) fn thread_number() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::gettid() }
}

/// Lets other threads run, while waiting for one of them.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}

/// Ends the process with a message. For signal handlers: no lock, no allocation.
pub(crate) fn abort(message: &str) -> ! {
    // SAFETY: the kernel reads a live slice. Whether anybody can be told changes nothing.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
    std::process::abort()
}
