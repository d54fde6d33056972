//! Pieces of windows on real memory: what they show, who sees a store, what they become, and that
//! no access ever finds anything else.

mod common;

use common::child::{End, in_child};
use common::{COUNT, Harness, View, bounded, run, stamped};
use memfold_host::addr::{Access, PAGE_SIZE, PageNo, PoolPage, SpaceNo};
use memfold_host::{FaultReply, Host, HostError, Limit, Piece};
use memfold_linux::{Delivery, LinuxHost};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const A: SpaceNo = SpaceNo(1);
const B: SpaceNo = SpaceNo(2);
const BOTH: [Delivery; 2] = [Delivery::InThread, Delivery::Thread];

/// Where the file of these tests stands in the pool, and what its pages are stamped with.
const FILE: u64 = 500;

fn each_delivery(test: fn(Harness)) {
    bounded(move || {
        BOTH.into_iter()
            .for_each(|delivery| test(Harness::with(delivery)))
    });
}

fn stamp_file(harness: &Harness, pages: u64) {
    harness.host.reserve_pool(FILE + pages).expect("sparse");
    (0..pages).for_each(|page| harness.stamp_pool(PoolPage(FILE + page), page * 1000));
}

fn page_of_file(harness: &Harness, page: u64) -> [u8; PAGE_SIZE] {
    let mut bytes = [0; PAGE_SIZE];
    harness
        .host
        .pool_read(PoolPage(FILE + page), &mut bytes)
        .expect("written");
    bytes
}

fn map(harness: &Harness, space: SpaceNo, at: (u32, u32), from: u64, kind: Piece) {
    let mapped = harness
        .host
        .map_piece(space, run(at.0, at.1), PoolPage(FILE + from), kind);
    assert_eq!(mapped, Ok(()));
}

/// Goal: a private piece shows a file's pages; a store gives a copy of one's own, also where the
/// page is shown while it is copied.
#[test]
fn private_pieces() {
    each_delivery(|harness| {
        let (a, b) = (harness.open(1, 0, 64), harness.open(2, 0, 64));
        stamp_file(&harness, 16);
        harness.stamp_pool(PoolPage(3), 77);
        map(&harness, A, (4, 16), 0, Piece::Private);
        map(&harness, B, (20, 8), 8, Piece::Private);
        harness.rule(|host, space, page, access| {
            let place = match (space, page.0) {
                (A, 4..20) => FILE + u64::from(page.0) - 4,
                (B, 20..28) => FILE + u64::from(page.0) - 12,
                _ => u64::from(page.0),
            };
            match access {
                Access::Read => host.show(space, run(page.0, 1)),
                Access::Write => host.copy_from_pool(space, page, PoolPage(place)),
            }
            .expect("resolved");
            FaultReply::Resolved
        });
        for page in 0..8 {
            assert_eq!(a.get(page + 12, 3), u64::from(page + 8) * 1000 + 3);
            assert_eq!(b.get(page + 20, 3), u64::from(page + 8) * 1000 + 3);
        }
        assert_eq!(a.get(3, 1), 78, "beside the piece stands what stood there");
        assert_eq!(harness.faults(), 17);
        a.set(13, 0, 5);
        a.set(5, 0, 6);
        assert_eq!(
            (a.get(13, 0), a.get(13, 1), a.get(5, 0), a.get(5, 1)),
            (5, 9001, 6, 1001)
        );
        assert_eq!((b.get(21, 0), page_of_file(&harness, 9)), (9000, stamped(9000)));
        assert_eq!(harness.faults(), 2);
        let run_copied = harness
            .host
            .copy_run_from_pool(A, run(14, 4), PoolPage(FILE + 10));
        assert!(run_copied.is_ok_and(|pages| pages & 1 == 1), "{run_copied:?}");
        a.set(14, 0, 7);
        assert_eq!(
            (a.get(14, 1), b.get(22, 0), harness.faults()),
            (10_001, 10_000, 0)
        );
        assert_eq!(harness.host.writable(A, run(0, 64)) & 1 << 13, 1 << 13);
        assert_eq!(harness.host.writable(B, run(0, 64)), 0);
        harness.host.pool_free(PoolPage(FILE), 16);
        assert_eq!((a.get(13, 0), a.get(5, 0)), (5, 6), "copies stay");
    });
}

