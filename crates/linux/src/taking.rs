//! Private pages are taken out of windows without a protection before.
//!
//! A page that is protected first, then read, then emptied costs two interruptions of every other
//! running thread. Here a pipe gets a second use of the pages (`vmsplice`, no copy), one call
//! empties all of them, and then their bytes are read out of the pipe. A store that goes through
//! before its page is emptied is in the page that the pipe holds; a later one is a fault. That is
//! so as long as the page in the pipe is the page of the window. The kernel gives a store another
//! one only where pages may have more users than the window: after `fork(2)` (of which windows are
//! kept out), where it merges pages, and where it writes them out to swap. So pages are taken
//! neither once the process has opted into merging (`ksm.rs`), nor once there has been a swap
//! device since the host was opened: `/proc/swaps` tells of each change. Only with in-thread
//! delivery: with a handler thread, holding a page that a program has emptied would wait for that
//! thread.
//!
//! A few pipes, each in use by one thread at a time, by an atomic; nobody waits for one. What a
//! pipe holds is charged still, by whoever takes the pages. Part of [`Pages`]; called by `host.rs`,
//! under the locks of the pages' frames, in fault handlers too: no allocation.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{Protection, Taken};

use crate::fault::Delivery;
use crate::keep::{Holder, Kept};
use crate::pages::Pages;
use crate::span::Span;
use crate::sys::{self, Errno, pipe::PAGES};
use crate::uffd::insist;

/// Threads that can take pages at a time.
const PIPES: usize = 4;

/// What taking pages needs.
#[derive(Debug)]
pub(crate) struct Taking {
    // Immutable; each is guarded by the kernel:
    pipes: [Pipe; PIPES],
    swaps: Kept,
    // Atomic; set once:
    ended: AtomicBool,
}

/// A pipe, which is empty while no thread uses it.
#[derive(Debug)]
struct Pipe {
    from: Kept,
    to: Kept,
    // Atomic: whether a thread uses it, or one that did has left something in it.
    used: AtomicBool,
}

/// The use of a pipe by one thread.
struct Use<'p> {
    pipe: &'p Pipe,
    /// Bytes that the pipe holds.
    held: usize,
}

impl Taking {
    /// Opens what it needs; `None` where pages cannot be taken here.
    pub(crate) fn open(delivery: Delivery, holder: &Arc<Holder>) -> Option<Self> {
        if delivery == Delivery::Thread {
            return None;
        }
        let mut swaps = sys::open::swaps().ok()?;
        let mut text = [0; 1024];
        let len = swaps.read(&mut text).ok()?;
        // A line says what the columns are.
        if text[..len].iter().filter(|&&byte| byte == b'\n').count() > 1 {
            return None;
        }
        let pipe = || Pipe::open(holder);
        Some(Self {
            pipes: [pipe()?, pipe()?, pipe()?, pipe()?],
            swaps: Kept::new(swaps.into(), holder).ok()?,
            ended: AtomicBool::new(false),
        })
    }

    /// Its descriptors.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Kept> {
        let ends = self.pipes.iter().flat_map(|pipe| [&pipe.from, &pipe.to]);
        ends.chain([&self.swaps])
    }

    /// A pipe that nobody uses.
    fn any(&self) -> Option<Use<'_>> {
        // Relaxed: a hint.
        if self.ended.load(Ordering::Relaxed) {
            return None;
        }
        // Acquire: pairs with the Release of the last user, who has emptied it.
        let free = |pipe: &&Pipe| !pipe.used.swap(true, Ordering::Acquire);
        let pipe = self.pipes.iter().find(free)?;
        Some(Use { pipe, held: 0 })
    }

    /// Whether pages could be taken so far.
    pub(crate) fn is_at_work(&self) -> bool {
        // Relaxed: a hint.
        !self.ended.load(Ordering::Relaxed)
    }

    /// Whether a page in a pipe is the page of its window; if not, it never will be again.
    pub(crate) fn is_sound(&self) -> bool {
        let changed = self.swaps.checked().and_then(sys::pipe::has_changed);
        let sound = changed == Ok(false) && !sys::merges_all();
        if !sound {
            // Relaxed: a hint; whoever comes too early asks for itself.
            self.ended.store(true, Ordering::Relaxed);
        }
        sound
    }
}

impl Pipe {
    fn open(holder: &Arc<Holder>) -> Option<Self> {
        let (from, to) = sys::open::pipe().ok()?;
        sys::open::widen(&to, PAGES * PAGE_SIZE);
        Some(Self {
            from: Kept::new(from, holder).ok()?,
            to: Kept::new(to, holder).ok()?,
            used: AtomicBool::new(false),
        })
    }
}

impl Use<'_> {
    /// Has the pipe hold pages, from the first on; how many.
    fn hold(&mut self, pages: impl Iterator<Item = Span>) -> usize {
        let held = self.pipe.to.checked().and_then(|to| sys::pipe::hold(to, pages));
        self.held = held.unwrap_or(0);
        self.held / PAGE_SIZE
    }

    /// The bytes of the next page.
    fn next(&mut self, out: &mut PageBytes) -> Result<(), Errno> {
        // A page comes whole, or not at all.
        match self
            .pipe
            .from
            .checked()
            .and_then(|from| sys::pipe::read(from, out))?
        {
            PAGE_SIZE => {
                self.held -= PAGE_SIZE;
                Ok(())
            }
            _ => Err(Errno(libc::EIO)),
        }
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        // What has something left in it is never used again.
        if self.held == 0 {
            // Release: it is empty.
            self.pipe.used.store(false, Ordering::Release);
        }
    }
}

impl Pages {
    /// Takes private pages out of their windows, in their order; how many, from the first on. The
    /// rest of it as [`Host::take_private`](memfold_host::Host::take_private) says.
    pub(crate) fn take(
        &self,
        pages: impl ExactSizeIterator<Item = Span> + Clone,
        bytes: &mut PageBytes,
        look: &mut dyn FnMut(usize, &PageBytes) -> Taken,
    ) -> usize {
        let Some(taking) = &self.taking else { return 0 };
        let Some(mut pipe) = taking.any() else { return 0 };
        let mut taken = 0;
        // Ends: each turn takes a page, or is the last.
        while taken < pages.len() {
            let held = pipe.hold(pages.clone().skip(taken));
            if held == 0 {
                break;
            }
            if !taking.is_sound() {
                // They are read, and stay where they are.
                while pipe.held != 0 && pipe.next(bytes).is_ok() {}
                break;
            }
            self.drop_neighbours(pages.clone().skip(taken).take(held));
            for (n, page) in pages.clone().enumerate().skip(taken).take(held) {
                insist("reading a page that was taken", || pipe.next(bytes));
                match look(n, bytes) {
                    Taken::Gone => (),
                    Taken::Back => insist("giving a page back", || self.give_back(page, bytes)),
                }
            }
            taken += held;
        }
        taken
    }

    fn give_back(&self, page: Span, bytes: &PageBytes) -> Result<(), Errno> {
        let filled = self.fill(page, bytes, Protection::Protected);
        filled.map_err(|_| Errno(libc::ENOMEM))
    }
}
