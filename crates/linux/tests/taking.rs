//! Pages are taken out of windows on real memory: one thread here; stores in the middle of it are
//! in `races.rs`, refusals in `refused.rs`.

mod common;

use common::{Harness, bounded, run, stamped};
use memfold_host::addr::{Access, PAGE_SIZE, PageBytes, PageNo, SpaceNo};
use memfold_host::{FaultReply, Host, Protection, Taken};
use memfold_linux::Delivery;

const A: SpaceNo = SpaceNo(1);

/// Whether the kernel has a device to swap to: then no page is taken.
fn swaps() -> bool {
    let text = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    text.lines().count() > 1
}

/// Goal: pages that are taken leave with what was stored to them, more of them than a pipe holds;
/// those that come back are there and protected, and nothing behind one that is not there is taken.
#[test]
fn taken_pages_leave_or_come_back() {
    bounded(|| {
        let harness = Harness::with(Delivery::InThread);
        let a = harness.open(1, 100, 64);
        harness.host.fill_zero(A, run(0, 64)).expect("memory");
        (0..64).for_each(|page| a.set(page, 7, u64::from(page) + 1));
        harness.host.protect(A, run(8, 4)).expect("protected");
        // In no order, but for some neighbours.
        let pages: Vec<_> = (0..30).flat_map(|n| [n * 14 % 60, n * 14 % 60 + 1]).collect();
        let pages: Vec<_> = pages.into_iter().map(|page| (A, PageNo(page))).collect();
        let mut seen = Vec::new();
        let mut look = |n: usize, bytes: &PageBytes| {
            let word = u64::from_ne_bytes(bytes[56..64].try_into().expect("eight bytes"));
            assert_eq!(word, u64::from(pages[n].1.0) + 1);
            seen.push(n);
            if word.is_multiple_of(2) {
                Taken::Gone
            } else {
                Taken::Back
            }
        };
        let taken = harness.host.take_private(&pages, &mut [0; PAGE_SIZE], &mut look);
        if swaps() {
            return assert_eq!(taken, 0);
        }
        assert_eq!((taken, seen), (60, (0..60).collect()));
        harness.rule(|host, space, page, access| {
            match (page.0 % 2, access) {
                (0, Access::Write) => host.unprotect(space, run(page.0, 1)),
                (1, _) => host.fill(space, page, &stamped(9), Protection::Writable),
                _ => panic!("page {page} is not there"),
            }
            .expect("resolved");
            FaultReply::Resolved
        });
        for page in 0..60 {
            let kept = page % 2 == 0;
            assert_eq!(a.get(page, 7), if kept { u64::from(page) + 1 } else { 16 });
            a.set(page, 7, 3);
        }
        assert_eq!(harness.faults(), 60, "each that went, each that is protected");
        harness.host.drop_pages(A, run(61, 1));
        let pages = [60, 61, 62].map(|page| (A, PageNo(page)));
        let look = &mut |_: usize, _: &PageBytes| Taken::Gone;
        let taken = harness.host.take_private(&pages, &mut [0; PAGE_SIZE], look);
        assert_eq!(taken, 1);
        assert_eq!((a.get(62, 7), harness.faults()), (63, 0));
    });
}

/// Goal: with a handler thread no page is taken: a page that its program has emptied would make the
/// call wait for that thread.
#[test]
fn a_handler_thread_takes_none() {
    bounded(|| {
        let harness = Harness::with(Delivery::Thread);
        let a = harness.open(1, 100, 1);
        harness.host.fill_zero(A, run(0, 1)).expect("memory");
        let look = &mut |_: usize, _: &PageBytes| panic!("none was taken");
        let taken = harness
            .host
            .take_private(&[(A, PageNo(0))], &mut [0; PAGE_SIZE], look);
        assert_eq!((taken, a.get(0, 0)), (0, 0));
    });
}
