//! Loans: who was evicted goes on, whatever others have filled the budget with.

use super::{EACH, Loans};
use crate::Giving;
use crate::addr::{Access, PAGE_SIZE, PageNo, SpaceNo};
use crate::budget::{Class, Need};
use crate::host::StoreError;
use crate::mm::{PAGE, frames_kept};
use crate::reclaim::{call_in, end_loan};
use crate::rig::{
    Harness, frame_at, limited, poke, resident, run, saves, saves_nothing, sound, space, value, write,
};
use crate::space::FaultError;
use memfold_sync::atomic::{AtomicBool, Ordering};
use memfold_sync::thread;

/// A tenant of so many pages, all of them evicted, and a budget full to where returning pages end.
fn full(pages: u32) -> (Harness, SpaceNo) {
    let mm = limited(4 << 20);
    let tenant = space(&mm, pages);
    write(&mm, tenant, 0..pages, 1);
    assert_eq!(mm.evict(tenant, run(0, pages)), Ok(pages.into()));
    fill(&mm, Need::Refault);
    (mm, tenant)
}

/// Fills the budget as far as this need goes, with what cannot be reclaimed.
fn fill(mm: &Harness, need: Need) {
    for bytes in [PAGE, 64, 1] {
        while mm.budget.charge(Class::Stored, bytes, need) {}
    }
}

fn store(mm: &Harness, space: SpaceNo, page: u32, value: u8) -> Result<(), FaultError> {
    mm.fault(space, PageNo(page), Access::Write)?;
    poke(mm, space, page, value);
    Ok(())
}

/// Goal: with a budget that others have filled for good, a space all of whose pages were evicted
/// can store to each of them, in any order and more than once, and nothing is lost.
#[test]
fn what_was_evicted_is_stored_to() {
    let (mm, tenant) = full(40);
    for round in 2..5 {
        for page in (0..40).map(|n| n * 7 % 40) {
            assert_eq!(store(&mm, tenant, page, round), Ok(()), "page {page}");
            assert!(resident(&mm, tenant).len() <= EACH);
        }
        assert!((0..40).all(|page| value(&mm, tenant, page) == round));
    }
    assert!(mm.usage().peak <= mm.usage().limit);
    sound(&mm);
}

/// Goal: stores with room on loan make nothing go that could not before, so that reclaim has one
/// run that finds nothing, not one for each of them. Method: one frame could go but for its lock,
/// which somebody holds; looks are counted.
#[test]
fn reclaim_is_not_asked_for_each() {
    let mm = limited(4 << 20);
    let (tenant, other) = (space(&mm, 8), space(&mm, 1));
    write(&mm, tenant, 0..8, 1);
    assert_eq!(mm.evict(tenant, run(0, 8)), Ok(8));
    write(&mm, other, 0..1, 1);
    fill(&mm, Need::Refault);
    let looks = || mm.stats().scanned;
    let (is_locked, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let wait = |event: &AtomicBool| {
        // Acquire: what was done before it is seen.
        while !event.load(Ordering::Acquire) {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _busy = mm.frames.lock(frame_at(&mm, other, 0).expect("written"));
            // Release: as `wait` says.
            is_locked.store(true, Ordering::Release);
            wait(&is_over);
        });
        wait(&is_locked);
        let stored: Vec<_> = (0..8)
            .map(|page| (store(&mm, tenant, page, 2), looks()))
            .collect();
        // Release: as `wait` says.
        is_over.store(true, Ordering::Release);
        let (_, first) = stored[0];
        assert!(first > 0, "the first looks");
        assert_eq!(
            stored,
            [(Ok(()), first); 8],
            "nothing has changed since the first"
        );
    });
    sound(&mm);
}

/// Goal: an instruction that stores across a border has both pages at once; reclaim in between
/// takes neither.
#[test]
fn two_pages_stand_together() {
    let (mm, tenant) = full(8);
    assert_eq!(store(&mm, tenant, 3, 2), Ok(()));
    mm.reclaim(100);
    assert_eq!(store(&mm, tenant, 4, 2), Ok(()));
    mm.reclaim(100);
    assert_eq!(resident(&mm, tenant), [3, 4]);
    sound(&mm);
}

/// Goal: a space that fills its pages on loan with what does not compress fails by itself, and
/// another space goes on. Method: when the harmful pages are tried, nothing that is stored saves
/// anything; that is known of them then, until they are stored to.
#[test]
fn who_keeps_a_loan_has_no_other() {
    let mm = limited(4 << 20);
    let (harmful, tenant) = (space(&mm, 8), space(&mm, 8));
    for space in [harmful, tenant] {
        write(&mm, space, 0..8, 1);
        assert_eq!(mm.evict(space, run(0, 8)), Ok(8));
    }
    fill(&mm, Need::Refault);
    for page in 0..2 {
        assert_eq!(store(&mm, harmful, page, 2), Ok(()));
        mm.store.price(saves_nothing);
        assert!(!end_loan(&mm, harmful, PageNo(page)));
        mm.store.price(saves);
    }
    let failed = store(&mm, harmful, 2, 2);
    assert!(matches!(failed, Err(FaultError::OverBudget { .. })), "{failed:?}");
    for page in 0..8 {
        assert_eq!(store(&mm, tenant, page, 3), Ok(()), "page {page}");
    }
    assert!((0..8).all(|page| value(&mm, tenant, page) == 3));
    assert_eq!(resident(&mm, harmful), [0, 1]);
    sound(&mm);
}