/// Goal: stores through one shared piece are seen through another, wherever it is; protected, the
/// next one is a fault, also after the page was dropped; freed, it leaves all windows.
#[test]
fn shared_pieces() {
    each_delivery(|harness| {
        let (a, b) = (harness.open(1, 0, 64), harness.open(2, 100, 64));
        stamp_file(&harness, 8);
        map(&harness, A, (8, 8), 0, Piece::Shared);
        map(&harness, B, (40, 8), 0, Piece::Shared);
        harness.rule(|host, space, page, access| {
            match access {
                Access::Read => host.show(space, run(page.0 & !3, 4)),
                Access::Write => host.show_writable(space, run(page.0, 1)),
            }
            .expect("resolved");
            FaultReply::Resolved
        });
        assert_eq!((a.get(9, 0), b.get(41, 0), harness.faults()), (1000, 1000, 2));
        a.set(9, 0, 42);
        a.set(9, 1, 43);
        b.set(44, 0, 44);
        assert_eq!((harness.faults(), b.get(41, 0), b.get(41, 1)), (2, 42, 43));
        assert_eq!((a.get(12, 0), a.get(12, 1), harness.faults()), (44, 4001, 1));
        assert_eq!(harness.host.writable(A, run(0, 64)), 1 << 9);
        assert_eq!(harness.host.writable(B, run(0, 64)), 1 << 44);
        for (space, view, page) in [(A, a, 9), (B, b, 44)] {
            harness.host.protect(space, run(page, 1)).expect("protected");
            assert_eq!(harness.host.writable(space, run(0, 64)), 0);
            view.set(page, 2, 1);
            assert_eq!(harness.faults(), 1, "each store after a protection is a fault");
            harness.host.protect(space, run(page, 1)).expect("protected");
            harness.host.drop_pages(space, run(page, 1));
            view.set(page, 2, 2);
            view.set(page, 2, 3);
            assert_eq!((harness.faults(), view.get(page, 2)), (1, 3));
            harness.host.drop_pages(space, run(page, 1));
            assert_eq!((view.get(page, 2), harness.faults()), (3, 1));
            harness.host.show(space, run(page, 1)).expect("shown already");
        }
        assert_eq!(harness.host.test_and_clear_young(A, run(8, 8)), 0xff);
        assert_eq!(harness.host.test_and_clear_young(A, run(8, 8)), 0);
        harness.host.show_writable(A, run(8, 8)).expect("shown");
        (8..16).for_each(|page| a.set(page, 5, 5));
        assert_eq!(harness.faults(), 0);
        assert_eq!(harness.host.writable(A, run(8, 56)), 0xff);
        harness
            .host
            .protect_around(A, &[run(8, 2), run(12, 2)])
            .expect("protected");
        assert_eq!(harness.host.writable(A, run(8, 56)) & 0x33, 0);
        harness.host.pool_free(PoolPage(FILE), 8);
        assert_eq!(harness.host.pool_bytes(), Ok(0));
        stamp_file(&harness, 8);
        assert_eq!((a.get(9, 5), b.get(41, 0), harness.faults()), (1005, 1000, 2));
        a.set(10, 0, 1);
        assert_eq!((page_of_file(&harness, 2)[0], harness.faults()), (1, 1));
    });
}

/// Goal: pieces replace pieces, and end, in parts; each page shows what its run is last.
#[test]
fn pieces_replace_pieces() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 600);
        stamp_file(&harness, 40);
        (0..64).for_each(|page| harness.stamp_pool(PoolPage(page), 100_000 + page));
        harness.rule(|host, space, page, access| {
            assert_eq!(access, Access::Read);
            host.show(space, run(page.0, 1)).expect("shown");
            FaultReply::Resolved
        });
        let shown = |pages: [u32; 6]| pages.map(|page| a.get(page, 0));
        let empty = |first, len| harness.host.drop_pages(A, run(first, len));
        map(&harness, A, (0, 20), 0, Piece::Shared);
        assert_eq!(
            shown([0, 5, 10, 15, 19, 20]),
            [0, 5000, 10_000, 15_000, 19_000, 100_020]
        );
        empty(5, 20);
        map(&harness, A, (5, 10), 30, Piece::Private);
        map(&harness, A, (18, 4), 3, Piece::Shared);
        assert_eq!(
            shown([4, 5, 14, 15, 18, 21]),
            [4000, 30_000, 39_000, 15_000, 3000, 6000]
        );
        empty(0, 30);
        assert_eq!(harness.host.unmap_piece(A, run(8, 11)), Ok(()));
        assert_eq!(
            shown([7, 8, 18, 19, 21, 22]),
            [32_000, 100_008, 100_018, 4000, 6000, 100_022]
        );
        empty(0, 30);
        assert_eq!(harness.host.unmap_piece(A, run(0, 600)), Ok(()));
        assert_eq!(
            shown([0, 5, 10, 15, 19, 20]),
            [0, 5, 10, 15, 19, 20].map(|page| 100_000 + page)
        );
        harness.faults();
        map(&harness, A, (2, 2), 2, Piece::Private);
        assert!(!harness.host.free_table(A, run(0, 512)), "in several mappings");
        harness.host.close(A, 0);
        let a = harness.open(1, 0, 600);
        harness.rule(|host, space, page, _| {
            host.show(space, run(page.0, 1)).expect("shown");
            FaultReply::Resolved
        });
        assert_eq!(
            (a.get(2, 0), a.get(5, 0)),
            (100_002, 100_005),
            "nothing of a closed window"
        );
    });
}

