//! Every system call of the host refused, at every place of every method: an error, or a success
//! that is one; and the same method works afterwards. One test, because the plan of refusals is the
//! process's.

mod common;

use common::child::{End, in_child};
use common::{Harness, View, bounded, run, stamped};
use memfold_host::FaultReply;
use memfold_host::addr::{Access, PAGE_SIZE, PageNo, PoolPage, SpaceNo};
use memfold_host::{Host, HostError, Piece, Protection, Taken};
use memfold_linux::inject::{Call, arm, disarm};
use memfold_linux::{Delivery, LinuxHost};

const A: SpaceNo = SpaceNo(1);

type Step = fn(&LinuxHost) -> Result<(), HostError>;

/// The methods, each on pages of its own, from the state that [`fresh`] makes.
const STEPS: [(&str, Step); 16] = [
    ("show", |host| host.show(A, run(0, 8))),
    ("show_zero", |host| host.show_zero(A, run(8, 24)).map(drop)),
    ("fill", |host| {
        host.fill(A, PageNo(40), &stamped(1), Protection::Protected)
    }),
    ("fill_run", |host| {
        let filled = host.fill_run(A, PageNo(45), &[[0; PAGE_SIZE]; 4], Protection::Writable);
        assert!(filled <= 4);
        Ok(())
    }),
    ("fill_zero", |host| host.fill_zero(A, run(41, 8))),
    ("copy_from_pool, empty", |host| {
        host.copy_from_pool(A, PageNo(33), PoolPage(5))
    }),
    ("copy_from_pool, shown", |host| {
        host.copy_from_pool(A, PageNo(36), PoolPage(36))
    }),
    ("protect", |host| host.protect(A, run(50, 2))),
    ("unprotect", |host| host.unprotect(A, run(52, 2))),
    ("copy_to_pool", |host| {
        host.copy_to_pool(A, run(54, 2), PoolPage(100))
    }),
    ("take_private", |host| {
        // A page in another state each: both are as before, or back.
        let pages = [(A, PageNo(50)), (A, PageNo(53))];
        let taken = host.take_private(&pages, &mut [0; PAGE_SIZE], &mut |n, bytes| {
            assert_eq!(bytes[0], [50, 53][n]);
            Taken::Back
        });
        assert!(taken <= 2);
        Ok(())
    }),
    ("pool_write", |host| host.pool_write(PoolPage(110), &stamped(4))),
    ("open, resize", |host| {
        host.open(SpaceNo(2), PoolPage(1 << 19), 8, 1)?;
        let grown = host.resize(SpaceNo(2), 8);
        host.close(SpaceNo(2), 0);
        grown.map(drop)
    }),
    ("map_piece", |host| {
        host.map_piece(A, run(56, 4), PoolPage(200), Piece::Private)
    }),
    ("unmap_piece", |host| host.unmap_piece(A, run(62, 2))),
    ("show_writable", |host| host.show_writable(A, run(60, 2))),
];

const CALLS: [(Call, i32); 19] = [
    (Call::Truncate, libc::ENOSPC),
    (Call::PoolWrite, libc::ENOMEM),
    (Call::PoolRead, libc::EIO),
    (Call::MapArena, libc::ENOMEM),
    (Call::MapWindow, libc::ENOMEM),
    (Call::MapDirect, libc::ENOMEM),
    (Call::Seal, libc::ENOMEM),
    (Call::Allow, libc::ENOMEM),
    (Call::DontFork, libc::EAGAIN),
    (Call::DontNeed, libc::EAGAIN),
    (Call::PopulateWrite, libc::ENOMEM),
    (Call::Continue, libc::ENOMEM),
    (Call::ZeroPage, libc::ENOMEM),
    (Call::Copy, libc::ENOMEM),
    (Call::WriteProtect, libc::EAGAIN),
    (Call::Splice, libc::ENOMEM),
    (Call::PipeRead, libc::ENOMEM),
    (Call::MapPiece, libc::ENOMEM),
    (Call::Register, libc::ENOMEM),
];

