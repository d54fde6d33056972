//! Pins of a space against protections that pass over pages.
//!
//! Who protects scattered pages of a space in one call passes over what lies between them, whoever
//! has it; but a pinned page must stay writable. One word keeps both apart without a lock: how many
//! pins there are or are being made, and how many calls are under way. While there are pins no call
//! begins; who pins waits for those that have. Changed by pins, which hold the space's lock or
//! none, and by reclaim, which holds frames.

use memfold_sync::atomic::{AtomicU64, Ordering};
use memfold_sync::thread;

/// One call in the word; the pins are below.
const CALL: u64 = 1 << 48;

/// The word.
#[derive(Debug)]
pub(crate) struct Fence(AtomicU64);

/// The right to protect pages of the space that one has not locked.
pub(crate) struct PassOver<'f>(&'f Fence);

/// Pins may be made while it lives.
pub(crate) struct Pinning<'f>(&'f Fence);

impl Fence {
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The right to pass over pages, for one call of the machine; `None` while there are pins.
    pub fn pass_over(&self) -> Option<PassOver<'_>> {
        let call = |word: u64| word.is_multiple_of(CALL).then_some(word + CALL);
        // Acquire: stores were let through before the last pin ended, not after the call.
        let begun = self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, call);
        begun.is_ok().then(|| PassOver(self))
    }

    /// Pins are about to be made. Waits for calls that are under way; no new ones begin.
    pub fn begin_pins(&self) -> Pinning<'_> {
        self.add_pin();
        // Acquire: stores are let through after the calls. Ends: a call of the machine ends.
        while self.0.load(Ordering::Acquire) >= CALL {
            thread::yield_now();
        }
        Pinning(self)
    }

    /// One page more is pinned, while pins are being made.
    pub fn add_pin(&self) {
        // Relaxed: whether calls are over is seen by `begin_pins`.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One page less is pinned.
    pub fn end_pin(&self) {
        // Release: pairs with `pass_over`.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for PassOver<'_> {
    fn drop(&mut self) {
        // Release: pairs with `begin_pins`.
        self.0.0.fetch_sub(CALL, Ordering::Release);
    }
}

impl Drop for Pinning<'_> {
    fn drop(&mut self) {
        self.0.end_pin();
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: nobody passes over pages while there are pins or pins are being made.
    #[test]
    fn pins_close_the_way() {
        let fence = Fence::new();
        assert!(fence.pass_over().is_some());
        let pinning = fence.begin_pins();
        assert!(fence.pass_over().is_none());
        fence.add_pin();
        drop(pinning);
        assert!(fence.pass_over().is_none());
        fence.end_pin();
        assert!(fence.pass_over().is_some());
    }
}

#[cfg(all(test, loom))]
mod races {
    use super::*;
    use memfold_sync::model::Preemptions::All;
    use memfold_sync::model::{holds, part, race};
    use memfold_sync::{Arc, Witness};

    /// Goal: a page is not protected while it is pinned, nor let through while somebody passes over
    /// it. Method: plain data for the page's protection between one who passes over it and one who
    /// pins it.
    #[test]
    fn calls_and_pins() {
        holds("space: who pins waits for those who pass over", All, || {
            let scene = Arc::new((Fence::new(), Witness::new()));
            let call = |(fence, page): &(Fence, Witness)| {
                if let Some(_pass) = fence.pass_over() {
                    page.write();
                }
            };
            let pin = part(&scene, |(fence, page): &(Fence, Witness)| {
                let pinning = fence.begin_pins();
                page.write();
                fence.add_pin();
                drop(pinning);
                page.write();
                fence.end_pin();
            });
            race([part(&scene, call), pin]);
        });
    }
}
