//! Descriptors that the program cannot take away.
//!
//! A program that closes descriptors which it did not open (a daemon's habit: `close_range(3, ~0)`)
//! would close ours; with the last reference to a userfaultfd goes its hold on every window, and
//! pages that were evicted would read as zeros. So ours have high numbers, out of the way; and a
//! thread with a descriptor table of its own, the *keeper*, holds a second reference to each. When
//! a call on a descriptor fails as if it were not ours, its identity (device and inode; each memfd,
//! userfaultfd and pipe has its own) is looked at; if the number is free, the file comes back from
//! the keeper to the same number (`pidfd_getfd`), and the call is made again. If the number is
//! somebody else's by now, or the kernel does not let us, the call fails with `EBADF`, which
//! becomes `HostError::Closed`. What would harm the other file (writing, truncating) is not tried
//! before the identity was checked, which costs one `fstat` (0.15 us) a call.
//!
//! Everything here may run inside a fault handler: no lock, no allocation.

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;

use crate::sys::open::{self, Identity};
use crate::sys::{self, Errno};

/// How many numbers below the limit ours begin.
const ROOM: u64 = 256;
/// The limit where none, or a higher one, is set: a table of descriptors is as long as the highest
/// number says, and each `fork(2)` copies it.
const MOST: u64 = 1024;
/// Bytes of stack of a thread that only sleeps; the system may give more.
const STACK: usize = 16 << 10;

/// Whose table holds the second references.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    // Atomic: a thread's number; 0 when there is none. Written by that thread, once.
    thread: AtomicI32,
    ended: AtomicBool,
}

/// A descriptor of ours, at one number for as long as it lives.
#[derive(Debug)]
pub(crate) struct Kept {
    // Immutable:
    number: RawFd,
    identity: Identity,
    holder: Arc<Holder>,
}

/// The thread that holds second references; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Keeper {
    holder: Arc<Holder>,
    handle: Option<JoinHandle<()>>,
}

/// Moves a descriptor up, if there is room.
fn high(fd: OwnedFd) -> OwnedFd {
    let limit = open::limit(open::Limit::Descriptors).unwrap_or(MOST).min(MOST);
    let least = limit.saturating_sub(ROOM).max(limit / 2) as RawFd;
    // Refused: there is no room up there, and it stays where it is.
    open::duplicate(fd.as_raw_fd(), least).unwrap_or(fd)
}

impl Kept {
    /// Takes a descriptor over; the holder will have a second reference to it.
    pub(crate) fn new(fd: OwnedFd, holder: &Arc<Holder>) -> Result<Self, Errno> {
        let fd = high(fd);
        let identity = open::identity(fd.as_raw_fd())?;
        Ok(Self {
            number: fd.into_raw_fd(),
            identity,
            holder: Arc::clone(holder),
        })
    }

    /// The number.
    pub(crate) fn number(&self) -> RawFd {
        self.number
    }

