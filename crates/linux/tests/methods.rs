//! Each method of `Host` on real memory, one thread.

mod common;

use common::{Harness, bounded, run, stamped};
use memfold_host::FaultReply;
use memfold_host::addr::{Access, PAGE_SIZE, PageNo, PoolPage, SpaceNo};
use memfold_host::{Host, HostError, Protection};
use memfold_linux::{Delivery, LinuxHost};

const A: SpaceNo = SpaceNo(1);
const B: SpaceNo = SpaceNo(2);
const BOTH: [Delivery; 2] = [Delivery::InThread, Delivery::Thread];

fn each_delivery(test: fn(Harness)) {
    bounded(move || {
        BOTH.into_iter()
            .for_each(|delivery| test(Harness::with(delivery)))
    });
}

/// Goal: two windows on one backing show one pool page; a store is a fault, and gives a copy of
/// one's own.
#[test]
fn two_windows_share_and_copy_on_write() {
    each_delivery(|harness| {
        let (a, b) = (harness.open(1, 100, 8), harness.open(2, 100, 8));
        for page in 0..8 {
            harness.stamp_pool(PoolPage(100 + page), page * 1000);
        }
        harness.rule(|host, space, page, access| {
            match access {
                Access::Read => host.show(space, run(page.0 & !3, 4)),
                Access::Write => host.copy_from_pool(space, page, PoolPage(100).plus(page.0)),
            }
            .expect("resolved");
            FaultReply::Resolved
        });
        for page in 0..8 {
            assert_eq!(a.get(page, 3), u64::from(page) * 1000 + 3);
            assert_eq!(b.get(page, 7), u64::from(page) * 1000 + 7);
        }
        assert_eq!(harness.faults(), 4, "four pages at a time, two windows");
        harness
            .host
            .show(A, run(0, 8))
            .expect("pages that are shown stay so");
        a.set(2, 3, 42);
        a.set(2, 4, 43);
        assert_eq!(harness.faults(), 1, "one store fault; the copy is writable");
        assert_eq!((a.get(2, 3), a.get(2, 4), a.get(2, 5)), (42, 43, 2005));
        assert_eq!(b.get(2, 3), 2003);
        let mut bytes = [0; PAGE_SIZE];
        harness
            .host
            .pool_read(PoolPage(102), &mut bytes)
            .expect("written");
        assert_eq!(bytes, stamped(2000), "the pool's page is untouched");
        assert_eq!(harness.host.pool_bytes(), Ok(8 * PAGE_SIZE as u64));
    });
}

/// Goal: what a fault says of its page is a hint: a step succeeds where the page was emptied since.
/// Method: a store to a page that is shown, which the rule hides before it resolves the fault.
#[test]
fn a_page_that_was_there_is_gone() {
    each_delivery(|harness| {
        let a = harness.open(1, 100, 4);
        harness.stamp_pool(PoolPage(101), 7);
        harness.host.show(A, run(1, 1)).expect("shown");
        harness.host.show_zero(A, run(2, 2)).expect("shown");
        harness.rule(|host, space, page, access| {
            assert_eq!(access, Access::Write, "everything is shown");
            host.drop_pages(space, run(page.0, 1));
            match page.0 {
                1 => host.copy_from_pool(space, page, PoolPage(101)),
                2 => host.fill_zero(space, run(2, 1)),
                _ => host.fill(space, page, &stamped(30), Protection::Writable),
            }
            .expect("resolved");
            FaultReply::Resolved
        });
        for page in 1..4 {
            a.set(page, 0, 5);
        }
        assert_eq!(
            [(1, 1), (2, 1), (3, 1)].map(|(page, at)| a.get(page, at)),
            [8, 0, 31]
        );
        assert_eq!([1, 2, 3].map(|page| a.get(page, 0)), [5; 3]);
        assert_eq!(harness.faults(), 3);
    });
}

/// Goal: a copy can be made of any pool page, onto an empty page, and over a dropped protected one.
#[test]
fn copy_from_elsewhere() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 4);
        harness.host.reserve_pool(1 << 19).expect("sparse");
        let far = PoolPage((1 << 18) + 5);
        harness.stamp_pool(far, 7);
        for round in 0..3 {
            harness.host.copy_from_pool(A, PageNo(1), far).expect("copied");
            a.set(1, 0, round);
            assert_eq!(a.get(1, 1), 8);
            harness.host.protect(A, run(1, 1)).expect("protected");
            harness.host.drop_pages(A, run(1, 1));
        }
        harness.host.pool_free(PoolPage(1 << 18), 1 << 18);
        harness.stamp_pool(far, 70);
        harness
            .host
            .copy_from_pool(A, PageNo(1), far)
            .expect("the direct mapping was made anew");
        assert_eq!(a.get(1, 0), 70);
        assert_eq!(harness.faults(), 0);
    });
}

