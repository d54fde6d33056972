//! Victims that leave their windows before their bytes are read, without a protection before.
//!
//! A protection before the bytes are read, and a drop after, interrupt every other running thread
//! twice. A machine that can take pages empties all of a batch in one call, and then shows their
//! bytes: a store is in them, or is a fault that waits for the frame. What is not stored comes
//! back. Only private pages that one space has for itself: what others read must not be away for a
//! moment in which a refusal is still possible. Called by `evict.rs`, with the victims' frames
//! locked.

use super::batch::WIDE;
use super::evict::{Eviction, store_victim};
use crate::addr::{PageNo, SpaceNo};
use crate::budget::Need;
use crate::host::{Host, Store, Taken};

impl<H: Host, S: Store> Eviction<'_, '_, H, S> {
    /// Private pages that one space has for itself go without a protection, where the machine can
    /// take them: each is out of sight before its bytes are read, and as its bytes are stored its
    /// entries go over to the slot. What is not stored comes back, for which there is room: its
    /// charge stands until then. How many victims are done with, from the first on, and how many of
    /// them went.
    pub fn take_own(&mut self, len: usize) -> (usize, u32) {
        let mm = self.mm;
        let mut pages = [(SpaceNo(0), PageNo(0)); WIDE];
        let mut own = 0;
        for victim in self.victims[..len.min(WIDE)].iter().flatten() {
            let Some(page) = victim.window().filter(|_| victim.is_own) else {
                break;
            };
            pages[own] = page;
            own += 1;
        }
        if own == 0 {
            return (0, 0);
        }
        let mut evicted = 0;
        let taken = mm.scratch.with(|bytes| {
            mm.host.take_private(&pages[..own], bytes, &mut |n, bytes| {
                let mut v = self.victims[n].take().expect("each is shown once");
                let ledger = mm.budget.ledger(Need::Reclaim);
                if store_victim(mm, self.why, &mut v, Some(bytes), &ledger).is_ok() {
                    self.commit(&mut v);
                    evicted += 1;
                    return Taken::Gone;
                }
                mm.counters.evictions_failed.one();
                v.locked.protected = true;
                self.victims[n] = Some(v);
                Taken::Back
            })
        });
        self.victims[..taken].iter_mut().for_each(|v| *v = None);
        (taken, evicted)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::addr::PAGE_SIZE;
    use crate::rig::{
        Harness, Request, limited, read, resident, run, saves, saves_nothing, sound, space, value, write,
    };
    use memfold_sim::{Call, Calls, Lasting, Plan, When};

    /// A space of so many pages on a machine that takes pages out of windows.
    fn taking(pages: u32) -> (Harness, SpaceNo) {
        let mm = limited(8 << 20);
        mm.host.let_take(true);
        let a = space(&mm, 64);
        write(&mm, a, 0..pages, 1);
        mm.host.requests();
        (mm, a)
    }

    /// Goal: pages of one's own go without a protection; what a fork shares does not leave before
    /// it is stored.
    #[test]
    fn own_pages_need_no_protection() {
        let (mm, a) = taking(4);
        assert_eq!(mm.evict(a, run(0, 64)), Ok(4));
        assert_eq!(
            mm.host.requests(),
            [0, 1, 2, 3].map(|n| Request::Take(a, PageNo(n)))
        );
        write(&mm, a, 1..2, 7);
        assert_eq!([1, 2].map(|page| value(&mm, a, page)), [7, 1]);
        let b = mm.fork(a).expect("room");
        mm.host.requests();
        read(&mm, a, 3);
        assert_eq!(mm.evict(a, run(0, 64)), Ok(4));
        let took = |call: &Request| matches!(call, Request::Take(..));
        assert!(!mm.host.requests().iter().any(took));
        assert_eq!([1, 3].map(|page| value(&mm, b, page)), [7, 1]);
        sound(&mm);
    }

    /// Goal: what is not stored comes back, charged and protected as before, and is not tried again
    /// at once.
    #[test]
    fn what_is_not_stored_comes_back() {
        let (mm, a) = taking(40);
        mm.store.price(saves_nothing);
        let private = mm.usage().private;
        assert_eq!(mm.reclaim(40), 0);
        assert_eq!((resident(&mm, a).len(), mm.usage().private), (40, private));
        assert_eq!(mm.host.memory().private, private / PAGE_SIZE as u64);
        sound(&mm);
        mm.store.price(saves);
        write(&mm, a, 9..10, 2);
        assert_eq!([9, 10].map(|page| value(&mm, a, page)), [2, 1]);
        assert_eq!(mm.evict(a, run(0, 64)), Ok(40));
        sound(&mm);
    }

    /// Goal: pages that a machine does not take are protected, read and emptied. Method: it stops
    /// part of the way.
    #[test]
    fn what_is_not_taken_is_protected() {
        let (mm, a) = taking(32);
        let (calls, when) = (Calls::only(Call::Take), When::Nth(0, Lasting::Once));
        mm.host.set_plan(Plan { calls, when });
        assert_eq!(mm.evict(a, run(0, 64)), Ok(32));
        assert_eq!(mm.host.plan_counts(), (1, 1));
        let calls = mm.host.requests();
        let took = calls
            .iter()
            .filter(|call| matches!(call, Request::Take(..)))
            .count();
        let protected: u32 = calls
            .iter()
            .map(|call| {
                if let Request::Protect(_, run) = call {
                    run.len
                } else {
                    0
                }
            })
            .sum();
        assert_eq!(took + protected as usize, 32);
        assert!(protected != 0, "it took all");
        assert_eq!(value(&mm, a, 31), 1);
        sound(&mm);
    }
}
