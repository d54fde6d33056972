//! Many ranges are emptied at once: each call of the kernel interrupts every other running thread.
//! Called by the host when frames are evicted; no lock, no state but whether the kernel takes such
//! calls.

use std::sync::atomic::Ordering;

use crate::pages::Pages;
use crate::span::Span;
use crate::sys::{self, Errno};

impl Pages {
    /// Empties up to [`RANGES`](sys::batch::RANGES) ranges: in one call where the kernel takes it
    /// (since Linux 6.14), or one by one.
    pub(crate) fn drop_some(&self, spans: impl Iterator<Item = Span> + Clone) {
        // Relaxed: a hint.
        if self.batches.load(Ordering::Relaxed) {
            match sys::batch::dont_need(spans.clone()) {
                Ok(()) => return,
                // Interrupted, or one of them is in a state of its own: here each is tried until it
                // is empty.
                Err(Errno(libc::EAGAIN | libc::EINTR | libc::ENOMEM)) => (),
                // Relaxed: a hint.
                Err(_) => self.batches.store(false, Ordering::Relaxed),
            }
        }
        spans.for_each(|span| self.drop_pages(span));
    }

    /// Empties up to [`RANGES`](sys::batch::RANGES) pages, neighbours as one range.
    pub(crate) fn drop_neighbours(&self, pages: impl Iterator<Item = Span> + Clone) {
        self.drop_some(Joined(pages));
    }
}

/// Spans, of which those that follow one another are one.
#[derive(Clone)]
struct Joined<I>(I);

impl<I: Iterator<Item = Span> + Clone> Iterator for Joined<I> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let mut span = self.0.next()?;
        loop {
            let mut ahead = self.0.clone();
            let Some(longer) = ahead.next().and_then(|next| span.joined(next)) else {
                return Some(span);
            };
            (span, self.0) = (longer, ahead);
        }
    }
}
