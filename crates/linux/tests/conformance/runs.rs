//! Runs: a seed on a host, one line for each step and for what it came to; and the same with system
//! calls of the host refused.

use memfold_host::Store;
use memfold_linux::inject::{Call, arm, disarm};
use memfold_linux::{Delivery, LinuxHost};
use memfold_mm::{Digest, Ownership};
use memfold_sim::{Rng, SimHost, SimStore};
use memfold_stores::CompressedStore;

use crate::machine::Machine;
use crate::ops::{Op, next};
use crate::side::Side;

const STEPS: u64 = 120;

/// System calls and the codes with which they are refused.
const CALLS: [(Call, i32); 25] = [
    (Call::Truncate, libc::ENOSPC),
    (Call::PoolWrite, libc::ENOMEM),
    (Call::PoolWrite, libc::ENOSPC),
    (Call::PoolRead, libc::EIO),
    (Call::MapArena, libc::ENOMEM),
    (Call::MapWindow, libc::ENOMEM),
    (Call::MapWindow, libc::EAGAIN),
    (Call::MapDirect, libc::ENOMEM),
    (Call::Seal, libc::ENOMEM),
    (Call::Allow, libc::ENOMEM),
    (Call::DontFork, libc::EAGAIN),
    (Call::DontNeed, libc::EAGAIN),
    (Call::PopulateWrite, libc::ENOMEM),
    (Call::Register, libc::ENOMEM),
    (Call::Continue, libc::ENOMEM),
    (Call::Continue, libc::EEXIST),
    (Call::ZeroPage, libc::ENOMEM),
    (Call::ZeroPage, libc::EEXIST),
    (Call::Copy, libc::ENOMEM),
    (Call::Copy, libc::EEXIST),
    (Call::WriteProtect, libc::EAGAIN),
    (Call::WriteProtect, libc::ENOMEM),
    (Call::Splice, libc::ENOMEM),
    (Call::Splice, libc::EAGAIN),
    (Call::PipeRead, libc::ENOMEM),
];

/// Runs a seed on a host and prints a line for each step.
pub fn plain(host: &str, seed: u64) {
    match (host, seed % 2) {
        ("sim" | "still", 0) => steps(
            &mut Side::<SimHost, SimStore>::new(SimStore::new(seed), seed, delivery(host)),
            seed,
        ),
        ("sim" | "still", _) => steps(
            &mut Side::<SimHost, CompressedStore>::new(
                CompressedStore::with_seed(seed),
                seed,
                delivery(host),
            ),
            seed,
        ),
        (_, 0) => steps(
            &mut Side::<LinuxHost, SimStore>::new(SimStore::new(seed), seed, delivery(host)),
            seed,
        ),
        (_, _) => steps(
            &mut Side::<LinuxHost, CompressedStore>::new(
                CompressedStore::with_seed(seed),
                seed,
                delivery(host),
            ),
            seed,
        ),
    }
}

/// The same with areas of files.
pub fn files(host: &str, seed: u64) {
    match host {
        "sim" | "still" => crate::files::steps::<SimHost>(seed, delivery(host)),
        _ => crate::files::steps::<LinuxHost>(seed, delivery(host)),
    }
}

fn delivery(host: &str) -> Delivery {
    match host {
        "thread" | "still" => Delivery::Thread,
        _ => Delivery::InThread,
    }
}

fn steps<H: Machine, S: Store + 'static>(side: &mut Side<H, S>, seed: u64) {
    let mut rng = Rng::new(seed);
    for n in 0..STEPS {
        let op = next(&mut rng);
        println!("| seed {seed} step {n}: {op:?}");
        let outcome = side.apply(op);
        println!("| = {outcome:?} {}", side.result());
        if n % 8 == 7 {
            side.look();
        }
    }
    side.end();
}

/// Runs a seed on Linux; before each step a system call is refused.
pub fn refused(host: &str, seed: u64) {
    let mut side = Side::<LinuxHost, SimStore>::new(SimStore::new(seed), 0, delivery(host));
    side.ahead = true;
    let mut rng = Rng::new(seed ^ 0x7265_6675);
    for n in 0..STEPS {
        let op = next(&mut rng);
        let (call, errno) = CALLS[rng.below(CALLS.len() as u32) as usize];
        let times = [1, 1, 1, 4][rng.below(4) as usize];
        let before = memfold_mm::Digest::of(&side.mm);
        let reclaims = side.mm.stats().direct_reclaims;
        assert!(arm(call, u64::from(rng.below(3)), times, errno));
        let outcome = side.apply(op);
        disarm();
        println!("| seed {seed} step {n}: {op:?} {call:?} {errno} = {outcome:?}");
        if outcome.is_err() && single(op) && side.mm.stats().direct_reclaims == reclaims {
            let exports = matches!(op, Op::Fork { .. } | Op::Freeze { .. });
            unchanged(before, &memfold_mm::Digest::of(&side.mm), exports);
        }
        assert_eq!(memfold_mm::check(&side.mm), Ok(()));
        side.look();
    }
    side.end();
}

/// Whether the operation is one call of the manager that fails as a whole.
fn single(op: Op) -> bool {
    !matches!(
        op,
        Op::Fill { .. } | Op::Pin { .. } | Op::Unmerge { .. } | Op::Create { .. }
    )
}

/// After a fork that failed, the parent's pages may be down as shared though nobody shares them.
fn unchanged(mut before: Digest, after: &Digest, exports: bool) {
    for (no, space) in before.spaces.iter_mut().filter(|_| exports) {
        let pages = after.spaces.get(no).into_iter().flat_map(|space| &space.pages);
        for (page, now) in space.pages.iter_mut().flatten().zip(pages.flatten()) {
            if (page.ownership, now.ownership) == (Ownership::Exclusive, Ownership::Shared) {
                page.ownership = now.ownership;
            }
        }
    }
    assert_eq!(&before, after, "a failed operation left something");
}
