//! What is charged for pages, as the frames that hold them remember it.
//!
//! A page is charged before it is held, by a step ([`Charge`]). When the step is done, the frame
//! takes its part of the charge, and gives it back when its bytes go: who refunds need not know as
//! what the page was charged, nor, one day, to whom. A frame's charge is under the frame's lock;
//! what is gathered for one refund belongs to one thread.

use super::{Budget, Charge, Class};
use crate::addr::PAGE_SIZE;

const PAGE: u64 = PAGE_SIZE as u64;

/// What one page is charged as. Whoever takes it from a frame refunds it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a page that is held no more is refunded"]
pub struct PageCharge {
    class: Class,
}

impl PageCharge {
    /// As what the page is held.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }
}

/// Charges of pages that went, to be refunded together.
#[derive(Debug, Default)]
pub(crate) struct Refund {
    private: u64,
    pool: u64,
}

impl Refund {
    /// One page more went. A frame with bytes has a charge.
    ///
    /// # Panics
    /// When the frame had none.
    pub fn add(&mut self, charge: Option<PageCharge>) {
        match charge.expect("a frame with bytes is charged for").class {
            Class::Private => self.private += 1,
            Class::Pool => self.pool += 1,
            other => panic!("a page was charged as {other:?}"),
        }
    }

    /// Pages that were gathered since the last refund.
    pub fn pages(&self) -> u64 {
        self.private + self.pool
    }

    /// Gives them back: one change of the totals for each class.
    pub fn pay(&mut self, budget: &Budget) {
        let Self { private, pool } = std::mem::take(self);
        for (class, pages) in [(Class::Private, private), (Class::Pool, pool)] {
            if pages != 0 {
                budget.refund(class, pages * PAGE);
            }
        }
    }
}

impl Charge<'_> {
    /// A frame takes the charge for one page.
    pub(crate) fn page(&mut self) -> PageCharge {
        let class = self.class;
        self.split(PAGE).keep();
        PageCharge { class }
    }
}

impl Budget {
    /// A frame's page went, which was charged so.
    pub(crate) fn refund_page(&self, charge: Option<PageCharge>) {
        let charge = charge.expect("a frame with bytes is charged for");
        self.refund(charge.class, PAGE);
    }

    /// A frame's page is held as something else from now on; the total is the same.
    pub(crate) fn reclass_page(&self, charge: &mut Option<PageCharge>, to: Class) {
        let before = charge.replace(PageCharge { class: to });
        let before = before.expect("a frame with bytes is charged for");
        self.reclass(before.class, to, PAGE);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::budget::Need;

    /// Goal: a page is refunded as what it was charged as, also when that changed meanwhile, and
    /// pages of both classes together.
    #[test]
    fn pages_come_back_as_what_they_were() {
        let b = Budget::new(1 << 20);
        let mut private = Charge::take(&b, Class::Private, 3 * PAGE, Need::Normal).unwrap();
        let mut pool = Charge::take(&b, Class::Pool, PAGE, Need::Normal).unwrap();
        let mut frames = [Some(private.page()), Some(private.page()), Some(pool.page())];
        drop((private, pool));
        assert_eq!((b.usage().private, b.usage().pool), (2 * PAGE, PAGE));
        b.reclass_page(&mut frames[0], Class::Pool);
        assert_eq!(frames[0].as_ref().unwrap().class(), Class::Pool);
        assert_eq!((b.usage().private, b.usage().pool), (PAGE, 2 * PAGE));
        b.refund_page(frames[0].take());
        assert_eq!((b.usage().private, b.usage().pool), (PAGE, PAGE));
        let mut refund = Refund::default();
        frames
            .iter_mut()
            .skip(1)
            .for_each(|frame| refund.add(frame.take()));
        assert_eq!((refund.pages(), b.usage().total), (2, 2 * PAGE));
        refund.pay(&b);
        refund.pay(&b);
        assert_eq!((refund.pages(), b.usage().total), (0, 0));
    }
}
