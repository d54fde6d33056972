//! The handler thread: faults of windows, while their threads wait in the kernel.
//!
//! One thread for a host with thread delivery. It reads fault messages, asks the sink, and wakes.
//! It takes the manager's locks like any thread and never touches a window; it blocks all signals,
//! so that nobody's handler does so in its name. A failed fault poisons the page, so that the
//! waiting thread gets a signal (`sigbus.rs`); what the page holds for others leaves it first. It
//! stops when the bell rings, and is joined before the host goes (or, when the host goes on that
//! very thread, ends by itself soon after).
//!
//! It has a table of descriptors of its own and is the host's keeper (`keep.rs`), so it answers
//! faults whatever the program closes. The price: a host that goes on this very thread leaves its
//! numbers open in the process (the pool is cut to nothing, so no memory stays).

use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use memfold_host::addr::Access;

use crate::abi;
use crate::again;
use crate::fault::{Site, Told, ask};
use crate::keep::{Holder, Kept};
use crate::limits::page_refused;
use crate::sys::{self, Errno};
use crate::table;
use memfold_host::{FaultReply, VacateReply};

/// How many messages are read at once.
const BATCH: usize = 16;

/// The running thread; dropping it stops it and waits for its end.
#[derive(Debug)]
pub(crate) struct FaultThread {
    bell: Arc<Bell>,
    handle: Option<JoinHandle<()>>,
}

/// Both ends.
#[derive(Debug)]
struct Bell {
    listen: Kept,
    ring: Kept,
}

impl FaultThread {
    /// Starts it; `numbers` are the host's descriptors.
    pub(crate) fn start(
        site: Arc<Site>,
        holder: &Arc<Holder>,
        mut numbers: Vec<RawFd>,
    ) -> Result<Self, Errno> {
        sys::open::may_wait()?;
        let (listen, ring) = sys::open::pipe()?;
        let (listen, ring) = (Kept::new(listen, holder)?, Kept::new(ring, holder)?);
        numbers.extend([listen.number(), ring.number()]);
        let bell = Arc::new(Bell { listen, ring });
        let heard = Arc::clone(&bell);
        let holder = Arc::clone(holder);
        let (ready, wait) = std::sync::mpsc::channel();
        // It inherits the mask: no signal finds the thread before it blocks them itself.
        let blocked = sys::signal::Blocked::all();
        let handle = std::thread::Builder::new()
            .name("memfold-fault".into())
            .spawn(move || {
                // Refused: it works with the process's table.
                holder.become_holder(&numbers);
                let _ = ready.send(());
                let served = Served;
                serve(&site, &heard);
                std::mem::forget(served);
                holder.end_holding();
            })
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        drop(blocked);
        let _ = wait.recv();
        Ok(Self {
            bell,
            handle: Some(handle),
        })
    }
}

impl Drop for FaultThread {
    fn drop(&mut self) {
        let rung = self.bell.ring.checked().and_then(sys::open::ring);
        if rung == Err(Errno(libc::EBADF)) {
            // The program has closed it, and it cannot be had back: the thread goes on, for nobody.
            return;
        }
        assert!(rung.is_ok(), "a bell can be rung: {rung:?}");
        let Some(handle) = self.handle.take() else { return };
        // On the thread itself, when the last sink was dropped there: it ends by itself, and uses
        // nothing but what it holds. Anywhere else we wait for it.
        if handle.thread().id() != std::thread::current().id() {
            // It ends well, or the process ends (see `Served`).
            let _ = handle.join();
        }
    }
}

/// Ends the process when the thread ends by a panic, which has been printed: threads that wait for
/// an answer would wait for ever.
struct Served;

impl Drop for Served {
    fn drop(&mut self) {
        sys::abort("memfold: the thread that answers page faults has failed\n");
    }
}

/// Ends when the bell rings.
fn serve(site: &Site, bell: &Bell) {
    sys::signal::block_all();
    let mut messages = [abi::Message::default(); BATCH];
    let uffd = site.pages.uffd().kept().unchecked();
    loop {
        let waited = sys::open::wait_readable(bell.listen.unchecked(), uffd);
        let (stop, _) = waited.expect("waiting was allowed when the thread began");
        if stop {
            return;
        }
        let count = match sys::open::read_messages(uffd, &mut messages) {
            Ok(count) => count,
            Err(errno) => {
                // Only where it has no table of its own, and the program has closed the descriptor.
                // Threads wait for us.
                eprintln!("faults cannot be read any more: {}", page_refused("read")(errno));
                std::process::abort();
            }
        };
        for message in &messages[..count] {
            if message.event == abi::EVENT_PAGEFAULT {
                resolve(site, message);
            }
        }
    }
}

fn resolve(site: &Site, message: &abi::Message) {
    let stored = message.flags & (abi::PAGEFAULT_WRITE | abi::PAGEFAULT_WP) != 0;
    let told = Told {
        access: if stored { Access::Write } else { Access::Read },
        present: message.flags & abi::PAGEFAULT_WP != 0,
    };
    // Dropped last (see `Site::sink`): it may take the host with it, on this very thread.
    let sink = site.sink();
    // A window that is being closed has no thread inside, so nobody waits for this answer.
    let Some(inside) = table::enter(message.address as usize) else {
        return;
    };
    assert!(std::ptr::eq(inside.site(), site), "a fault of this host");
    let (page, memory) = inside.page(message.address as usize);
    let mut reply = ask(sink.as_deref(), &inside, message.address as usize, told);
    if reply == FaultReply::Resolved && again::is_stuck(message.address as usize) {
        if let Some(sink) = sink.as_deref() {
            sink.stuck(inside.space(), page);
        }
        reply = FaultReply::Failed;
    }
    match reply {
        FaultReply::Resolved => {}
        FaultReply::Failed if site.pages.poison(memory) => {}
        FaultReply::Failed => {
            let reply = sink.map_or(VacateReply::Kept, |sink| sink.vacate(inside.space(), page));
            let answered = match reply {
                VacateReply::Vacated => site.pages.poison(memory),
                VacateReply::Open => true,
                VacateReply::Kept => false,
            };
            // Otherwise a thread that touches the page would wait for ever.
            if !answered {
                sys::abort(
                    "memfold: the kernel neither lets a store through to a page nor takes the page away\n",
                );
            }
        }
    }
    // Most steps have woken the waiting thread already; one that found the page there has not.
    site.pages.uffd().wake(memory);
}

/// Starts a thread that takes no signals meant for the process, from its first instruction on: only
/// those that its own instructions cause. Its handle is to be kept, or not.
///
/// # Errors
/// When the system has no room for one.
pub fn spawn_quiet(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let blocked = sys::signal::Blocked::all();
    let spawned = std::thread::Builder::new().name(name.into()).spawn(move || {
        sys::signal::block_all();
        body();
    });
    drop(blocked);
    spawned
}
