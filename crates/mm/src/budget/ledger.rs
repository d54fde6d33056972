//! Where a store asks for its memory: the budget, with the need of who puts a page.
//!
//! A page that reclaim puts may use the reserve; a base beside it is luxury and may not. A ledger
//! also knows how far it has raised the total, so that reclaim gives back before it takes much
//! more. Made for one step of one thread.

use super::{Budget, Class, Need};
use crate::host::Ledger;
use std::cell::Cell;

/// The budget, for a store, with a need.
#[derive(Debug)]
pub(crate) struct StoreLedger<'a> {
    budget: &'a Budget,
    need: Need,
    charged: Cell<u64>,
    refunded: Cell<u64>,
}

impl Budget {
    /// A ledger for this need. What is refunded needs none: any will do.
    pub(crate) fn ledger(&self, need: Need) -> StoreLedger<'_> {
        StoreLedger {
            budget: self,
            need,
            charged: Cell::new(0),
            refunded: Cell::new(0),
        }
    }
}

impl StoreLedger<'_> {
    /// Bytes that were charged here and not given back.
    pub(crate) fn raised(&self) -> u64 {
        self.charged.get().saturating_sub(self.refunded.get())
    }
}

impl Ledger for StoreLedger<'_> {
    fn charge(&self, bytes: u64) -> bool {
        let fits = self.budget.charge(Class::Stored, bytes, self.need);
        if fits {
            self.charged.set(self.charged.get() + bytes);
        }
        fits
    }

    fn refund(&self, bytes: u64) {
        self.budget.refund(Class::Stored, bytes);
        self.refunded.set(self.refunded.get() + bytes);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: what a store asks for is charged as stored, as far as the need may go, and comes back;
    /// the rise is known.
    #[test]
    fn a_store_is_charged_by_need() {
        let b = Budget::new(1 << 20);
        let reserve = 128 << 10;
        let (luxury, reclaim) = (b.ledger(Need::Normal), b.ledger(Need::Reclaim));
        let ledgers: [&dyn Ledger; 2] = [&luxury, &reclaim];
        assert!(ledgers.iter().all(|l| !l.charge((1 << 20) + 1)));
        assert!(luxury.charge((1 << 20) - reserve));
        assert!(!luxury.charge(1), "the reserve is not for luxury");
        assert!(reclaim.charge(reserve));
        assert!(!reclaim.charge(1));
        assert_eq!((b.usage().stored, b.usage().total), (1 << 20, 1 << 20));
        assert_eq!(
            (luxury.raised(), reclaim.raised()),
            ((1 << 20) - reserve, reserve)
        );
        reclaim.refund((1 << 20) - 1);
        assert_eq!((b.usage().stored, b.usage().total), (1, 1));
        assert_eq!(reclaim.raised(), 0, "more came back");
    }
}
