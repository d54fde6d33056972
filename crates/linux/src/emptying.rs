//! Many ranges are emptied at once: each call of the kernel interrupts every other running thread.
//! Called by the host when frames are evicted; no lock, no state but whether the kernel takes such calls.

use std::sync::atomic::Ordering;

use crate::pages::Pages;
use crate::span::Span;
use crate::sys::{self, Errno};

impl Pages {
    /// Empties many ranges: in few calls where the kernel takes them (since Linux 6.14), or one by one.
    pub(crate) fn drop_many(&self, spans: impl Iterator<Item = Span> + Clone) {
        let mut rest = spans;
        // Relaxed: a hint.
        while rest.clone().next().is_some() && self.batches.load(Ordering::Relaxed) {
            match sys::batch::dont_need(rest.clone()) {
                Ok(()) => rest.by_ref().take(sys::batch::RANGES).for_each(drop),
                // Interrupted, or one of them is in a state of its own: here each is tried until it is empty.
                Err(Errno(libc::EAGAIN | libc::EINTR | libc::ENOMEM)) => break,
                // Relaxed: a hint.
                Err(_) => self.batches.store(false, Ordering::Relaxed),
            }
        }
        rest.for_each(|span| self.drop_pages(span));
    }
}
