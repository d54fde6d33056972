//! Many windows: addresses and records are used again, and the kernel's count of mappings is kept
//! low.

mod common;

use common::{Harness, bounded, run};
use memfold_host::FaultReply;
use memfold_host::addr::{PoolPage, SpaceNo};
use memfold_host::{Host, HostError};
use memfold_linux::{Delivery, LinuxHost};

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .expect("maps")
        .lines()
        .count()
}

fn zeros(harness: &Harness) {
    harness.rule(|host, space, page, _| {
        host.fill_zero(space, run(page.0, 1)).expect("memory");
        FaultReply::Resolved
    });
}

/// Goal: addresses and records come back, faults find the right space, and all unused addresses are
/// few mappings. Method: 2,000 windows of several sizes, closed and opened again in another order,
/// with a fault in each. The two tests here run one after the other, because they count the
/// process's mappings.
#[test]
fn windows_come_and_go() {
    bounded(|| {
        two_thousand();
        wasm_sized();
    });
}

fn two_thousand() {
    let harness = Harness::with(Delivery::InThread);
    zeros(&harness);
    let before = mappings();
    let mut bases = std::collections::HashSet::new();
    for round in 0..4u32 {
        for n in 0..2000u32 {
            let space = (n * 7 + round) % 2000;
            let reserve = [16, 1 << 14, (1 << 14) + 1, 1 << 16][(n % 4) as usize];
            harness
                .host
                .open(SpaceNo(space), PoolPage(u64::from(n) * 16), reserve, 16)
                .expect("a window");
            let view = harness.view(space);
            bases.insert(view.base);
            view.set(n % 16, 0, u64::from(n) + 1);
            assert_eq!(view.get(n % 16, 0), u64::from(n) + 1);
            assert_eq!(
                harness.host.locate(view.base + 4096).map(|at| at.0),
                Some(SpaceNo(space))
            );
        }
        assert_eq!(harness.faults(), 2000);
        assert!(mappings() <= before + 4000 + 8, "two mappings a window");
        for n in 0..2000 {
            harness.host.close(SpaceNo((n * 13 + 1) % 2000), 0);
        }
        assert!(
            mappings() <= before + 8,
            "unused addresses have joined: {} mappings, {before} before",
            mappings()
        );
    }
    assert!(
        bases.len() < 4000,
        "addresses come back: {} of 8000 were new",
        bases.len()
    );
}

/// Goal: 30,000 windows as Wasm wants them, under the usual limit of 65,530 mappings.
fn wasm_sized() {
    let harness = Harness::new(LinuxHost::builder().guard_bytes(32 << 20));
    zeros(&harness);
    let before = mappings();
    for space in 0..30_000 {
        let opened = harness.host.open(SpaceNo(space), PoolPage(0), 1 << 20, 16);
        assert!(opened.is_ok(), "window {space}: {opened:?}");
        if space % 100 == 0 {
            harness.view(space).set(3, 0, u64::from(space));
        }
    }
    assert!(mappings() <= before + 60_100, "{} mappings", mappings());
    assert!(
        (0..30_000)
            .step_by(100)
            .all(|space| harness.view(space).get(3, 0) == u64::from(space))
    );
    // As many more as there are addresses or mappings; then a clean refusal, and one closed makes
    // room for one.
    let mut space = 30_000;
    let refused = loop {
        match harness.host.open(SpaceNo(space), PoolPage(0), 1 << 20, 16) {
            Ok(_) => space += 1,
            Err(error) => break error,
        }
        assert!(space < 40_000, "there is an end");
    };
    println!("{space} windows, then: {refused}");
    // Addresses or mappings, whichever ends first.
    assert!(
        matches!(
            refused,
            HostError::Window {
                call: "mmap" | "madvise" | "mprotect" | "userfaultfd's UFFDIO_REGISTER",
                code: libc::ENOMEM,
                ..
            }
        ),
        "{refused}"
    );
    harness.host.close(SpaceNo(17), 0);
    harness
        .host
        .open(SpaceNo(17), PoolPage(0), 1 << 20, 16)
        .expect("the closed one's place");
    harness.view(17).set(0, 0, 1);
}
