//! The counts of a frame: references, mappings and pins, in one atomic word, so that
//! every decision sees all three as they were at one moment.
//!
//! A reference keeps the descriptor from being reused; each mapping (an entry of a leaf table),
//! each pin and whoever isolated the frame from its list holds one. Mappings and pins change under
//! the frame lock; references are also taken without it, by `try_get`, which refuses a frame that
//! is dying (0) or frozen. `freeze` is the only proof that nobody else holds the frame: a
//! compare-exchange of the whole expected word.
//!
//! ```text
//!  63    48 47      24 23        0
//! | pins   | mappings | references |    FROZEN = all ones: nobody may take a reference
//! ```

use memfold_sync::Witness;
use memfold_sync::atomic::{AtomicU64, Ordering};

const REF: u64 = 1;
const MAP: u64 = 1 << 24;
const PIN: u64 = 1 << 48;
const FIELD: u64 = (1 << 24) - 1;
const FROZEN: u64 = u64::MAX;
/// Far below what would carry into the next field.
const MOST: u64 = 1 << 23;
/// The most pins of one frame.
pub(crate) const MOST_PINS: u32 = 1 << 14;

/// One reading of the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// References of all kinds.
    pub refs: u32,
    /// Leaf-table entries that name the frame.
    pub maps: u32,
    /// Pins: the frame may not be moved, shared, merged or evicted.
    pub pins: u32,
}

/// What became of dropping a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Others remain.
    Held,
    /// It was the last one: the caller frees the frame.
    Last,
}

/// The word itself.
#[derive(Debug)]
pub struct Count {
    word: AtomicU64,
    // The frame's content and descriptor: read under a reference, written by who frees or froze it.
    content: Witness,
}

