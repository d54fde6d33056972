//! Goal: manager and oracle agree over long random histories of many kinds, on the real manager.
//! Method: seeded simulation, every read compared, all bytes and all invariants compared every few
//! steps; a failing seed is printed.
#![cfg(not(shuttle))]

use memfold_sim::SimStore;
use memfold_stores::CompressedStore;
use memfold_verify::run;
use memfold_verify::workload::{MIXES, Mix};

const STEPS: u64 = 1000;
const SEEDS: u64 = 20;

fn mix(name: &str) -> Mix {
    MIXES
        .into_iter()
        .find(|mix| mix.name == name)
        .expect("a mix of that name")
}

fn simulate(name: &str) {
    let mix = mix(name);
    let mut failed = 0;
    let seeds = match name {
        // Every second operation reclaims all there is before it fails: few of them say enough.
        "starved" => 1,
        // A digest before every call takes time.
        "refusing" | "refusing_roomy" | "records" => SEEDS / 3,
        _ => SEEDS,
    };
    for seed in run::seeds(seeds) {
        failed += run::seeded::<SimStore>(&mix, seed, STEPS).tally.failed;
        failed += run::seeded::<CompressedStore>(&mix, seed, STEPS).tally.failed;
    }
    println!("{name}: {failed} operations ended in a stated error");
}

macro_rules! simulations {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            simulate(stringify!($name));
        })*
    };
}

simulations!(
    usual,
    tiny,
    tight,
    starved,
    deep,
    crowd,
    wide,
    churn,
    siblings,
    refusing,
    refusing_roomy,
    records,
    served,
    served_tight
);

#[test]
fn the_same_seed_makes_the_same_calls() {
    for mix in MIXES.into_iter().filter(|mix| mix.name != "starved") {
        let once = run::seeded::<SimStore>(&mix, 7, 400);
        assert_eq!(once, run::seeded::<SimStore>(&mix, 7, 400), "{}", mix.name);
        let other = run::seeded::<SimStore>(&mix, 8, 400);
        assert_ne!(once.trace, other.trace, "{}", mix.name);
        let once = run::seeded::<CompressedStore>(&mix, 7, 400);
        assert_eq!(once, run::seeded::<CompressedStore>(&mix, 7, 400), "{}", mix.name);
    }
}
