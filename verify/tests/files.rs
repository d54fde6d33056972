//! Goal: spaces that map files agree with arrays of bytes over long random histories, and no store
//! is lost on its way to a file. Method: seeded simulation in a budget that holds a part of it,
//! with refused calls of the machine and of the files; a failing seed is printed.
#![cfg(not(shuttle))]

use memfold_verify::{files, run};

#[test]
fn files_under_pressure() {
    let (mut synced, mut write_errors, mut evicted, mut locked) = (0, 0, 0, 0);
    let (mut moved, mut half_moved, mut given_up) = (0, 0, 0);
    let tally = |&seed: &u64| {
        std::panic::catch_unwind(|| files::run(seed, 1500)).unwrap_or_else(|caught| {
            eprintln!("seed {seed}; replay with MEMFOLD_SEED={seed}");
            std::panic::resume_unwind(caught)
        })
    };
    let seeds: Vec<u64> = run::seeds(40).collect();
    for tally in run::on_all_cores(&seeds, tally) {
        synced += tally.synced;
        write_errors += tally.write_errors;
        evicted += tally.evicted;
        locked += tally.locked;
        moved += tally.moved;
        half_moved += tally.half_moved;
        given_up += tally.given_up;
    }
    println!("{synced} syncs, {write_errors} refused writes, {evicted} pages evicted, {locked} locks");
    println!("{moved} moves, {half_moved} pages whose areas stayed moved");
    println!("{given_up} pages that were given up went");
    if std::env::var_os("MEMFOLD_SEED").is_none() {
        assert!(synced > 1000 && write_errors > 30 && evicted > 1000 && locked > 400);
        assert!(moved > 400 && half_moved > 0 && given_up > 100);
    }
}
