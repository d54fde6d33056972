//! Migration: the bytes of exported frames move out of a window, to the pool.
//!
//! Where the frame's own place in the backing is taken by another version of the page, it moves to
//! a one in the overflow range (`residency.rs`). Whether an overflow place will also do when only
//! the record of a place found no room, the caller says: clones copy what they could have shared.
//! Under the space's and the frame's lock.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::backing::BackingNo;
use crate::budget::{Charge, Class, Need, Refund};
use crate::emptied::hear_of_emptied;
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, Store};
use crate::mm::{Mm, PAGE};
use crate::neighbours::LockedRun;
use crate::residency::{NewPlace, NewRun, NoRecord};
use crate::space::SpaceGuard;
use crate::table::TableNo;

/// Copies an exported frame of this window to the pool, where it stands from then on. The private
/// page stays, and is nobody's: the caller drops it, or gives it to another frame. Charges nothing.
pub(crate) fn copy_to_pool<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    locked: &mut Locked<'_>,
    no_record: NoRecord,
) -> Result<(), Stop> {
    let place = NewPlace::any(mm, space.backing, page, locked, no_record)?;
    let copied = place.copy_from(space.no);
    copied.inspect_err(|&error| hear_of_emptied(mm, locked, page, error))?;
    place.keep(locked);
    space.slot.unexport();
    Ok(())
}

/// Moves an exported frame out of this window when its own place is taken by another version.
pub(crate) fn migrate_to_overflow<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    mut locked: Locked<'_>,
) -> Result<(), Stop> {
    let mut charge = Charge::take(&mm.budget, Class::Pool, PAGE, Need::Reclaim).ok_or(Stop::NoRoom)?;
    leave(mm, space, page, &mut locked)?;
    let before = locked.charge.replace(charge.page());
    mm.budget.refund_page(before);
    Ok(())
}

/// Moves an exported frame out of this window into room that is set aside: while both copies exist,
/// one page more than what is charged for pages is held. Fails only when the machine refuses. The
/// lock of the standby pages is held, so that one frame at a time uses that room.
pub(crate) fn migrate_by_standby<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    mut locked: Locked<'_>,
) -> Result<(), Stop> {
    leave(mm, space, page, &mut locked)?;
    mm.budget.reclass_page(&mut locked.charge, Class::Pool);
    Ok(())
}

/// The frame's bytes are in the pool and not in this window any more. Charges nothing.
fn leave<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    locked: &mut Locked<'_>,
) -> Result<(), Stop> {
    copy_to_pool(mm, space, page, locked, NoRecord::Overflow)?;
    mm.host.drop_pages(space.no, Run::one(page));
    mm.counters.promoted.one();
    Ok(())
}

/// Moves the frame and its neighbours, private pages of `owner`, to their places in the pool; false
/// when another version of this page stands there already.
pub(crate) fn migrate_around<H: Host, S: Store>(
    mm: &Mm<H, S>,
    (leaf, page): (TableNo, PageNo),
    locked: Locked<'_>,
    owner: SpaceNo,
    backing: BackingNo,
) -> Result<bool, Stop> {
    // The places go back before the frames' locks do.
    let mut held = LockedRun::of(leaf, page, locked);
    let mut places = NewRun::new(mm, backing, page);
    if !places.claim(page, held.at(page))? {
        return Ok(false);
    }
    let mut run = held.widen(mm, |near, locked| {
        locked.residence == Residence::Private(owner)
            && locked.frame.is_shared()
            && places.claim(near, locked) == Ok(true)
    });
    // Room for the second copies, or, where room is short, for the page's alone.
    let room = |bytes, need| Charge::take(&mm.budget, Class::Pool, bytes, need);
    let charge = match room(u64::from(run.len) * PAGE, Need::Normal) {
        Some(charge) => charge,
        None => {
            run = Run::one(page);
            room(PAGE, Need::Reclaim).ok_or(Stop::NoRoom)?
        }
    };
    match migrate_run(mm, places, run, &mut held, owner, charge) {
        Err(Stop::Host(HostError::Unprotected | HostError::Emptied)) if run.len > 1 => (),
        done => return done.map(|()| true),
    }
    // One of the neighbours cannot be vouched for: the page alone. Its place was given back with
    // theirs.
    let charge = room(PAGE, Need::Reclaim).ok_or(Stop::NoRoom)?;
    let mut places = NewRun::new(mm, backing, page);
    if !places.claim(page, held.at(page))? {
        return Ok(false);
    }
    migrate_run(mm, places, Run::one(page), &mut held, owner, charge)?;
    Ok(true)
}

fn migrate_run<H: Host, S: Store>(
    mm: &Mm<H, S>,
    mut places: NewRun<'_, H, S>,
    run: Run,
    held: &mut LockedRun<'_>,
    owner: SpaceNo,
    mut charge: Charge<'_>,
) -> Result<(), Stop> {
    if let Err(e) = places.copy_from(owner, run) {
        drop(places);
        if run.len == 1 {
            hear_of_emptied(mm, held.at(run.first), run.first, e);
        }
        return Err(e.into());
    }
    mm.host.drop_pages(owner, run);
    let mut refund = Refund::default();
    for page in run.pages() {
        let locked = held.at(page);
        places.keep(page, locked);
        refund.add(locked.charge.replace(charge.page()));
        mm.spaces.get(owner.0).unexport();
    }
    refund.pay(&mm.budget);
    mm.counters.promoted.add(u64::from(run.len));
    Ok(())
}
