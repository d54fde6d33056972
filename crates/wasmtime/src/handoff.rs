//! Hands spaces to the memories that Wasmtime is about to make.
//!
//! `MemoryCreator::new_memory` is told neither store nor instance. So the spaces wait in a
//! thread-local place that [`offering`] fills whenever it polls the future that makes the instance,
//! and that the creator empties; afterwards there is what was there before. (A future may wait in
//! between, and go on in another thread.) An instance's memories are made in the order of their
//! indices, so the spaces wait in that order. Each says what it is for, and is taken by a linear
//! memory of that type only: the heap for garbage-collected objects is made by the same creator, on
//! the same thread, *before* the memories.
//!
//! In the same way [`ask`] learns what the creator is asked for, without a
//! memory being made.
//!
//! Thread-local: no lock. A `ResourceLimiter` runs between offer and memory. If it makes an
//! instance itself, with a memory of the very same type, that one may take the space; whoever
//! offered it compares addresses afterwards and finds out.

use crate::code::GuestCode;
use crate::ground::Ground;
use memfold_prepare::MemoryPlan;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use wasmtime::MemoryType;

/// Spaces for the memories of one instance.
pub(crate) struct Offer {
    /// Those that were not taken yet, in the order in which they are made, each with the only
    /// memory that may take it.
    pub(crate) memories: VecDeque<(Ground, Wanted)>,
    /// Kept as long as any of the memories: the code that runs on it.
    pub(crate) code: Arc<GuestCode>,
    /// Whether a memory was made meanwhile that none of them was for.
    pub(crate) passed: bool,
}

impl Offer {
    pub(crate) fn new(memories: VecDeque<(Ground, Wanted)>, code: &Arc<GuestCode>) -> Self {
        Offer {
            memories,
            code: Arc::clone(code),
            passed: false,
        }
    }
}

/// A linear memory that belongs to one thread at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) minimum_pages: u64,
    pub(crate) maximum_pages: Option<u64>,
    pub(crate) page_bytes: u64,
    pub(crate) addresses: memfold_prepare::Addresses,
}

impl Wanted {
    pub(crate) fn new(plan: &MemoryPlan) -> Self {
        Wanted {
            minimum_pages: plan.minimum_pages,
            maximum_pages: plan.maximum_pages,
            page_bytes: plan.page_bytes,
            addresses: plan.addresses,
        }
    }

    fn is(self, ty: &MemoryType) -> bool {
        ty.minimum() == self.minimum_pages
            && ty.maximum() == self.maximum_pages
            && ty.page_size() == self.page_bytes
            && ty.is_64() == (self.addresses == memfold_prepare::Addresses::Bits64)
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

/// Polls `making`; the memories of the wanted types that it makes get the spaces, in their order.
/// Returns whether all were taken, and no memory was made besides.
pub(crate) async fn offering<F: Future>(offer: Offer, making: F) -> (F::Output, Taken) {
    let mut making = pin!(making);
    let mut offer = Some(offer);
    let made = poll_fn(|context| {
        let offered = Offered::begin(offer.take());
        let polled = making.as_mut().poll(context);
        offer = offered.end();
        polled
    })
    .await;
    let all = offer.is_some_and(|offer| offer.memories.is_empty() && !offer.passed);
    (made, if all { Taken::All } else { Taken::Otherwise })
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Each space by one memory, and no other memory was made.
    All,
    Otherwise,
}

/// Takes what is offered next on this thread, once, if it is for a linear memory of this type.
pub(crate) fn take(ty: &MemoryType) -> Option<(Ground, Arc<GuestCode>)> {
    NEXT.with(|next| {
        let mut next = next.borrow_mut();
        let offer = next.as_mut()?;
        let wanted = offer.memories.front().is_some_and(|(_, wanted)| wanted.is(ty));
        offer.passed |= !wanted;
        let (ground, _) = wanted.then(|| offer.memories.pop_front())??;
        Some((ground, Arc::clone(&offer.code)))
    })
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

/// While it lives, spaces are on offer on this thread, or were taken.
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