/// Goal: a private page is evicted and comes back: protect, read, drop, fault, fill.
#[test]
fn evict_and_bring_back() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 4);
        harness
            .host
            .fill(A, PageNo(2), &stamped(500), Protection::Writable)
            .expect("memory");
        a.set(2, 0, 501);
        harness.host.protect(A, run(2, 1)).expect("protected");
        let mut bytes = [0; PAGE_SIZE];
        harness
            .host
            .read_private(A, PageNo(2), &mut bytes)
            .expect("there");
        assert_eq!(bytes[..8], 501u64.to_ne_bytes());
        harness.host.drop_pages(A, run(2, 1));
        assert_eq!(harness.faults(), 0);
        let mut filled = false;
        harness.rule(move |host, space, page, access| {
            if filled {
                assert_eq!(access, Access::Write, "the page came back protected");
                host.unprotect(space, run(page.0, 1)).expect("unprotected");
            } else {
                host.fill(space, page, &bytes, Protection::Protected)
                    .expect("memory");
            }
            filled = true;
            FaultReply::Resolved
        });
        assert_eq!((a.get(2, 0), a.get(2, 1)), (501, 501));
        assert_eq!(harness.faults(), 1);
        a.set(2, 1, 9);
        assert_eq!((a.get(2, 1), harness.faults()), (9, 1));
    });
}

/// Goal: zeros are shown without memory, over markers and poison too; a store is a fault; filling
/// replaces them.
#[test]
fn zeros() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 64);
        // Markers on some pages, and the zero page already on others.
        harness.host.fill_zero(A, run(3, 5)).expect("memory");
        harness.host.protect(A, run(3, 5)).expect("protected");
        harness.host.drop_pages(A, run(3, 5));
        assert_eq!(harness.host.show_zero(A, run(10, 3)), Ok(0));
        assert_eq!(harness.host.show_zero(A, run(0, 64)), Ok(0));
        assert!((0..64).all(|page| a.get(page, 1) == 0));
        assert_eq!(harness.faults(), 0);
        harness.rule(|host, space, page, access| {
            assert_eq!(access, Access::Write);
            host.fill_zero(space, run(page.0 & !7, 8)).expect("memory");
            FaultReply::Resolved
        });
        a.set(17, 0, 5);
        a.set(16, 0, 5);
        assert_eq!((harness.faults(), a.get(17, 0), a.get(17, 1)), (1, 5, 0));
        harness
            .host
            .fill(A, PageNo(40), &stamped(9), Protection::Protected)
            .expect("memory");
        assert_eq!(a.get(40, 2), 11);
        harness.host.fill_zero(A, run(24, 8)).expect("all show zeros");
        harness.host.drop_pages(A, run(50, 2));
        harness
            .host
            .fill_zero(A, run(46, 8))
            .expect("some show zeros, some are empty");
        a.set(46, 0, 1);
        a.set(51, 0, 1);
        assert_eq!(harness.faults(), 0);
        assert_eq!(harness.host.pool_bytes(), Ok(0));
    });
}

/// Goal: a page of zeros to which somebody stored before protection stood is reported, and has the
/// store. Method: fill the page by hand, as the kernel would.
#[test]
fn a_private_page_among_zeros_is_reported() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 64);
        harness
            .host
            .fill(A, PageNo(5), &stamped(1), Protection::Writable)
            .expect("memory");
        assert_eq!(harness.host.show_zero(A, run(2, 20)), Ok(1 << 3));
        harness.rule(|host, space, page, _| {
            host.unprotect(space, run(page.0, 1)).expect("unprotected");
            FaultReply::Resolved
        });
        a.set(5, 0, 8);
        assert_eq!(
            (harness.faults(), a.get(5, 1)),
            (1, 2),
            "it is private and protected"
        );
    });
}

