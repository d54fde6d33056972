//! Goal: the workloads reach what they are meant to reach; a driver that never evicts proves
//! nothing about eviction. Method: the manager's own counters, added up over all mixes, and the
//! failures that were excused.
#![cfg(not(shuttle))]

use memfold_mm::Stats;
use memfold_sim::{Rng, SimStore};
use memfold_stores::CompressedStore;
use memfold_verify::harness::{Harness, Tally};
use memfold_verify::run::on_all_cores;
use memfold_verify::stores::Built;
use memfold_verify::workload::{MIXES, Mix, Op};

fn run<S: Built>(mix: &Mix, seed: u64) -> (Stats, Tally) {
    let mut rng = Rng::new(seed);
    let mut harness: Harness<S> = Harness::new(seed, mix);
    (0..1500).for_each(|_| harness.step(Op::from_word(rng.word(), &mix.weights)));
    (harness.mm.stats(), harness.finish())
}

/// Each path of the manager, by the name of its counter.
fn paths(stats: &Stats) -> [(&'static str, u64); 35] {
    [
        ("zero_shown", stats.zero_shown),
        ("new_pages", stats.new_pages),
        ("shown", stats.shown),
        ("copied", stats.copied),
        ("reused", stats.reused),
        ("unprotected", stats.unprotected),
        ("copied_on_read", stats.copied_on_read),
        ("swapped_in", stats.swapped_in),
        ("swapped_in_shared", stats.swapped_in_shared),
        ("refaults", stats.refaults),
        ("promoted", stats.promoted),
        ("evictions", stats.evictions),
        ("evictions_clean", stats.evictions_clean),
        ("evictions_failed", stats.evictions_failed),
        ("deactivated", stats.deactivated),
        ("activated", stats.activated),
        ("forks", stats.forks),
        ("resets", stats.resets),
        ("merged", stats.merged),
        ("merge_zeroed", stats.merge_zeroed),
        ("merge_pinned", stats.merge_pinned),
        ("merge_resting", stats.merge_resting),
        ("merge_differ", stats.merge_differ),
        ("merge_changed", stats.merge_changed),
        ("merge_refused", stats.merge_refused),
        ("unmerged", stats.unmerged),
        ("direct_reclaims", stats.direct_reclaims),
        ("bases_freed", stats.bases_freed),
        ("called_in", stats.called_in),
        ("native_forks", stats.native_forks),
        ("native_ended", stats.native_ended),
        ("native_copied", stats.native_copied),
        ("arrays_freed", stats.arrays_freed),
        ("stood_in", stats.stood_in),
        ("tables_freed", stats.tables_freed),
    ]
}

#[test]
fn every_path_is_taken_often() {
    let (mut sums, mut all, mut plain) = ([0; 35], Tally::default(), 0);
    // What takes a refusal and something else at once is rare, and that all that is lent is taken:
    // more of those that refuse, or have little room.
    let seeds = |mix: &Mix| match mix.name {
        "tight" | "starved" => 3..11,
        _ if mix.refusals == 0 => 3..5,
        _ => 3..7,
    };
    let runs: Vec<_> = MIXES
        .iter()
        .flat_map(|mix| seeds(mix).map(move |seed| (mix, seed)))
        .collect();
    let both = |&(mix, seed): &(&'static Mix, u64)| {
        (
            mix,
            [run::<SimStore>(mix, seed), run::<CompressedStore>(mix, seed)],
        )
    };
    for (mix, both) in on_all_cores(&runs, both) {
        for (stats, tally) in both {
            let counts = paths(&stats);
            all.left += tally.left;
            all.late += tally.late;
            all.copies += tally.copies;
            // Plain mixes have them, too.
            plain += if mix.refusals == 0 { tally.left } else { 0 };
            println!("{:9} {tally:?}\n          {counts:?}", mix.name);
            counts
                .iter()
                .zip(&mut sums)
                .for_each(|(&(_, count), sum)| *sum += count);
            assert!(
                tally.failed * 2 < tally.steps,
                "{}: most operations fail: {tally:?}",
                mix.name
            );
        }
    }
    assert!(
        all.left >= 50,
        "{} drops were refused and left for later",
        all.left
    );
    assert!(plain >= 10, "{plain} of them where nothing else is refused");
    assert!(all.late >= 50, "{} of them were completed later", all.late);
    assert!(all.copies >= 400, "{} children of fork(2)", all.copies);
    for ((name, _), sum) in paths(&Stats::default()).iter().zip(sums) {
        // These take two chances at once.
        let rare = ["merge_changed", "merge_refused", "called_in", "native_copied"].contains(name);
        assert!(
            sum >= if rare { 2 } else { 100 },
            "{name} was reached {sum} times only"
        );
    }
}