    /// For a call that harms nobody if the number is somebody else's by now.
    pub(crate) fn unchecked(&self) -> BorrowedFd<'_> {
        // SAFETY: at worst the number of no file, or of another one, which the caller's calls turn
        // away.
        unsafe { BorrowedFd::borrow_raw(self.number) }
    }

    /// Makes such a call; if it fails because the number is not ours any more, gets ours back and
    /// makes it again.
    pub(crate) fn with<R>(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        match call(self.unchecked()) {
            // What is said of pages, memory and signals is no matter of the descriptor.
            Err(Errno(code)) if !harmless(code) && !self.is_here() => {
                self.restore()?;
                call(self.unchecked())
            }
            answer => answer,
        }
    }

    /// The descriptor, which is ours at this moment.
    pub(crate) fn checked(&self) -> Result<BorrowedFd<'_>, Errno> {
        if !self.is_here() {
            self.restore()?;
        }
        Ok(self.unchecked())
    }

    /// The file, for a moment, in a thread whose own table of descriptors is older than this one:
    /// from the table of the process. Some system calls.
    pub(crate) fn borrowed(&self) -> Result<OwnedFd, Errno> {
        let closed = Errno(libc::EBADF);
        let fd = open::from_thread(open::process(), self.number).map_err(|_| closed)?;
        match open::identity(fd.as_raw_fd()) {
            Ok(identity) if identity == self.identity => Ok(fd),
            _ => Err(closed),
        }
    }

    fn is_here(&self) -> bool {
        open::identity(self.number) == Ok(self.identity)
    }

    /// Gets the file back from the holder to its number, if that is free.
    fn restore(&self) -> Result<(), Errno> {
        // Acquire: pairs with the thread's Release; its table is its own, and has our files.
        let holder = self.holder.thread.load(Ordering::Acquire);
        let closed = Errno(libc::EBADF);
        if holder == 0 {
            return Err(closed);
        }
        let second = open::from_thread(holder, self.number).map_err(|_| closed)?;
        // The lowest free number from ours on; another one when ours is taken.
        let back = open::duplicate(second.as_raw_fd(), self.number).map_err(|_| closed)?;
        if back.as_raw_fd() == self.number {
            let _ = back.into_raw_fd();
        }
        // Ours, or another thread's of ours that was faster.
        if self.is_here() { Ok(()) } else { Err(closed) }
    }

    /// Closes the number if it is ours; for a process that only has copies. Any number of times.
    pub(crate) fn renounce(&self) {
        if self.is_here() {
            open::close(self.number);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The program may have closed the number, and use it.
        self.renounce();
    }
}

/// Error codes that say nothing about the descriptor.
fn harmless(code: i32) -> bool {
    matches!(
        code,
        libc::EEXIST | libc::EAGAIN | libc::ENOMEM | libc::ENOSPC | libc::EFAULT | libc::ENOENT
    )
}

impl Holder {
    /// The calling thread gets a table of descriptors of its own, with nothing but these, and is
    /// the holder from now on. It must open and close nothing that others shall see. False when the
    /// kernel refuses: then nothing has changed.
    pub(crate) fn become_holder(&self, numbers: &[RawFd]) -> bool {
        let done = open::part_with_table(numbers);
        if done {
            // Release: the table stands.
            self.thread.store(sys::thread_number(), Ordering::Release);
        }
        done
    }

    /// The holder is about to end.
    pub(crate) fn end_holding(&self) {
        // Relaxed: who comes too late is refused by the kernel.
        self.thread.store(0, Ordering::Relaxed);
    }
}

impl Keeper {
    /// Starts the thread, and waits until it holds what it shall. Without one (the system refuses)
    /// nothing is held.
    pub(crate) fn start(holder: &Arc<Holder>, numbers: Vec<RawFd>) -> Self {
        let (ready, wait) = std::sync::mpsc::channel();
        let theirs = Arc::clone(holder);
        let body = move || {
            let held = theirs.become_holder(&numbers);
            let _ = ready.send(());
            // Acquire: pairs with the Release of `drop`. `park` may return early.
            while held && !theirs.ended.load(Ordering::Acquire) {
                std::thread::park();
            }
            theirs.end_holding();
        };
        // It inherits the mask: a signal's handler never runs on its stack.
        let blocked = sys::signal::Blocked::all();
        let spawned = std::thread::Builder::new()
            .name("memfold-keeper".into())
            .stack_size(STACK)
            .spawn(body);
        drop(blocked);
        let _ = wait.recv();
        Self {
            holder: Arc::clone(holder),
            handle: spawned.ok(),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Release: what was done with the descriptors is done.
        self.holder.ended.store(true, Ordering::Release);
        if let Some(handle) = self.handle.take() {
            handle.thread().unpark();
            let ended = handle.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the keeper ended by a panic"
            );
        }
    }
}
