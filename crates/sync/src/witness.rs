//! A piece of plain data beside a lock or a publishing store, for the checkers.
//!
//! An ordering can be tested only if plain data hangs on it. Under loom a `Witness` is
//! loom's cell: reading or writing it without a happens-before edge ends the model with
//! an error. Elsewhere it has no size and does nothing.

#[cfg(loom)]
#[derive(Debug)]
/// Plain data that a checker watches.
pub struct Witness(crate::imp::UnsafeCell<u32>);

#[cfg(loom)]
#[allow(unsafe_code)]
mod sync_impl {
    // SAFETY: every access goes through loom's cell, which reports a race instead of having one.
    unsafe impl Sync for super::Witness {}
    // SAFETY: as above; the content is a plain number.
    unsafe impl Send for super::Witness {}
}

#[cfg(not(loom))]
#[derive(Debug)]
/// Plain data that a checker watches; nothing outside of one.
pub struct Witness;

impl Default for Witness {
    fn default() -> Self {
        Self::new()
    }
}

impl Witness {
    /// A fresh witness.
    #[must_use]
    pub fn new() -> Self {
        #[cfg(loom)]
        return Self(crate::imp::UnsafeCell::new(0));
        #[cfg(not(loom))]
        Self
    }

    /// A plain read: must not race with a write.
    #[cfg_attr(loom, track_caller)]
    pub fn read(&self) {
        #[cfg(loom)]
        {
            // Before the access: it may be the one that ends the execution.
            crate::trace::event(self, crate::trace::What::Read, None);
            self.0.with(|_| ());
        }
    }

    /// A plain write: must not race with anything.
    #[cfg_attr(loom, track_caller)]
    pub fn write(&self) {
        #[cfg(loom)]
        {
            crate::trace::event(self, crate::trace::What::Write, None);
            self.0.with_mut(|_| ());
        }
    }
}
