//! Goal: manager and oracle agree on every history, and where they do not the history is made as
//! short as it can be. Method: random operations field by field, so that each shrinks on its own; a
//! full audit after every step.
#![cfg(not(shuttle))]

use memfold_sim::SimStore;
use memfold_stores::CompressedStore;
use memfold_verify::run::{effort, words};
use memfold_verify::stores::Built;
use memfold_verify::workload::{MIXES, Mix};
use proptest::prelude::*;

/// Small spaces, a full audit after every step.
fn mix(which: usize) -> Mix {
    Mix {
        pages: (3, 18),
        audit_every: 1,
        ..MIXES[which]
    }
}

/// One word, as `workload` reads it.
fn word() -> impl Strategy<Value = u64> {
    let fields = (
        0..256u64,
        0..8u64,
        0..18u64,
        0..4096u64,
        0..64u64,
        0..256u64,
        0..32u64,
    );
    fields.prop_map(|(kind, space, page, offset, len, value, count)| {
        kind | space << 8 | page << 16 | offset << 26 | len << 38 | value << 44 | count << 52 | 3 << 60
    })
}

fn agree<S: Built>(which: usize, cases: u32) {
    let config = ProptestConfig {
        cases: cases * effort() as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let histories = prop::collection::vec(word(), 1..120);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&histories, |history| {
        words::<S>(&mix(which), &history);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{}: {error}", MIXES[which].name);
    }
}

#[test]
fn usual() {
    agree::<SimStore>(0, 250);
}

#[test]
fn usual_compressed() {
    agree::<CompressedStore>(0, 250);
}

#[test]
fn with_refusals() {
    let refusing = MIXES
        .iter()
        .position(|mix| mix.refusals != 0)
        .expect("a mix that refuses");
    agree::<SimStore>(refusing, 250);
}

#[test]
fn through_the_store() {
    let churn = MIXES
        .iter()
        .position(|mix| mix.name == "churn")
        .expect("a mix of that name");
    agree::<CompressedStore>(churn, 250);
}