/// Goal: freeing pool pages empties every window that shows them; private copies stay.
#[test]
fn pool_free_empties_windows() {
    each_delivery(|harness| {
        let views = [harness.open(1, 10, 8), harness.open(2, 10, 8)];
        for page in 0..8 {
            harness.stamp_pool(PoolPage(10 + page), page);
        }
        for space in [A, B] {
            harness.host.show(space, run(0, 8)).expect("shown");
        }
        harness
            .host
            .copy_from_pool(B, PageNo(4), PoolPage(14))
            .expect("copied");
        views[1].set(4, 0, 99);
        harness.host.pool_free(PoolPage(12), 4);
        assert_eq!(harness.host.pool_bytes(), Ok(4 * PAGE_SIZE as u64));
        assert_eq!(harness.host.test_and_clear_young(A, run(0, 8)), 0b1100_0011);
        assert_eq!(views[1].get(4, 0), 99);
        harness.rule(|host, space, page, _| {
            host.fill_zero(space, run(page.0, 1)).expect("memory");
            FaultReply::Resolved
        });
        assert_eq!(views[1].get(3, 1), 0, "nothing of the freed page is left");
        assert_eq!(harness.faults(), 1);
        harness.host.pool_free(PoolPage(0), 8);
    });
}

/// Goal: private pages are moved to the pool, and shown from there.
#[test]
fn promote_to_the_pool() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 1000);
        harness.host.fill_zero(A, run(0, 1000)).expect("memory");
        (0..1000).for_each(|page| a.set(page, 9, u64::from(page)));
        harness.host.protect(A, run(0, 1000)).expect("protected");
        harness
            .host
            .copy_to_pool(A, run(0, 1000), PoolPage(0))
            .expect("memory");
        harness.host.drop_pages(A, run(0, 1000));
        harness.host.show(A, run(0, 1000)).expect("shown");
        assert!((0..1000).all(|page| a.get(page, 9) == u64::from(page)));
        assert_eq!(harness.faults(), 0);
    });
}

/// Goal: the pages used since the last question are named and hidden; their content stays.
#[test]
fn young() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 64);
        for page in 0..64 {
            harness.stamp_pool(PoolPage(page), page);
        }
        harness.rule(|host, space, page, _| {
            host.show(space, run(page.0, 1)).expect("shown");
            FaultReply::Resolved
        });
        assert_eq!(harness.host.test_and_clear_young(A, run(0, 64)), 0);
        for page in [0, 7, 63] {
            assert_eq!(a.get(page, 0), u64::from(page));
        }
        assert_eq!(harness.host.test_and_clear_young(A, run(7, 57)), 1 << 56 | 1);
        assert_eq!(harness.host.test_and_clear_young(A, run(0, 64)), 1);
        assert_eq!(harness.host.test_and_clear_young(A, run(0, 64)), 0);
        assert_eq!((harness.faults(), a.get(63, 0), harness.faults()), (3, 63, 1));
    });
}

/// Goal: a window grows in place, keeps its bytes, and what is beyond its length is no memory.
/// Method: `/proc/self/maps`.
#[test]
fn windows_grow() {
    bounded(|| {
        let harness = Harness::new(LinuxHost::builder().guard_bytes(32 << 20));
        harness
            .host
            .open(A, PoolPage(0), 1 << 20, 2)
            .expect("4 GiB of addresses");
        let a = harness.view(1);
        harness.host.fill_zero(A, run(0, 2)).expect("memory");
        a.set(1, 0, 77);
        harness.host.resize(A, 500).expect("grown");
        harness.host.fill_zero(A, run(499, 1)).expect("memory");
        a.set(499, 0, 78);
        assert_eq!((a.get(1, 0), a.get(499, 0)), (77, 78));
        let window = harness.host.window(A).expect("open");
        assert_eq!((window.len, window.reserve), (500, 1 << 20));
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let end = a.base + (4 << 30) + (64 << 20);
        let rest = format!("{:x}-{end:x} ---p", a.base + 500 * PAGE_SIZE);
        assert!(
            maps.contains(&format!("{:x}-{:x} rw-p", a.base, a.base + 500 * PAGE_SIZE)),
            "{maps}"
        );
        assert!(
            maps.contains(&rest),
            "reserve and guard are one inaccessible piece {rest}: {maps}"
        );
        assert_eq!(
            harness.host.locate(a.base + 5 * PAGE_SIZE + 9),
            Some((A, PageNo(5)))
        );
        harness.host.close(A, 0);
        assert_eq!(
            (harness.host.locate(a.base), harness.host.window(A)),
            (None, None)
        );
    });
}

/// Goal: what the machine refuses is an error, and nothing is left behind.
#[test]
fn refusals() {
    bounded(|| {
        let harness = Harness::new(LinuxHost::builder().guard_bytes(1 << 48));
        let opened = harness.host.open(A, PoolPage(0), 1, 1);
        assert!(
            matches!(
                opened,
                Err(HostError::Window {
                    call: "mmap",
                    code: libc::ENOMEM,
                    ..
                })
            ),
            "{opened:?}"
        );
        assert_eq!(harness.host.window(A), None);
        assert_eq!(harness.host.reserve_pool(u64::MAX), Err(HostError::NoMemory));
    });
}
