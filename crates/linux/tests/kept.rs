//! Windows of which the kernel serves a run are kept when they are closed: empty, inaccessible, and
//! as good as new for the next one of their shape. Method: by example; what is held is what the
//! answers say. (With a handler thread the kernel serves no runs.)

mod common;

use common::child::{End, in_child};
use common::{Harness, bounded, run};
use memfold_host::addr::{Access, PoolPage, SpaceNo};
use memfold_host::{FaultReply, Host, HostError};
use memfold_linux::inject::{Call, arm, disarm};
use memfold_linux::{Delivery, LinuxHost};

const A: SpaceNo = SpaceNo(1);
const B: SpaceNo = SpaceNo(2);
const C: SpaceNo = SpaceNo(3);

/// Of 64 pages 40 accessible; the kernel serves 2..10, where the pool has stamps.
fn open(host: &LinuxHost, space: SpaceNo) -> Result<u64, HostError> {
    host.open_native(space, PoolPage(0), (64, 40), run(2, 8))
}

fn harness() -> Harness {
    let harness = Harness::with(Delivery::InThread);
    for page in 0..16 {
        harness.stamp_pool(PoolPage(page), page * 1000);
    }
    harness.rule(|host, space, page, access| {
        let zeros = match access {
            Access::Read => host.show_zero(space, run(page.0, 1)).map(drop),
            Access::Write => host.fill_zero(space, run(page.0, 1)),
        };
        zeros.expect("nothing is refused now");
        FaultReply::Resolved
    });
    harness
}

/// Goal: nothing of one life of a window is seen in the next, which takes its faults as the first
/// did; one that is no longer what it was when it was opened is not kept.
#[test]
fn a_kept_window_is_as_new() {
    bounded(|| {
        let harness = harness();
        let host = &harness.host;
        let opened = open(host, A).expect("a window");
        let a = harness.view(1);
        a.set(3, 0, 5);
        a.set(20, 0, 6);
        a.set(39, 0, 7);
        host.protect(A, run(20, 1)).expect("protected");
        assert_eq!((a.get(3, 0), a.get(4, 1), harness.faults()), (5, 4001, 2));
        assert_eq!(host.close(A, 1), 0, "it is kept, with its table");
        assert_eq!(host.windows_held(), opened + 4096);

        assert_eq!(open(host, B), Ok(0));
        let b = harness.view(2);
        assert_eq!(b.base, a.base);
        assert_eq!((b.get(3, 0), b.get(20, 0), b.get(39, 0)), (3000, 0, 0));
        assert_eq!(harness.faults(), 2, "those of 20 and 39");
        let fresh = open(host, C).expect("another window");
        assert!(fresh > 0 && harness.view(3).base != b.base);

        host.manage(B, run(2, 8)).expect("managed");
        let gone = host.close(B, 1);
        assert!(gone >= 2 * 4096, "not kept: {gone}");
        assert_eq!(host.close(C, 0), 0);
        let other = host.open_native(A, PoolPage(0), (64, 40), run(2, 7));
        assert!(other.is_ok_and(|held| held > 0), "another shape: {other:?}");
        host.close(A, 0);
        host.free_kept();
        assert_eq!((host.windows_held(), host.free_kept()), (0, 0));
    });
}

/// Goal: who still uses the addresses of a window that is kept gets a signal, as after any window's
/// end, wherever it was.
#[test]
fn what_the_kernel_served_is_inaccessible() {
    inaccessible("what_the_kernel_served_is_inaccessible", 3, libc::SIGSEGV);
}

/// The same for the rest of the window.
#[test]
fn what_it_did_not_is_inaccessible() {
    inaccessible("what_it_did_not_is_inaccessible", 20, libc::SIGBUS);
}

fn inaccessible(test: &str, page: u32, signal: i32) {
    let ended = in_child(test, || {
        let harness = harness();
        open(&harness.host, A).expect("a window");
        let a = harness.view(1);
        a.set(page, 0, 5);
        harness.host.close(A, 0);
        a.get(page, 0);
    });
    assert_eq!(ended.map(|(end, _)| end), Some(End::Signal(signal)));
}

/// Goal: few are kept, the youngest; what is refused on the way costs a kept window, not a fork.
#[test]
fn few_are_kept_and_refusals_cost_one() {
    bounded(|| {
        let harness = harness();
        let host = &harness.host;
        let many = || {
            let spaces = (10..60).map(SpaceNo);
            spaces
                .clone()
                .for_each(|space| assert!(open(host, space).is_ok()));
            spaces.map(|space| host.close(space, 1)).sum::<u64>()
        };
        assert!(many() > 0);
        let held = host.windows_held();
        assert!(many() > 0);
        assert_eq!(host.windows_held(), held, "those that were kept came back");
        assert!((16 * 4096..30 * 4096).contains(&held), "{held}");
        if !arm(Call::Allow, 0, 1, libc::ENOMEM) {
            return;
        }
        assert!(open(host, A).is_ok_and(|held| held > 0), "a new one");
        assert_eq!(disarm(), 0);
        assert_eq!(open(host, B), Ok(0));
        assert!(arm(Call::DontNeed, 0, 1, libc::EINVAL));
        assert!(host.close(B, 0) > 0, "it is not empty, and goes");
        assert_eq!(disarm(), 0);
        host.close(A, 0);
        host.free_kept();
        assert_eq!(host.windows_held(), 0);
    });
}