/// A window in which each step finds what it needs: pages 0..8 and 32..40 have pool pages (some
/// shown), 8..32 are empty, with markers here and there, 41..44 show zeros, 50..56 are private,
/// 58..64 are a shared piece.
fn fresh(delivery: Delivery) -> (Harness, View) {
    let harness = Harness::with(delivery);
    let view = harness.open(1, 0, 64);
    let host = &harness.host;
    for page in (0..8).chain(32..40) {
        host.pool_write(PoolPage(page), &stamped(page * 1000))
            .expect("memory");
    }
    host.show(A, run(2, 2)).expect("shown");
    host.show(A, run(36, 1)).expect("shown");
    host.fill_zero(A, run(12, 3)).expect("memory");
    host.protect(A, run(12, 3)).expect("protected");
    host.drop_pages(A, run(12, 3));
    assert_eq!(host.show_zero(A, run(41, 3)), Ok(0));
    host.fill_zero(A, run(50, 6)).expect("memory");
    (50..56).for_each(|page| view.set(page, 0, u64::from(page)));
    host.protect(A, run(52, 4)).expect("protected");
    host.reserve_pool(300).expect("sparse");
    for page in 0..8 {
        host.pool_write(PoolPage(200 + page), &stamped(200_000 + page * 1000))
            .expect("memory");
    }
    host.map_piece(A, run(58, 6), PoolPage(202), Piece::Shared)
        .expect("mapped");
    host.show(A, run(61, 1)).expect("shown");
    harness.rule(|host, space, page, access| {
        let one = run(page.0, 1);
        let done = match (page.0, access) {
            (0..8 | 32..40, Access::Read) => host.show(space, one),
            (0..8 | 32..40, Access::Write) => host.copy_from_pool(space, page, PoolPage(page.0.into())),
            (8..32, Access::Read) => host.show_zero(space, one).map(drop),
            (40, _) => host.fill(space, page, &stamped(1), Protection::Writable),
            (50..56, _) => host.unprotect(space, one),
            (58..62, Access::Read) => host.show(space, one),
            (58..62, Access::Write) => host.show_writable(space, one),
            _ => host.fill_zero(space, one),
        };
        done.expect("nothing is refused now");
        FaultReply::Resolved
    });
    (harness, view)
}

/// What programs see is right whatever was refused before.
fn check(harness: &Harness, view: View, step: &str) {
    for page in (0..8).chain(34..40) {
        assert_eq!(
            view.get(page, 1),
            u64::from(page) * 1000 + 1,
            "{step}, page {page}"
        );
    }
    assert!((8..32).chain(41..49).all(|page| view.get(page, 1) == 0), "{step}");
    assert!(
        (50..56).all(|page| view.get(page, 0) == u64::from(page)),
        "{step}"
    );
    assert!(
        (58..62).all(|page| view.get(page, 1) == 144_001 + u64::from(page) * 1000),
        "{step}"
    );
    for page in 8..56 {
        if page != 40 && page != 33 {
            view.add(page, 2, 10);
        }
    }
    assert_eq!(
        (view.get(36, 2), view.get(8, 2), view.get(41, 2)),
        (36_012, 10, 10),
        "{step}"
    );
    let mut bytes = [0; PAGE_SIZE];
    harness.host.pool_read(PoolPage(36), &mut bytes).expect("written");
    assert_eq!(bytes, stamped(36_000), "{step}: the pool's page is untouched");
}

/// Whether an error names the call that was refused, with its code and what to do.
fn names(error: HostError, errno: i32) -> bool {
    let text = error.to_string();
    let right =
        |call: &str, code| code == errno && text.starts_with(&format!("{call} was refused (error {code}): "));
    match error {
        HostError::Window { call, code, .. } | HostError::Call { call, code, .. } => right(call, code),
        _ => false,
    }
}

