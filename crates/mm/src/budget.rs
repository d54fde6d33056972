//! The budget: how many bytes are held for spaces, and how many may be.
//!
//! Everything is charged before it is held: private pages, pool pages, stored bytes, the manager's
//! own tables, the machine's page tables. `charge` is one compare-exchange on the total, so the
//! limit is never passed, not even for a moment; the classes are for people and may lag behind the
//! total by an instant. The last part of the budget (`reserve`) is for reclaim alone, which needs
//! room in the store before it can free a page (Linux: the minimum watermark), and for what comes
//! back.
//!
//! ```text
//!  0 ................................. high .. low .. | .............. | ........ | limit
//!               reclaim in the background stops ^  ^ starts
//!                                  new content ends here ^              ^          ^
//!                    content that comes back ends here, or on loan    |          |
//!                                               steps that end lower than they began
//! ```

mod ledger;
mod page;
#[cfg(feature = "faults")]
mod refusals;

use memfold_sync::Slots;
use memfold_sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "faults")]
pub use refusals::{Refusals, Refuse};

pub(crate) use ledger::StoreLedger;
pub use page::PageCharge;
pub(crate) use page::Refund;

/// What bytes are held as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Private pages under windows.
    Private,
    /// Pool pages, shared between spaces.
    Pool,
    /// Encoded pages and the store's tables.
    Stored,
    /// Descriptors, tables, spaces, slots.
    Tables,
    /// The machine's page tables under windows, and its record of each window.
    PageTables,
    /// Pages that the machine may copy by itself: the most that they can come to.
    Native,
}

/// Whether the machine's page tables are part of the limit. They are measured in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageTables {
    /// They are, and reclaim frees those that it can.
    #[default]
    Counted,
    /// They come on top of the limit.
    OnTop,
}

/// Who asks, and so how far down the budget may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// New content, a fork: leaves the reserve alone.
    Normal,
    /// Content that is held already comes back from the store: may use a quarter of the reserve, so
    /// that who is swapped out still runs when others have filled the budget with what does not
    /// compress.
    Refault,
    /// The same where others have filled that quarter too: may use one more, but only for so many
    /// pages of each space (`loans.rs`).
    Loan,
    /// Reclaim, and steps that give back at their end as much as they take, or more: may use all of
    /// the reserve. The last half is for their moment alone, so that whatever is held at rest,
    /// there is room to exchange one page for another.
    Reclaim,
}

/// A budget that is not limited.
pub const UNLIMITED: u64 = u64::MAX;

/// The totals. Atomic throughout; no lock.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    reserve: u64,
    total: AtomicU64,
    peak: AtomicU64,
    classes: [AtomicU64; 6],
    page_tables: PageTables,
    #[cfg(feature = "faults")]
    refusals: Refusals,
}

/// One reading of the totals, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Most that may be held; `u64::MAX` when not limited.
    pub limit: u64,
    /// Held now.
    pub total: u64,
    /// The most that was ever held.
    pub peak: u64,
    /// What could be held more now without reclaim, outside of the reserve.
    pub free: u64,
    /// Private pages under windows.
    pub private: u64,
    /// Pool pages.
    pub pool: u64,
    /// Encoded pages and the store's tables.
    pub stored: u64,
    /// The manager's own tables.
    pub tables: u64,
    /// The machine's page tables under windows, and its record of each window: an upper bound. Part
    /// of `total` unless they come on top of the limit.
    pub page_tables: u64,
    /// Set aside for pages that the machine copies by itself where it serves a fork: the most that
    /// they can come to.
    pub native: u64,
}