/// Goal: calls on runs work where pieces that have ended left mappings apart. Method: pages of
/// one's own on both sides of a piece keep the kernel from joining them.
#[test]
fn seams() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 64);
        stamp_file(&harness, 8);
        (32..48).for_each(|page| harness.stamp_pool(PoolPage(page), page));
        let fill = |page| harness.host.fill_zero(A, run(page, 1)).expect("memory");
        for first in [3, 19, 35] {
            fill(first - 1);
            map(&harness, A, (first, 4), 0, Piece::Private);
            fill(first);
            fill(first + 4);
            harness.host.drop_pages(A, run(first, 4));
            assert_eq!(harness.host.unmap_piece(A, run(first, 4)), Ok(()));
            fill(first + 1);
        }
        harness.host.drop_pages(A, run(0, 64));
        assert_eq!(harness.host.show_zero(A, run(0, 16)), Ok(0));
        assert_eq!(harness.host.fill_zero(A, run(16, 16)), Ok(()));
        assert_eq!(harness.host.show(A, run(32, 16)), Ok(()));
        (16..32).for_each(|page| a.set(page, 0, 9));
        assert_eq!([0, 15, 32, 47].map(|page| a.get(page, 0)), [0, 0, 32, 47]);
        assert_eq!(harness.faults(), 0);
    });
}

/// Goal: while a run becomes a piece and ends again, nobody reads anything but what one of the two
/// shows, and nothing is stored where no store was let through. Method: a thread has the kernel
/// read the run, for which an access that is a fault is an error.
#[test]
fn no_moment_in_between() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 16);
        stamp_file(&harness, 16);
        (0..16).for_each(|page| harness.stamp_pool(PoolPage(page), 500_000 + page));
        harness.rule(|host, space, page, access| {
            assert_eq!(access, Access::Read);
            host.show(space, run(page.0, 1)).expect("shown");
            FaultReply::Resolved
        });
        let ends = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let ends = Arc::clone(&ends);
            move || read_until(a, &ends)
        });
        for round in 0..600 {
            let kind = if round % 2 == 0 {
                Piece::Shared
            } else {
                Piece::Private
            };
            for step in 0..2 {
                harness.locked(|host| {
                    host.drop_pages(A, run(4, 8));
                    let done = match step {
                        0 => host.map_piece(A, run(4, 8), PoolPage(FILE), kind),
                        _ => host.unmap_piece(A, run(4, 8)),
                    };
                    assert_eq!(done, Ok(()));
                    host.show(A, run(4, 8)).expect("shown");
                });
            }
            if round % 32 == 0 {
                std::thread::yield_now();
            }
        }
        ends.store(true, COUNT);
        let (read, faults) = reader.join().expect("it saw what it may");
        println!("{read} pages read, {faults} refused");
        assert!(read > 0);
        let bytes: Vec<_> = (0..8).map(|page| page_of_file(&harness, page)).collect();
        (0..8).for_each(|page| assert_eq!(bytes[page], stamped(page as u64 * 1000)));
        harness.host.pool_free(PoolPage(8), 8);
        assert_eq!(
            harness.host.pool_bytes(),
            Ok(24 * PAGE_SIZE as u64),
            "no hole was filled"
        );
    });
}

