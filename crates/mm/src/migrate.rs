//! Moving the bytes of a lent frame out of a window, to the pool: one frame, by what its own page needs.
//!
//! Where the frame's own place in the home is taken by another version of the page, it moves to a
//! loose one (`residency.rs`). Whether a loose place will also do when only the record of a place
//! found no room, the caller says: clones copy what they could have shared. Under the space's and
//! the frame's lock. Runs of neighbours move in `fault/show.rs`.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::budget::{Charge, Class, Need};
use crate::emptied::hear_of_emptied;
use crate::error::Stop;
use crate::frame::Locked;
use crate::home::HomeNo;
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE};
use crate::residency::{NewPlace, NoRecord};

/// Copies a lent frame of this window to the pool, where it stands from then on. The private page
/// stays, and is nobody's: the caller drops it, or gives it to another frame. Charges nothing.
pub(crate) fn copy_out<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: SpaceNo,
    home: HomeNo,
    page: PageNo,
    locked: &mut Locked<'_>,
    no_record: NoRecord,
) -> Result<(), Stop> {
    let place = NewPlace::any(mm, home, page, locked, no_record)?;
    let copied = place.copy_from(no);
    copied.inspect_err(|&error| hear_of_emptied(mm, locked, page, error))?;
    place.keep(locked);
    mm.spaces.get(no.0).unlend();
    Ok(())
}

/// Moves a lent frame out of this window when its own place is taken by another version.
pub(crate) fn move_loose<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: SpaceNo,
    home: HomeNo,
    page: PageNo,
    mut locked: Locked<'_>,
) -> Result<(), Stop> {
    let mut charge = Charge::take(&mm.budget, Class::Pool, PAGE, Need::Reclaim).ok_or(Stop::NoRoom)?;
    copy_out(mm, no, home, page, &mut locked, NoRecord::Loose)?;
    mm.host.drop_pages(no, Run::one(page));
    let before = locked.charge.replace(charge.page());
    mm.budget.refund_page(before);
    mm.counters.promoted.one();
    Ok(())
}

/// Moves a lent frame out of this window into room that is set aside: while both copies exist, one
/// page more than what is charged for pages is held. Fails only when the machine refuses. The lock
/// of the standby pages is held, so that one frame at a time uses that room.
pub(crate) fn move_out<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: SpaceNo,
    home: HomeNo,
    page: PageNo,
    mut locked: Locked<'_>,
) -> Result<(), Stop> {
    copy_out(mm, no, home, page, &mut locked, NoRecord::Loose)?;
    mm.host.drop_pages(no, Run::one(page));
    mm.budget.reclass_page(&mut locked.charge, Class::Pool);
    mm.counters.promoted.one();
    Ok(())
}
