//! Whether the page of the fault that a thread is answering was there when it came.
//!
//! The machine says so with the fault: a store to a page that is shown is refused, one to an empty
//! page finds nothing. It saves the host a call that would only find that out. It is a hint of one
//! moment: another thread may have emptied or filled the page since, so whoever takes it still
//! looks at what comes of its step, and it is given once. One word of each thread; no lock. Set by
//! `fault.rs`, taken by `filling.rs`.

use std::cell::Cell;

use crate::span::Span;

thread_local! {
    /// The first byte of that page; 0 when it was not there, or there is no fault.
    static PRESENT: Cell<usize> = const { Cell::new(0) };
}

/// Answers a fault of `page`, which was there or not.
pub(crate) fn answering<R>(page: Span, was_present: bool, answer: impl FnOnce() -> R) -> R {
    PRESENT.set(if was_present { page.addr() } else { 0 });
    let answered = answer();
    PRESENT.set(0);
    answered
}

/// Whether this thread answers a fault of the first page of `span`, which was there; the first time
/// it is asked.
pub(crate) fn take(span: Span) -> bool {
    let ours = PRESENT.get() == span.addr();
    if ours {
        PRESENT.set(0);
    }
    ours
}