impl Count {
    /// The counts of a free frame: nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            content: Witness::new(),
        }
    }

    /// All three counts, at one moment; stale at once unless the frame lock is held.
    ///
    /// # Panics
    /// When the frame is frozen: only the freezer's own thread may ask then, and it knows.
    #[must_use]
    pub fn load(&self) -> Counts {
        // Acquire: what was done to the frame under a dropped reference is seen.
        split(self.word.load(Ordering::Acquire))
    }

    /// A reference to a frame that was found without holding one; false when it is dying or frozen.
    #[must_use]
    pub fn try_get(&self) -> bool {
        // Relaxed: only a guess for the exchange below.
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if seen == FROZEN || seen & FIELD == 0 {
                return false;
            }
            assert!(seen & FIELD < MOST, "too many references to one frame");
            // Acquire: pairs with the last `put` or `thaw`, sees the frame as it left it.
            match self
                .word
                .compare_exchange(seen, seen + REF, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => {
                    self.content.read();
                    return true;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// The first reference and mapping of a fresh frame, which nobody else knows yet.
    pub fn begin(&self) {
        // Relaxed: the frame is published later, by its mapping word and entry.
        assert_eq!(
            self.word.load(Ordering::Relaxed),
            0,
            "a frame in use was handed out"
        );
        // Release: whoever finds the frame by its number sees it set up.
        self.word.store(REF + MAP, Ordering::Release);
    }

    /// One more entry names the frame. The caller holds the frame lock and an existing mapping or
    /// reference.
    pub fn map(&self) {
        // Relaxed: the frame lock orders it; reference and mapping rise together.
        let before = self.word.fetch_add(REF + MAP, Ordering::Relaxed);
        assert!(
            before != FROZEN && before & FIELD != 0 && before & FIELD < MOST,
            "mapped a dying frame"
        );
    }

    /// One entry fewer names the frame. The caller holds the frame lock.
    pub fn unmap(&self) -> Put {
        self.content.read();
        // AcqRel: hands what this mapper did to the last one, and the last one sees it.
        let before = self.word.fetch_sub(REF + MAP, Ordering::AcqRel);
        assert!(
            before != FROZEN && before >> 24 & FIELD != 0,
            "unmapped a frame that is not mapped"
        );
        self.ended(before)
    }

    /// Drops a reference from `try_get`.
    pub fn put(&self) -> Put {
        self.content.read();
        // AcqRel: hands what this holder did to the last one, and the last one sees it.
        let before = self.word.fetch_sub(REF, Ordering::AcqRel);
        assert!(
            before != FROZEN && before & FIELD != 0,
            "dropped a reference that nobody held"
        );
        self.ended(before)
    }

    fn ended(&self, before: u64) -> Put {
        if before & FIELD == 1 {
            self.content.write();
            Put::Last
        } else {
            Put::Held
        }
    }

    /// Pins a mapped frame; false when it has as many pins as can be counted. The caller holds the
    /// frame lock.
    #[must_use]
    pub fn pin(&self) -> bool {
        if self.load().pins >= MOST_PINS {
            return false;
        }
        // Relaxed: the frame lock orders it.
        let before = self.word.fetch_add(PIN + REF, Ordering::Relaxed);
        assert!(before != FROZEN, "pinned a frozen frame");
        true
    }

    /// Takes a pin back. The caller holds the frame lock.
    pub fn unpin(&self) -> Put {
        // AcqRel: what was done under the pin is handed on.
        let before = self.word.fetch_sub(PIN + REF, Ordering::AcqRel);
        assert!(
            before != FROZEN && before >> 48 != 0,
            "unpinned a frame that is not pinned"
        );
        self.ended(before)
    }

    /// Proves that exactly `expected` hold the frame and keeps everybody else out until `thaw`.
    #[must_use]
    pub fn freeze(&self, expected: Counts) -> bool {
        let word = join(expected);
        // Acquire: all that earlier holders did is seen. The exchange is the proof.
        let frozen = self
            .word
            .compare_exchange(word, FROZEN, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
        if frozen {
            self.content.write();
        }
        frozen
    }

    /// Ends a freeze with these counts.
    pub fn thaw(&self, counts: Counts) {
        self.content.write();
        // Relaxed: only the freezer may look now.
        assert_eq!(
            self.word.load(Ordering::Relaxed),
            FROZEN,
            "thawed a frame that is not frozen"
        );
        // Release: what was done while frozen is seen by the next holder.
        self.word.store(join(counts), Ordering::Release);
    }
}

impl Default for Count {
    fn default() -> Self {
        Self::new()
    }
}

fn split(word: u64) -> Counts {
    assert_ne!(word, FROZEN, "looked at the counts of a frozen frame");
    Counts {
        refs: (word & FIELD) as u32,
        maps: (word >> 24 & FIELD) as u32,
        pins: (word >> 48) as u32,
    }
}

fn join(counts: Counts) -> u64 {
    u64::from(counts.refs) | u64::from(counts.maps) << 24 | u64::from(counts.pins) << 48
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: the life of a frame, from first mapping to last reference.
    #[test]
    fn life() {
        let c = Count::new();
        assert!(!c.try_get(), "a free frame gives no reference");
        c.begin();
        c.map();
        assert!(c.try_get());
        assert_eq!(
            c.load(),
            Counts {
                refs: 3,
                maps: 2,
                pins: 0
            }
        );
        assert_eq!(c.unmap(), Put::Held);
        assert_eq!(c.unmap(), Put::Held);
        assert_eq!(c.put(), Put::Last);
        assert!(!c.try_get());
    }

    /// Goal: a freeze succeeds only on the exact counts, and shuts out new references.
    #[test]
    fn freeze_is_exact() {
        let c = Count::new();
        c.begin();
        let one = Counts {
            refs: 1,
            maps: 1,
            pins: 0,
        };
        assert!(c.try_get());
        assert!(!c.freeze(one), "a reference more than expected");
        assert_eq!(c.put(), Put::Held);
        assert!(c.freeze(one));
        assert!(!c.try_get());
        c.thaw(one);
        assert!(c.try_get());
    }

    /// Goal: pins are part of what a freeze proves, and come back with the thaw.
    #[test]
    fn pins_are_counted() {
        let c = Count::new();
        c.begin();
        assert!(c.pin() && c.pin());
        let pinned = Counts {
            refs: 3,
            maps: 1,
            pins: 2,
        };
        assert_eq!(c.load(), pinned);
        assert!(!c.freeze(Counts { pins: 1, ..pinned }) && !c.freeze(Counts { pins: 0, ..pinned }));
        assert!(c.freeze(pinned));
        c.thaw(pinned);
        assert_eq!(c.load(), pinned);
        assert_eq!(c.unpin(), Put::Held);
        assert_eq!(
            c.load(),
            Counts {
                refs: 2,
                maps: 1,
                pins: 1
            }
        );
    }
}
