//! Hands a space to the memory that Wasmtime is about to make.
//!
//! `MemoryCreator::new_memory` is told neither store nor instance. So the
//! space waits in a thread-local place that [`offering`] fills whenever it
//! polls the future that makes the instance, and that the creator empties;
//! afterwards there is what was there before. (A future may wait in between,
//! and go on in another thread.) An offer says what it is for, and
//! is taken by a linear memory of that type only: the heap for
//! garbage-collected objects is made by the same creator, on the same thread, *before* the memory.
//!
//! In the same way [`ask`] learns what the creator is asked for, without a
//! memory being made.
//!
//! Thread-local: no lock. A `ResourceLimiter` runs between offer and memory. If it makes an
//! instance itself, with a memory of the very same type, that one may take the space; whoever
//! offered it compares addresses afterwards and finds out.

use crate::code::GuestCode;
use crate::ground::Ground;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use wasmtime::MemoryType;

/// A space for one memory.
pub(crate) struct Offer {
    pub(crate) ground: Ground,
    /// The only memory that may take it.
    pub(crate) wanted: Wanted,
    /// Kept as long as the memory: the code that runs on it.
    pub(crate) code: Arc<GuestCode>,
}

/// A linear memory with 32-bit addresses and pages of 64 KiB that belongs to one thread at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) minimum_pages: u64,
    pub(crate) maximum_pages: Option<u64>,
}

impl Wanted {
    fn is(self, ty: &MemoryType) -> bool {
        ty.minimum() == self.minimum_pages
            && ty.maximum() == self.maximum_pages
            && ty.page_size() == 1 << 16
            && !ty.is_64()
            && !ty.is_shared()
    }
}

/// What Wasmtime asks of a creator besides the type, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) reservation: u64,
    pub(crate) guard: u64,
}

#[derive(Clone, Copy)]
enum Question {
    None,
    Open,
    Answered(Addresses),
}

thread_local! {
    static NEXT: RefCell<Option<Offer>> = const { RefCell::new(None) };
    static QUESTION: Cell<Question> = const { Cell::new(Question::None) };
}

/// Polls `making`; the next memory of the wanted type that it makes gets the space.
pub(crate) async fn offering<F: Future>(offer: Offer, making: F) -> F::Output {
    let mut making = pin!(making);
    let mut offer = Some(offer);
    poll_fn(|context| {
        let offered = Offered::begin(offer.take());
        let polled = making.as_mut().poll(context);
        offer = offered.end();
        polled
    })
    .await
}

/// Takes what is offered on this thread, once, if it is for a linear memory of this type.
pub(crate) fn take(ty: &MemoryType) -> Option<Offer> {
    NEXT.with(|next| next.borrow_mut().take_if(|offer| offer.wanted.is(ty)))
}

/// What the creator is asked for when `make` makes a memory on this thread. That memory is refused.
/// `None`: the creator was not asked.
pub(crate) fn ask(make: impl FnOnce()) -> Option<Addresses> {
    let before = QUESTION.replace(Question::Open);
    make();
    match QUESTION.replace(before) {
        Question::Answered(addresses) => Some(addresses),
        Question::None | Question::Open => None,
    }
}

/// Whether somebody on this thread only asks; then this is the answer.
pub(crate) fn answer(addresses: Addresses) -> bool {
    let asked = matches!(QUESTION.get(), Question::Open);
    if asked {
        QUESTION.set(Question::Answered(addresses));
    }
    asked
}

/// While it lives, a space is on offer on this thread, or was taken.
pub(crate) struct Offered {
    before: Option<Offer>,
}

impl Offered {
    pub(crate) fn begin(offer: Option<Offer>) -> Self {
        Offered {
            before: NEXT.with(|next| next.replace(offer)),
        }
    }

    /// What was not taken.
    fn end(self) -> Option<Offer> {
        NEXT.with(|next| next.take())
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let left = NEXT.with(|next| next.replace(self.before.take()));
        // Outside the borrow: dropping a space runs much code.
        drop(left);
    }
}
