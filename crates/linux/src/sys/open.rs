//! The system calls that make descriptors, and those on descriptors that are no memory: the pool's
//! memfd, userfaultfds, `/proc` files, the stop bell of the handler thread.
//!
//! As in `sys.rs`: one call each, nothing decided, nothing shared.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long};

use super::{Errno, checked, file, restarted};
use crate::abi;
use crate::inject::{Call, refuse};

/// Wraps a descriptor that the kernel has just made for us.
fn owned(fd: u64) -> OwnedFd {
    let fd = c_int::try_from(fd).expect("a descriptor fits an int");
    // SAFETY: the kernel has just returned this descriptor; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// An empty, sparse file in memory.
pub(crate) fn memfd() -> Result<OwnedFd, Errno> {
    refuse(Call::Memfd)?;
    // SAFETY: the name is a C string; no memory of ours is touched.
    checked(i64::from(unsafe {
        libc::memfd_create(c"memfold".as_ptr(), libc::MFD_CLOEXEC)
    }))
    .map(owned)
}

/// A userfaultfd by the system call; `flags` on top of close-on-exec and non-blocking.
pub(crate) fn userfaultfd(flags: c_int) -> Result<OwnedFd, Errno> {
    refuse(Call::Userfaultfd)?;
    let flags = c_long::from(flags | libc::O_CLOEXEC | libc::O_NONBLOCK);
    // SAFETY: makes a descriptor; no memory of ours is touched.
    checked(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) }).map(owned)
}

/// A userfaultfd by `/dev/userfaultfd`, whose file permissions say who may; `flags` besides the
/// usual ones.
pub(crate) fn userfaultfd_device(flags: c_int) -> Result<OwnedFd, Errno> {
    refuse(Call::Userfaultfd)?;
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/userfaultfd")
        .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::ENODEV)))?;
    let flags = c_long::from(flags | libc::O_CLOEXEC | libc::O_NONBLOCK);
    // SAFETY: this request's argument is a number; no memory of ours is touched.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), abi::USERFAULTFD_IOC_NEW as libc::Ioctl, flags) };
    checked(i64::from(fd)).map(owned)
}

/// The process's own page table, as the kernel shows it.
pub(crate) fn pagemap() -> Result<OwnedFd, Errno> {
    to_read("/proc/self/pagemap")
}

/// The process's own memory, to be read.
pub(crate) fn memory() -> Result<OwnedFd, Errno> {
    to_read("/proc/self/mem")
}

fn to_read(path: &str) -> Result<OwnedFd, Errno> {
    File::open(path)
        .map(OwnedFd::from)
        .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::ENOENT)))
}

/// The devices that the kernel swaps to.
pub(crate) fn swaps() -> Result<File, Errno> {
    to_read("/proc/swaps").map(File::from)
}

/// A pipe, which never makes anybody wait: the end to read from, and the end to write to.
///
/// As a bell: who writes makes the other end readable for good.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    checked(i64::from(unsafe {
        libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK)
    }))?;
    let [from, to] = ends.map(|fd| owned(fd as u64));
    Ok((from, to))
}

/// Makes room for so many bytes in a pipe; where it is refused there is less.
pub(crate) fn widen(pipe: &OwnedFd, bytes: usize) {
    // SAFETY: changes how much a pipe of ours can hold.
    let _ = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as c_int) };
}

/// Rings a bell.
pub(crate) fn ring(bell: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the kernel reads one byte of a live string.
    restarted(|| unsafe { libc::write(bell.as_raw_fd(), c"!".as_ptr().cast(), 1) as i64 }).map(drop)
}

/// What a descriptor's file is: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

/// The identity of the file behind a number.
pub(crate) fn identity(number: RawFd) -> Result<Identity, Errno> {
    let stat = file::stat(number)?;
    Ok(Identity(stat.st_dev, stat.st_ino))
}

/// One more descriptor of the file behind a number, at the lowest free number from `least` on.
pub(crate) fn duplicate(number: RawFd, least: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: makes a descriptor; no memory of ours is touched.
    checked(i64::from(unsafe {
        libc::fcntl(number, libc::F_DUPFD_CLOEXEC, least)
    }))
    .map(owned)
}

/// Closes a number that is ours.
pub(crate) fn close(number: RawFd) {
    // SAFETY: by the caller's word the number is a descriptor of ours that nobody uses any more.
    unsafe { libc::close(number) };
}

