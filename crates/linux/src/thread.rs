//! The handler thread: faults of windows, while their threads wait in the kernel.
//!
//! One thread for a host with thread delivery. It reads fault messages, asks the sink, and wakes. It takes
//! the manager's locks like any thread and never touches a window; it blocks all signals, so that nobody's
//! handler does so in its name. A failed fault poisons the page, so that the waiting thread gets a signal
//! (`sigbus.rs`); what the page holds for others leaves it first. It stops when the bell rings, and is
//! joined before the host goes (or, when the host goes on that very thread, ends by itself soon after).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use memfold_mm::addr::Access;

use crate::abi;
use crate::fault::{FaultReply, Site, ask};
use crate::sys::{self, Errno};
use crate::table;

/// How many messages are read at once.
const BATCH: usize = 16;

/// The running thread; dropping it stops it and waits for its end.
#[derive(Debug)]
pub(crate) struct FaultThread {
    bell: Arc<OwnedFd>,
    handle: Option<JoinHandle<()>>,
}

impl FaultThread {
    pub(crate) fn start(site: Arc<Site>) -> Result<Self, Errno> {
        let bell = Arc::new(sys::open::bell()?);
        let heard = Arc::clone(&bell);
        let handle = std::thread::Builder::new()
            .name("memfold-fault".into())
            .spawn(move || serve(&site, &heard))
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        Ok(Self {
            bell,
            handle: Some(handle),
        })
    }
}

impl Drop for FaultThread {
    fn drop(&mut self) {
        let rung = sys::open::ring(self.bell.as_fd());
        assert!(rung.is_ok(), "a bell can be rung: {rung:?}");
        let Some(handle) = self.handle.take() else { return };
        // On the thread itself, when the last sink was dropped there: it ends by itself, and uses nothing but
        // what it holds. Anywhere else we wait for it.
        if handle.thread().id() != std::thread::current().id() {
            let ended = handle.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the fault thread ended by a panic"
            );
        }
    }
}

/// Ends when the bell rings.
fn serve(site: &Site, bell: &OwnedFd) {
    sys::signal::block_all();
    let mut messages = [abi::Message::default(); BATCH];
    loop {
        let waited = sys::open::wait_readable(bell.as_fd(), site.pages.uffd().fd());
        let (stop, _) = waited.expect("waiting needs no memory and no right");
        if stop {
            return;
        }
        let read = sys::open::read_messages(site.pages.uffd().fd(), &mut messages);
        let count = read.expect("a userfaultfd with its handshake done can be read");
        for message in &messages[..count] {
            if message.event == abi::EVENT_PAGEFAULT {
                resolve(site, message);
            }
        }
    }
}

fn resolve(site: &Site, message: &abi::Message) {
    let stored = message.flags & (abi::PAGEFAULT_WRITE | abi::PAGEFAULT_WP) != 0;
    let access = if stored { Access::Write } else { Access::Read };
    // Dropped last (see `Site::sink`): it may take the host with it, on this very thread.
    let sink = site.sink();
    // A window that is being closed has no thread inside, so nobody waits for this answer.
    let Some(inside) = table::enter(message.address as usize) else {
        return;
    };
    assert!(std::ptr::eq(inside.site(), site), "a fault of this host");
    let (page, memory) = inside.page(message.address as usize);
    match ask(sink.as_deref(), inside.space(), page, access) {
        FaultReply::Resolved => {}
        FaultReply::Failed if site.pages.poison(memory) => {}
        FaultReply::Failed => {
            let vacated = sink.is_some_and(|sink| sink.vacate(inside.space(), page));
            // Otherwise a thread that touches the page would wait for ever.
            if !(vacated && site.pages.poison(memory)) {
                sys::abort(
                    "memfold: the kernel neither lets a store through to a page nor takes the page away\n",
                );
            }
        }
    }
    // Most steps have woken the waiting thread already; one that found the page there has not.
    site.pages.uffd().wake(memory);
}