/// Goal: each refusal is survived, and told. Method: for each method, system call and delivery,
/// refuse the first, second, ... use once, until the method no longer gets that far.
#[test]
fn each_call_refused_once() {
    bounded(|| {
        let mut refusals = 0;
        for delivery in [Delivery::InThread, Delivery::Thread] {
            for (name, step) in STEPS {
                for (call, errno) in CALLS {
                    for pass in 0..20 {
                        let (harness, view) = fresh(delivery);
                        if !arm(call, pass, 1, errno) {
                            println!("this build cannot refuse calls");
                            return;
                        }
                        let outcome = step(&harness.host);
                        let reached = disarm() == 0;
                        let what =
                            format!("{delivery:?}, {name}, {call:?} refused after {pass}: {outcome:?}");
                        if !reached {
                            assert_eq!(outcome, Ok(()), "{what}");
                        }
                        assert!(
                            outcome.is_err_and(|error| names(error, errno)) || outcome.is_ok(),
                            "{what}"
                        );
                        step(&harness.host).unwrap_or_else(|error| panic!("{what}; again: {error}"));
                        if name == "copy_from_pool, empty" {
                            assert_eq!(view.get(33, 1), 5001, "{what}");
                        }
                        check(&harness, view, &what);
                        if name != "map_piece" {
                            view.set(61, 0, 9);
                            let mut bytes = [0; PAGE_SIZE];
                            harness
                                .host
                                .pool_read(PoolPage(205), &mut bytes)
                                .expect("written");
                            assert_eq!(bytes[..8], 9_u64.to_ne_bytes(), "{what}");
                        }
                        refusals += u32::from(reached);
                        if !reached {
                            break;
                        }
                    }
                }
            }
        }
        println!("{refusals} refusals survived");
        assert!(refusals > 40);
    });
}

/// Goal: a host that cannot be opened says why. (After the other test would be too late for its
/// plan: same process.)
#[test]
fn opening_refused() {
    let (end, text) = in_child("opening_refused", open_refused).expect("the child ends there");
    assert_eq!(end, End::Code(0), "{text}");
    if cfg!(debug_assertions) {
        assert!(text.contains("seccomp"), "{text}");
        assert!(text.contains("vm.unprivileged_userfaultfd=1"), "{text}");
        assert!(text.contains("PAGEMAP_SCAN needs Linux 6.7"), "{text}");
    }
}

/// Goal: what is held for windows comes to nothing when none is left, also where a window could not
/// be opened over the upper page tables of an earlier one. Method: the second sealing of a close
/// (that of the whole block, with which its tables go) is refused, so the tables stay; then a
/// window that is refused, then one that is not.
#[test]
fn the_account_outlives_refusals() {
    let ended = in_child("the_account_outlives_refusals", account_of_refusals);
    assert_eq!(ended.map(|(end, _)| end), Some(End::Code(0)));
}

fn account_of_refusals() {
    let host = LinuxHost::builder().build().expect("userfaultfd works here");
    let opened = host.open(A, PoolPage(0), 8, 8).expect("a window");
    if !arm(Call::Seal, 1, 2, libc::ENOMEM) {
        return;
    }
    let closed = host.close(A, 0);
    assert_eq!(disarm(), 0, "the block was sealed");
    assert!(closed < opened, "its upper tables stay: {opened}, then {closed}");
    assert_eq!(host.windows_held(), opened - closed);
    assert!(arm(Call::MapWindow, 0, 1, libc::ENOMEM));
    assert!(host.open(A, PoolPage(0), 8, 8).is_err());
    disarm();
    let again = host.open(A, PoolPage(0), 8, 8).expect("a window");
    assert_eq!(again, closed, "the tables are there already");
    assert_eq!(host.close(A, 0), opened);
    assert_eq!(host.windows_held(), 0);
}

fn open_refused() {
    let open = |delivery| LinuxHost::builder().delivery(delivery).build().map(drop);
    for (call, errno) in [
        (Call::Userfaultfd, libc::EPERM),
        (Call::Userfaultfd, libc::ENOSYS),
        (Call::Userfaultfd, libc::EMFILE),
        (Call::Scan, libc::ENOTTY),
        (Call::Memfd, libc::EMFILE),
    ] {
        for delivery in [Delivery::InThread, Delivery::Thread] {
            if arm(call, 0, 10, errno) {
                println!("{}", open(delivery).expect_err("refused"));
                disarm();
            }
            assert_eq!(open(delivery), Ok(()));
        }
    }
}