/// The number of the process, which is that of its first thread.
pub(crate) fn process() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::getpid() }
}

/// A descriptor of the file that a thread has at this number in its own table.
pub(crate) fn from_thread(thread: i32, number: RawFd) -> Result<OwnedFd, Errno> {
    const PIDFD_THREAD: c_int = libc::O_EXCL;
    // SAFETY: makes a descriptor; no memory of ours is touched.
    let pidfd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, thread, PIDFD_THREAD) }).map(owned)?;
    // SAFETY: as above.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) }).map(owned)
}

/// Gives the calling thread a table of descriptors of its own in which only these are open. False
/// when the kernel refuses: then it goes on with the process's.
pub(crate) fn part_with_table(keep: &[RawFd]) -> bool {
    const CLOSE_RANGE_UNSHARE: c_int = 1 << 1;
    let mut keep: Vec<u32> = keep.iter().map(|&number| number.cast_unsigned()).collect();
    keep.sort_unstable();
    let mut first = 0;
    let mut flags = CLOSE_RANGE_UNSHARE;
    for &number in keep.iter().chain([&u32::MAX]) {
        if first < number {
            let last = if number == u32::MAX { number } else { number - 1 };
            // SAFETY: in a table that is this thread's alone from the first call on.
            let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
            if closed != 0 && flags != 0 {
                return false;
            }
            flags = 0;
        }
        first = number.saturating_add(1);
    }
    true
}

/// Whether [`wait_readable`] is allowed: a filter of system calls may refuse it.
pub(crate) fn may_wait() -> Result<(), Errno> {
    // SAFETY: no descriptor is named, so that no structure is read.
    restarted(|| unsafe { i64::from(libc::poll(std::ptr::null_mut(), 0, 0)) }).map(|_| ())
}

/// Waits until one of two descriptors is readable; says which are.
pub(crate) fn wait_readable(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> Result<(bool, bool), Errno> {
    let entry = |fd: BorrowedFd<'_>| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds = [entry(first), entry(second)];
    // SAFETY: the kernel fills two live structures.
    restarted(|| unsafe { i64::from(libc::poll(fds.as_mut_ptr(), 2, -1)) })?;
    Ok((fds[0].revents != 0, fds[1].revents != 0))
}

/// Reads waiting fault messages; how many came (0: none waits).
pub(crate) fn read_messages(uffd: BorrowedFd<'_>, out: &mut [abi::Message]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes whole messages, plain numbers, into a live, exclusive slice.
    let got = restarted(|| unsafe {
        libc::read(uffd.as_raw_fd(), out.as_mut_ptr().cast(), size_of_val(out)) as i64
    });
    match got {
        Ok(bytes) => Ok(bytes as usize / size_of::<abi::Message>()),
        Err(Errno(libc::EAGAIN)) => Ok(0),
        Err(errno) => Err(errno),
    }
}

/// The kernel's page size in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: asks for a constant.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Bytes of stack that are left below the caller in this thread; `None` when the system does not
/// say.
pub(crate) fn stack_left() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let here = attributes.as_ptr() as usize;
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: fills a structure of ours about this thread, reads it and gives it back.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let read = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if read != 0 {
            return None;
        }
    }
    // On another stack than the thread's own there is nothing to say.
    here.checked_sub(lowest as usize).filter(|&left| left < size)
}

/// A limit of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    AddressSpace,
    Data,
    Memlock,
    FileSize,
    Descriptors,
}

/// The limit that holds now; `None`: there is none, or it cannot be read.
pub(crate) fn limit(limit: Limit) -> Option<u64> {
    let resource = match limit {
        Limit::AddressSpace => libc::RLIMIT_AS,
        Limit::Data => libc::RLIMIT_DATA,
        Limit::Memlock => libc::RLIMIT_MEMLOCK,
        Limit::FileSize => libc::RLIMIT_FSIZE,
        Limit::Descriptors => libc::RLIMIT_NOFILE,
    };
    let mut value = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: fills a structure of ours.
    checked(i64::from(unsafe { libc::getrlimit(resource, &raw mut value) })).ok()?;
    (value.rlim_cur != libc::RLIM_INFINITY).then_some(value.rlim_cur)
}