impl Budget {
    /// A budget of `limit` bytes, [`UNLIMITED`] for none.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self::with(limit, PageTables::Counted)
    }

    /// The same, and what it says of page tables.
    #[must_use]
    pub fn with(limit: u64, page_tables: PageTables) -> Self {
        let zero = || AtomicU64::new(0);
        let reserve = if limit == UNLIMITED {
            0
        } else {
            (limit / 64).clamp(128 << 10, 4 << 20).min(limit / 4)
        };
        Self {
            limit,
            reserve,
            total: zero(),
            peak: zero(),
            classes: [zero(), zero(), zero(), zero(), zero(), zero()],
            page_tables,
            #[cfg(feature = "faults")]
            refusals: Refusals::default(),
        }
    }

    /// Takes `bytes`; false when they would pass what this need may use.
    #[must_use]
    pub fn charge(&self, class: Class, bytes: u64, need: Need) -> bool {
        #[cfg(feature = "faults")]
        if self.refusals.refuses() {
            return false;
        }
        let limit = match need {
            Need::Normal => self.limit - self.reserve,
            Need::Refault => self.limit - self.reserve / 4 * 3,
            Need::Loan => self.limit - self.reserve / 2,
            Need::Reclaim => self.limit,
        };
        #[cfg(feature = "faults")]
        let limit = self.refusals.within(limit);
        if class == Class::PageTables && !self.counts_page_tables() {
            // Relaxed: a number for people.
            self.classes[class as usize].fetch_add(bytes, Ordering::Relaxed);
            return true;
        }
        let fits = |held: u64| held.checked_add(bytes).filter(|&sum| sum <= limit);
        // Relaxed: a number on its own, no other data is published by it.
        match self
            .total
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
        {
            Ok(before) => {
                // Relaxed: as above, for people.
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                // Relaxed: as above, for people.
                self.classes[class as usize].fetch_add(bytes, Ordering::Relaxed);
                true
            }
            Err(_) => false,
        }
    }

    /// Charges that are refused by plan; for tests.
    #[cfg(feature = "faults")]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Gives `bytes` back; they are held no more.
    pub fn refund(&self, class: Class, bytes: u64) {
        // Relaxed: the memory was freed before, by calls that order themselves.
        let before = self.classes[class as usize].fetch_sub(bytes, Ordering::Relaxed);
        assert!(
            before >= bytes,
            "refunded {bytes} bytes of {class:?}, only {before} were held"
        );
        if class == Class::PageTables && !self.counts_page_tables() {
            return;
        }
        // Relaxed: as above.
        let before = self.total.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "refunded {bytes} bytes, only {before} were held");
    }

    /// Bytes are held as something else from now on; the total is the same.
    pub fn reclass(&self, from: Class, to: Class, bytes: u64) {
        // Relaxed: numbers for people.
        let before = self.classes[from as usize].fetch_sub(bytes, Ordering::Relaxed);
        assert!(
            before >= bytes,
            "moved {bytes} bytes out of {from:?}, only {before} were held"
        );
        // Relaxed: numbers for people.
        self.classes[to as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether page tables are part of the limit.
    #[must_use]
    pub fn counts_page_tables(&self) -> bool {
        self.page_tables == PageTables::Counted
    }

    /// Bytes that a normal need could take now; a hint.
    #[must_use]
    pub fn free(&self) -> u64 {
        // Relaxed: a hint.
        (self.limit - self.reserve).saturating_sub(self.total.load(Ordering::Relaxed))
    }

    /// Whether reclaim in the background should begin.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.limit != UNLIMITED && self.free() < self.reserve / 2
    }

    /// Whether so little is left that who reclaims in the background is too slow.
    pub(crate) fn is_scarce(&self) -> bool {
        self.limit != UNLIMITED && self.free() < self.reserve / 8
    }

    /// Whether reclaim in the background has done enough.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.limit == UNLIMITED || self.free() >= self.reserve
    }

    /// Bytes of the last part, which is for reclaim and for what comes back.
    pub(crate) fn reserve(&self) -> u64 {
        self.reserve
    }

    /// The most that may be held.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What is held; the parts may be an instant apart.
    #[must_use]
    pub fn usage(&self) -> Usage {
        // Relaxed: numbers for people.
        let class = |c: Class| self.classes[c as usize].load(Ordering::Relaxed);
        Usage {
            limit: self.limit,
            // Relaxed: numbers for people.
            total: self.total.load(Ordering::Relaxed),
            // Relaxed: numbers for people.
            peak: self.peak.load(Ordering::Relaxed),
            free: self.free(),
            private: class(Class::Private),
            pool: class(Class::Pool),
            stored: class(Class::Stored),
            tables: class(Class::Tables),
            page_tables: class(Class::PageTables),
            native: class(Class::Native),
        }
    }

    /// Takes an item of an array, which is charged for when it has to grow.
    pub(crate) fn take<T>(&self, from: &Slots<T>, need: Need) -> Option<u32> {
        self.take_leaving(from, 0, need)
    }

    /// The same, and leaves so many free ones as long as the array can grow.
    pub(crate) fn take_leaving<T>(&self, from: &Slots<T>, kept: u32, need: Need) -> Option<u32> {
        // As if the array had to grow.
        #[cfg(feature = "faults")]
        if self.refusals.refuses() {
            return None;
        }
        from.alloc_leaving(kept, self.tables(need))
    }

    /// Charges for the manager's tables with this need.
    pub(crate) fn tables(&self, need: Need) -> impl Fn(u64) -> bool + '_ {
        move |bytes| self.charge(Class::Tables, bytes, need)
    }
}

/// Bytes charged for a step that may still fail: refunded when dropped, kept by `keep`; frames take
/// their pages of it.
#[derive(Debug)]
pub struct Charge<'a> {
    budget: &'a Budget,
    class: Class,
    bytes: u64,
}

impl<'a> Charge<'a> {
    /// Charges, or says that there is no room.
    pub fn take(budget: &'a Budget, class: Class, bytes: u64, need: Need) -> Option<Self> {
        // Lazily: a charge that was refused must not exist, for it would refund itself.
        budget
            .charge(class, bytes, need)
            .then(|| Self { budget, class, bytes })
    }

    /// Bytes that are charged already.
    pub(crate) fn of(budget: &'a Budget, class: Class, bytes: u64) -> Self {
        Self { budget, class, bytes }
    }

    /// The step succeeded: the bytes are held.
    pub fn keep(mut self) {
        self.bytes = 0;
    }

    /// Takes the other in, which is for bytes of the same class.
    ///
    /// # Panics
    /// When it is not.
    pub fn join(&mut self, mut other: Charge<'_>) {
        assert_eq!(self.class, other.class, "joined charges of two classes");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// A part of it, to be kept or refunded by itself.
    ///
    /// # Panics
    /// When it is less than that.
    pub fn split(&mut self, bytes: u64) -> Self {
        assert!(bytes <= self.bytes, "split off more than was charged");
        self.bytes -= bytes;
        let (budget, class) = (self.budget, self.class);
        Self { budget, class, bytes }
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if self.bytes != 0 {
            self.budget.refund(self.class, self.bytes);
        }
    }
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
