//! The method: a scenario again and again, each time with another call that fails.

use memfold_mm::{Digest, Refuse};
use memfold_sim::{Lasting, Plan, SimStore};
use memfold_verify::harness::Harness;
use memfold_verify::workload::{MIXES, Mix, Op};
use std::sync::atomic::{AtomicU64, Ordering};

pub const MIX: Mix = Mix {
    limit_bytes: 1 << 20,
    spaces: 9,
    pages: (16, 16),
    audit_every: 1,
    ..MIXES[0]
};

/// How many operations ended in a stated error, by seam; and how many of these were repeated and
/// compared.
static OUTCOMES: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];

/// What fails.
#[derive(Clone, Copy, Debug)]
pub enum Seam {
    /// The n-th call of the machine.
    Host,
    /// The n-th call of the store.
    Store,
    /// The n-th charge of the budget, or item taken of an array.
    Charge,
    /// The budget, when `n` pages more are taken.
    Budget,
}

pub fn prepared(setup: &[Op], seed: u64) -> Harness<SimStore> {
    let mut harness: Harness<SimStore> = Harness::new(seed, &MIX);
    harness.watch();
    setup.iter().for_each(|&op| harness.step(op));
    assert_eq!(harness.tally().failed, 0, "the setup fails");
    harness
}

/// What the system is after each operation, when nothing fails.
fn course(setup: &[Op], action: &[Op]) -> Vec<Digest> {
    let mut harness = prepared(setup, 0);
    let digests = action.iter().map(|&op| {
        harness.step(op);
        memfold_mm::Digest::of(&harness.mm)
    });
    digests.collect()
}

/// Makes the `n`-th call fail.
pub fn arm(harness: &mut Harness<SimStore>, seam: Seam, n: u64, lasting: Lasting) {
    match seam {
        Seam::Budget => harness.fill_up(n),
        Seam::Charge => harness.mm.refusals().set(match lasting {
            Lasting::Once => Refuse::Nth(n),
            Lasting::FromThenOn => Refuse::From(n),
        }),
        Seam::Host => harness.mm.host().set_plan(Plan::nth(n, lasting)),
        Seam::Store => harness.mm.store().set_plan(Plan::nth(n, lasting)),
    }
}

pub fn refused(harness: &Harness<SimStore>, seam: Seam, n: u64) -> u64 {
    match seam {
        Seam::Budget => u64::from(n < 20),
        Seam::Charge => harness.mm.refusals().refused(),
        Seam::Host => harness.mm.host().plan_counts().1,
        Seam::Store => harness.mm.store().plan_counts().1,
    }
}

/// Runs the setup, then the action with the `n`-th call failing; true when a call did.
fn once(setup: &[Op], action: &[Op], course: &[Digest], seam: Seam, n: u64, lasting: Lasting) -> bool {
    let mut harness = prepared(setup, n);
    arm(&mut harness, seam, n, lasting);
    let mut left = action.iter().zip(course);
    let mut alike = true;
    for (&op, should) in left.by_ref() {
        let (failed, before) = (harness.tally().failed, refused(&harness, seam, n));
        harness.step(op);
        alike &= before == refused(&harness, seam, n) || harness.tally().failed != failed;
        let alone = matches!((seam, lasting), (Seam::Host | Seam::Store, Lasting::Once));
        if harness.tally().failed != failed && alike && alone {
            repeat(&mut harness, op, should);
        }
    }
    let refused = refused(&harness, seam, n);
    harness.relent();
    let failed = harness.tally().failed;
    // Relaxed: a number for people.
    OUTCOMES[seam as usize].fetch_add(failed, Ordering::Relaxed);
    if harness.spaces() != 0 {
        action.iter().for_each(|&op| harness.step(op));
    }
    assert_eq!(
        harness.tally().failed,
        failed,
        "the action fails although nothing is refused any more"
    );
    harness.finish();
    refused != 0
}

/// The operation failed, and everything before it went as it should: nothing is left of the failure
/// once it is repeated.
fn repeat(harness: &mut Harness<SimStore>, op: Op, should: &Digest) {
    let failed = harness.tally().failed;
    harness.step(op);
    assert_eq!(
        harness.tally().failed,
        failed,
        "{op:?} fails again, though only one call was refused"
    );
    assert_eq!(
        &memfold_mm::Digest::of(&harness.mm),
        should,
        "{op:?} after it had failed once"
    );
    // Relaxed: a number for people.
    OUTCOMES[4].fetch_add(1, Ordering::Relaxed);
}

/// Every call in turn, both ways, at all seams.
pub fn sweep(setup: &[Op], action: &[Op]) {
    let course = course(setup, action);
    let mut refused = 0;
    for seam in [Seam::Host, Seam::Store, Seam::Charge, Seam::Budget] {
        for lasting in [Lasting::Once, Lasting::FromThenOn] {
            let calls = (0..10_000)
                .take_while(|&n| once(setup, action, &course, seam, n, lasting))
                .count();
            assert!(calls < 10_000, "the scenario has no end");
            refused += calls;
        }
    }
    assert!(refused != 0, "the scenario makes no call that can fail");
    // Relaxed: a number for people.
    let [host, store, charge, budget, repeated] =
        [0, 1, 2, 3, 4].map(|n| OUTCOMES[n].load(Ordering::Relaxed));
    println!(
        "{refused} failures here; stated errors so far: {host} host, {store} store, {charge} charges, {budget} budget; {repeated} repeated"
    );
}
