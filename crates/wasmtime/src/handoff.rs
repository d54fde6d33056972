//! Hands a space to the memory that Wasmtime is about to make.
//!
//! `MemoryCreator::new_memory` is told neither store nor instance. But
//! instantiation is synchronous, so the space waits in a thread-local place
//! that [`offer`] fills just before and the creator empties; its guard then
//! says whether that happened, and puts back what was there before.
//!
//! Thread-local: no lock. A `ResourceLimiter` runs between the two. If it
//! makes an instance itself, that one may take the space; whoever offered it
//! compares addresses afterwards and finds out.

use crate::code::GuestCode;
use memfold::Space;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

/// A space for one memory.
pub(crate) struct Offer {
    pub(crate) space: Arc<Space>,
    /// Kept as long as the memory: the code that runs on it.
    pub(crate) code: Option<Arc<GuestCode>>,
}

thread_local! {
    static NEXT: RefCell<Option<Offer>> = const { RefCell::new(None) };
}

/// The next memory made on this thread, while the guard lives, gets the space.
#[must_use]
pub(crate) fn offer(offer: Offer) -> Offered {
    let before = NEXT.with(|next| next.borrow_mut().replace(offer));
    Offered {
        before,
        not_send: PhantomData,
    }
}

/// Takes what is offered on this thread, once.
pub(crate) fn take() -> Option<Offer> {
    NEXT.with(|next| next.borrow_mut().take())
}

/// While it lives, a space is on offer, or was taken.
pub(crate) struct Offered {
    before: Option<Offer>,
    /// It belongs to the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl Offered {
    /// Whether a memory took the space.
    pub(crate) fn taken(&self) -> bool {
        NEXT.with(|next| next.borrow().is_none())
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let left = NEXT.with(|next| std::mem::replace(&mut *next.borrow_mut(), self.before.take()));
        // Outside the borrow: dropping a space runs much code.
        drop(left);
    }
}