/// Goal: what the host stores itself comes back as what programs store to; what it holds on to is
/// not counted on.
#[test]
fn what_was_evicted_is_pinned() {
    let (mm, tenant) = full(40);
    for page in (0..40).map(|n| n * 7 % 40) {
        assert_eq!(mm.pin(tenant, run(page, 1)), Ok(()), "page {page}");
        poke(&mm, tenant, page, 2);
        mm.unpin(tenant, run(page, 1));
        assert!(resident(&mm, tenant).len() <= EACH);
    }
    assert!((0..40).all(|page| value(&mm, tenant, page) == 2));
    assert_eq!(mm.pin(tenant, run(0, EACH as u32)), Ok(()));
    let failed = mm.pin(tenant, run(5, 1));
    assert!(matches!(failed, Err(FaultError::OverBudget { .. })), "{failed:?}");
    mm.unpin(tenant, run(0, EACH as u32));
    assert_eq!(mm.pin(tenant, run(5, 1)), Ok(()));
    mm.unpin(tenant, run(5, 1));
    sound(&mm);
}

/// Goal: where other spaces have all that can be lent, they give it back for one more.
#[test]
fn loans_of_others_are_called_in() {
    let mm = limited(4 << 20);
    let spaces = [(); 12].map(|()| space(&mm, 4));
    for space in spaces {
        write(&mm, space, 0..4, 1);
        assert_eq!(mm.evict(space, run(0, 4)), Ok(4));
    }
    fill(&mm, Need::Refault);
    for (round, page) in [(2, 0), (3, 1), (4, 2)] {
        for space in spaces {
            assert_eq!(store(&mm, space, page, round), Ok(()), "{space:?}, page {page}");
        }
    }
    for space in spaces {
        let values: Vec<u8> = (0..4).map(|page| value(&mm, space, page)).collect();
        assert_eq!(values, [2, 3, 4, 1]);
    }
    assert!(mm.usage().peak <= mm.usage().limit);
    sound(&mm);
}

/// Goal: who stores with room on loan has a frame for it, though the array of frames has no room to
/// grow.
#[test]
fn frames_are_kept_for_loans() {
    let (mm, tenant) = full(4);
    let kept = frames_kept(&mm);
    let taken: Vec<u32> = std::iter::from_fn(|| mm.frames.alloc_leaving(kept, |_| false)).collect();
    fill(&mm, Need::Loan);
    mm.budget.refund(Class::Stored, PAGE);
    for page in 0..4 {
        assert_eq!(store(&mm, tenant, page, 2), Ok(()), "page {page}");
    }
    taken.into_iter().for_each(|frame| mm.frames.free(frame));
    sound(&mm);
}

/// Goal: a page whose loan is forgotten is a victim again, and one whose frame forks share as well.
#[test]
fn loans_end_with_their_space() {
    let (mm, tenant) = full(4);
    assert_eq!(store(&mm, tenant, 0, 2), Ok(()));
    assert_eq!(mm.stats().unevictable_frames, 1);
    mm.budget.refund(Class::Stored, 32 * PAGE);
    let fork = mm.fork(tenant).expect("there is room now");
    mm.drop_space(tenant).expect("it lives");
    assert_eq!(mm.stats().unevictable_frames, 0);
    assert_eq!(mm.reclaim(1), 1);
    assert_eq!(
        (0..4).map(|page| value(&mm, fork, page)).collect::<Vec<_>>(),
        [2, 1, 1, 1]
    );
    sound(&mm);
}

/// Goal: a loan whose page went does not end the loan of another page that has its frame now.
#[test]
fn a_loan_names_what_is_anothers_frame() {
    let mm = limited(4 << 20);
    let [first, second] = [(); 2].map(|()| space(&mm, 4));
    for space in [first, second] {
        write(&mm, space, 0..4, 1);
        assert_eq!(mm.evict(space, run(0, 4)), Ok(4));
    }
    fill(&mm, Need::Refault);
    assert_eq!(store(&mm, first, 0, 2), Ok(()));
    let frame = frame_at(&mm, first, 0);
    assert_eq!(mm.evict(first, run(0, 1)), Ok(1));
    assert_eq!(store(&mm, second, 0, 2), Ok(()));
    assert_eq!(frame_at(&mm, second, 0), frame);
    // It looks at the loans of its space, which are none.
    assert_eq!(store(&mm, first, 1, 2), Ok(()));
    assert_eq!(mm.stats().unevictable_frames, 2);
    sound(&mm);
}