/// Has the kernel copy words of pages 4 to 12 into a pipe, again and again.
fn read_until(view: View, ends: &AtomicBool) -> (u64, u64) {
    let mut pipe = [0; 2];
    // SAFETY: two numbers of room; the descriptors are ours alone.
    let (from, to) = unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(pipe[0]), OwnedFd::from_raw_fd(pipe[1]))
    };
    let (mut read, mut faults) = (0, 0);
    for page in (4..12_usize).cycle() {
        if ends.load(COUNT) {
            break;
        }
        let mut word = 0_u64;
        let at = (view.base + page * PAGE_SIZE) as *const libc::c_void;
        // A bare call: what the kernel reads here races by intent, which a sanitizer that takes
        // the C library's `write` for a read of this thread's reports.
        // SAFETY: the kernel reads a word, or says that it cannot.
        if unsafe { libc::syscall(libc::SYS_write, to.as_raw_fd(), at, 8_usize) } != 8 {
            faults += 1;
            continue;
        }
        // SAFETY: the word that was just written fits.
        let got = unsafe { libc::read(from.as_raw_fd(), (&raw mut word).cast(), 8) };
        assert_eq!(got, 8);
        let page = page as u64;
        assert!(
            word == 500_000 + page || word == (page - 4) * 1000,
            "page {page} is {word}"
        );
        read += 1;
    }
    (read, faults)
}

/// Goal: a piece is kept out of core dumps, of children and of the kernel's merging, and faults
/// there are ours, as in the rest of the window. Method: what the kernel says of each mapping.
#[test]
fn pieces_are_like_the_rest() {
    each_delivery(|harness| {
        let a = harness.open(1, 0, 64);
        stamp_file(&harness, 16);
        map(&harness, A, (8, 8), 0, Piece::Shared);
        map(&harness, A, (30, 8), 8, Piece::Private);
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let (mut inside, mut seen) = (false, 0);
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|word| word.split_once('-'));
            let start = range.and_then(|(start, _)| usize::from_str_radix(start, 16).ok());
            if let Some(start) = start {
                inside = (a.base..a.base + 64 * PAGE_SIZE).contains(&start);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                seen += 1;
                for flag in ["dd", "dc", "um", "uw", "ui", "rd", "wr"] {
                    assert!(flags.split(' ').any(|has| has == flag), "{flag} of{flags}");
                }
                assert!(!flags.contains(" mg"), "{flags}");
            }
        }
        assert_eq!(seen, 5, "two pieces, and what lies beside them");
    });
}

/// Goal: pieces leave half of the machine's mappings to the rest of the process, and say so. In a
/// process of its own: the count is the process's.
#[test]
fn pieces_have_a_bound() {
    let ended = in_child("pieces_have_a_bound", pieces_up_to_the_bound);
    assert_eq!(ended.map(|(end, _)| end), Some(End::Code(0)));
}

fn pieces_up_to_the_bound() {
    let host = LinuxHost::builder().build().expect("userfaultfd works here");
    host.open(A, PoolPage(0), 1 << 16, 1 << 16).expect("a window");
    let map = |n: u32| host.map_piece(A, run(2 * n, 1), PoolPage(7), Piece::Shared);
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("readable");
    let most: u64 = most.trim().parse().expect("a number");
    if most > 1 << 17 {
        eprintln!("SKIPPED: this machine allows {most} mappings");
        return;
    }
    let refused = (0..1 << 15).find_map(|n| map(n).err().map(|error| (n, error)));
    let (n, error) = refused.expect("there is a bound");
    assert_eq!(u64::from(n), most / 4);
    let HostError::Window { limit, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(limit, Limit::Mappings(most));
    assert!(error.to_string().contains("vm.max_map_count"), "{error}");
    let maps = std::fs::read_to_string("/proc/self/maps")
        .expect("maps")
        .lines()
        .count() as u64;
    assert!(maps < most / 2 + 1000, "{maps} mappings");
    assert_eq!(host.unmap_piece(A, run(0, 100)), Ok(()));
    assert_eq!(map(n), Ok(()));
    host.close(A, 0);
    host.open(B, PoolPage(0), 8, 8).expect("a window");
    let again = host.map_piece(B, run(PageNo(1).0, 2), PoolPage(7), Piece::Private);
    assert_eq!(again, Ok(()), "closed windows count no more");
}
