//! Whether what was begun on an instance has ended: [`Rest`].
//!
//! A call on a fiber whose future is dropped is unwound in the middle. Then nothing of it is on any
//! stack, but the program's own state is half done, and it is not known which half. The same holds
//! of a reset that fails after some of the memories are what they were. Set and asked
//! by whoever has the instance's store exclusively; no lock.

use std::sync::atomic::{AtomicBool, Ordering};

/// Of one instance.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Something was begun that has not ended.
    begun: AtomicBool,
}

impl Rest {
    /// Whether all has ended.
    pub(crate) fn is_whole(&self) -> bool {
        // Relaxed, here and below: under the exclusive store.
        !self.begun.load(Ordering::Relaxed)
    }

    /// The instance is as it was at a moment when it was at rest.
    pub(crate) fn restored(&self) {
        // Relaxed: as above.
        self.begun.store(false, Ordering::Relaxed);
    }

    /// Something begins; when what is returned is dropped before its [`end`](Begun::end), it never
    /// ends.
    pub(crate) fn begin(&self) -> Begun<'_> {
        Begun {
            rest: self,
            // Relaxed: as above.
            before: self.begun.swap(true, Ordering::Relaxed),
        }
    }
}

/// Something that was begun.
#[must_use]
pub(crate) struct Begun<'a> {
    rest: &'a Rest,
    before: bool,
}

impl Begun<'_> {
    /// It has ended, whatever came of it.
    pub(crate) fn end(self) {
        // Relaxed: as above.
        self.rest.begun.store(self.before, Ordering::Relaxed);
    }
}