/// Goal: a loan whose frame was freed, and with it the chunk of the array that it stood in, ends
/// without a word.
#[test]
fn a_loan_outlives_its_frame() {
    let (mut mm, tenant) = full(4);
    mm.budget.refund(Class::Stored, 4 * PAGE);
    let first: Vec<u32> = (0..64)
        .map_while(|_| mm.budget.take(&mm.frames, Need::Normal))
        .collect();
    fill(&mm, Need::Refault);
    assert_eq!(store(&mm, tenant, 0, 2), Ok(()));
    first.into_iter().for_each(|frame| mm.frames.free(frame));
    mm.discard(tenant, run(0, 1)).expect("it lives");
    assert_ne!(crate::give_back_tables(&mut mm, Giving::All), 0);
    mm.drop_space(tenant).expect("it lives");
    sound(&mm);
}

/// A budget whose loans all are noise that others keep: those spaces, two pages of each, and a
/// tenant all of whose pages were evicted.
fn lent_to_noise() -> (Harness, Vec<SpaceNo>, SpaceNo) {
    let (mm, tenant) = full(8);
    mm.budget.refund(Class::Stored, 64 * PAGE);
    let harmful: Vec<SpaceNo> = (0..mm.loans.most() / EACH).map(|_| space(&mm, 4)).collect();
    for &space in &harmful {
        write(&mm, space, 0..4, 1);
        assert_eq!(mm.evict(space, run(0, 4)), Ok(4));
    }
    fill(&mm, Need::Refault);
    for &space in &harmful {
        for page in 0..EACH as u32 {
            assert_eq!(store(&mm, space, page, 2), Ok(()));
        }
    }
    mm.store.price(|prices| prices.noise = Some(2));
    (mm, harmful, tenant)
}

/// Goal: where all that can be lent is noise that its spaces keep, a store to an evicted page
/// succeeds all the same: the oldest of the noise is lost, is lost for whoever looks at it, by
/// whatever way, and nothing else is; the space goes on without that page.
#[test]
fn noise_is_called_in() {
    let (mm, harmful, tenant) = lent_to_noise();
    assert_eq!(store(&mm, tenant, 5, 3), Ok(()));
    assert_eq!((value(&mm, tenant, 5), mm.stats().called_in), (3, 1));
    let (first, page) = (harmful[0], PageNo(0));
    let source = StoreError::CalledIn;
    let lost = FaultError::PageLost {
        space: first,
        page,
        source,
    };
    assert_eq!(mm.read_page(first, page, &mut [0; PAGE_SIZE]), Err(lost.into()));
    for access in [Access::Write, Access::Read] {
        assert_eq!(mm.fault(first, page, access), Err(lost));
        assert_eq!(mm.failure(first), Some(lost));
        assert_eq!(mm.take_failure(first), Some(lost));
    }
    assert_eq!(mm.pin(first, run(0, 1)), Err(lost));
    assert_eq!(
        mm.stats().called_in,
        1,
        "who asks for what is lost takes nothing from others"
    );
    for &space in &harmful[1..] {
        assert_eq!([0, 1, 2, 3].map(|page| value(&mm, space, page)), [2, 2, 1, 1]);
    }
    sound(&mm);
    mm.discard(first, run(0, 1)).expect("it lives");
    assert_eq!([0, 1, 2, 3].map(|page| value(&mm, first, page)), [0, 2, 1, 1]);
    sound(&mm);
}

/// Goal: a space that keeps its own loans with noise gets none of others'.
#[test]
fn who_keeps_noise_calls_nothing_in() {
    let (mm, harmful, _) = lent_to_noise();
    let failed = store(&mm, harmful[1], 3, 2);
    assert!(matches!(failed, Err(FaultError::OverBudget { .. })), "{failed:?}");
    assert_eq!(mm.stats().called_in, 0);
    sound(&mm);
}

/// Goal: what a host has pinned, and what a fork shares, is not called in; forking pays the loans
/// back.
#[test]
fn what_others_hold_is_not_called_in() {
    let (mm, harmful, tenant) = lent_to_noise();
    for &space in &harmful {
        assert_eq!(mm.pin(space, run(0, EACH as u32)), Ok(()));
    }
    let failed = store(&mm, tenant, 0, 3);
    assert!(matches!(failed, Err(FaultError::OverBudget { .. })), "{failed:?}");
    assert_eq!((mm.stats().called_in, value(&mm, harmful[0], 0)), (0, 2));
    for &space in &harmful {
        mm.unpin(space, run(0, EACH as u32));
    }
    mm.budget.refund(Class::Stored, 64 * PAGE);
    let fork = mm.fork(harmful[0]).expect("there is room now");
    assert_eq!(Loans::of(&mm).pages(harmful[0]), [None; EACH]);
    assert!(!call_in(&mm, harmful[0], PageNo(0)), "the fork shares it");
    assert_eq!([0, 1, 2].map(|page| value(&mm, fork, page)), [2, 2, 1]);
    sound(&mm);
}
