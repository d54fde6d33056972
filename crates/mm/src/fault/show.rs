//! A read of a page that has a frame: show it in this window.
//!
//! A shared frame in the pool stands at its own page of the home, so every window of the home
//! can show it; up to 16 neighbours are shown with it. A shared frame whose bytes are still the private page of
//! the space that wrote it is moved to the pool first (*promoted*), with its neighbours, and hidden
//! in the writer's window, which shows the pool's page from then on. All frames of a run are locked while
//! the host works on them: nobody can evict or move them meanwhile.

use super::{At, Next};
use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::budget::{Charge, Class, Need, Refund};
use crate::emptied::hear_of_emptied;
use crate::error::Stop;
use crate::frame::{Locked, Owner, Residence};
use crate::home::{Claim, HomeNo};
use crate::host::{Host, HostError, Store};
use crate::mm::{Mm, PAGE};
use crate::table::{FAN, LeafEntry, TableNo, slot_of};

/// Locked frames of one leaf, by slot.
type LockedRun<'a> = [Option<Locked<'a>>; FAN];

impl<H: Host, S: Store> Mm<H, S> {
    pub(super) fn show_frame(
        &self,
        at: &mut At<'_, '_>,
        leaf: TableNo,
        frame: FrameNo,
    ) -> Result<Next, Stop> {
        let Some(locked) = self.lock_entry(leaf, at.page, frame) else {
            return Ok(Next::Look);
        };
        locked.frame.mark_referenced();
        match locked.residence {
            // Another thread of this space was faster.
            Residence::Private(space) if space == at.space.no => Ok(Next::Done),
            Residence::Private(owner) => {
                if self.promote_around(leaf, at.page, locked, owner, at.space.home)? {
                    Ok(Next::Look)
                } else {
                    self.counters.copied_on_read.one();
                    Ok(Next::Own)
                }
            }
            Residence::Home(home) if home == at.space.home => {
                let mut held: LockedRun<'_> = [const { None }; FAN];
                held[usize::from(slot_of(at.page, 0))] = Some(locked);
                let run = self.lock_around(leaf, at.page, &mut held, |near| {
                    near.residence == Residence::Home(home)
                        && !at.is_stood_in(self.tables.page_of(near_slot(near)))
                });
                self.host.show(at.space.no, run)?;
                held.iter().flatten().for_each(|near| near.frame.shown.show());
                self.counters.shown.one();
                Ok(Next::Done)
            }
            Residence::Home(_) | Residence::Loose(_) => {
                self.counters.copied_on_read.one();
                Ok(Next::Own)
            }
            Residence::Nowhere => panic!("frame {frame} is mapped but has no bytes"),
        }
    }

    /// Locks the neighbours of `page` for which `fits` says yes; passes over those that are busy.
    fn lock_around<'s>(
        &'s self,
        leaf: TableNo,
        page: PageNo,
        held: &mut LockedRun<'s>,
        fits: impl Fn(&Locked<'_>) -> bool,
    ) -> Run {
        Self::run_around(page, |near| {
            let LeafEntry::Frame(no) = self.tables.entry(leaf, near) else {
                return false;
            };
            let Some(locked) = self.frames.try_lock(no) else {
                return false;
            };
            let fits = self.tables.entry(leaf, near) == LeafEntry::Frame(no) && fits(&locked);
            if fits {
                held[usize::from(slot_of(near, 0))] = Some(locked);
            }
            fits
        })
    }

    /// Moves the frame and its neighbours, private pages of `owner`, to the pool; false when another
    /// version of this page stands there already.
    pub(crate) fn promote_around(
        &self,
        leaf: TableNo,
        page: PageNo,
        locked: Locked<'_>,
        owner: SpaceNo,
        home: HomeNo,
    ) -> Result<bool, Stop> {
        match self.claim_place(home, page, locked.no) {
            Claim::Taken => (),
            Claim::Occupied => return Ok(false),
            Claim::NoRoom => return Err(Stop::NoRoom),
        }
        let no = locked.no;
        let mut held: LockedRun<'_> = [const { None }; FAN];
        held[usize::from(slot_of(page, 0))] = Some(locked);
        let run = self.lock_around(leaf, page, &mut held, |near| {
            near.residence == Residence::Private(owner)
                && near.frame.is_shared()
                && self.claim_place(home, self.tables.page_of(near_slot(near)), near.no) == Claim::Taken
        });
        let (run, charge) = self.charge_promotion(home, page, run, &held)?;
        match self.promote_run(home, run, &mut held, owner, charge) {
            Err(Stop::Host(HostError::Unprotected | HostError::Emptied)) if run.len > 1 => {
                self.promote_alone(home, page, no, &mut held, owner)
            }
            done => done.map(|()| true),
        }
    }

    /// One of the neighbours cannot be vouched for: the page alone. Its place was given back with theirs.
    fn promote_alone(
        &self,
        home: HomeNo,
        page: PageNo,
        no: FrameNo,
        held: &mut LockedRun<'_>,
        owner: SpaceNo,
    ) -> Result<bool, Stop> {
        let charge = Charge::take(&self.budget, Class::Pool, PAGE, Need::Reclaim).ok_or(Stop::NoRoom)?;
        match self.claim_place(home, page, no) {
            Claim::Taken => (),
            Claim::Occupied => return Ok(false),
            Claim::NoRoom => return Err(Stop::NoRoom),
        }
        self.promote_run(home, Run::one(page), held, owner, charge)?;
        Ok(true)
    }

    fn claim_place(&self, home: HomeNo, page: PageNo, frame: FrameNo) -> Claim {
        self.homes
            .claim(home, page, frame, self.budget.tables(Need::Normal))
    }

    /// Room for the second copies, or, where room is short, for the page's alone; the other places are given back.
    fn charge_promotion(
        &self,
        home: HomeNo,
        page: PageNo,
        run: Run,
        held: &LockedRun<'_>,
    ) -> Result<(Run, Charge<'_>), Stop> {
        let bytes = u64::from(run.len) * PAGE;
        if let Some(charge) = Charge::take(&self.budget, Class::Pool, bytes, Need::Normal) {
            return Ok((run, charge));
        }
        let alone = Charge::take(&self.budget, Class::Pool, PAGE, Need::Reclaim);
        let stays = |near: PageNo| near == page && alone.is_some();
        for near in run.pages().filter(|&near| !stays(near)) {
            self.unclaim(home, Run::one(near), held);
        }
        Ok((Run::one(page), alone.ok_or(Stop::NoRoom)?))
    }

    fn promote_run(
        &self,
        home: HomeNo,
        run: Run,
        held: &mut LockedRun<'_>,
        owner: SpaceNo,
        mut charge: Charge<'_>,
    ) -> Result<(), Stop> {
        let to = self.homes.first(home).plus(run.first.0);
        if let Err(e) = self.host.copy_to_pool(owner, run, to) {
            self.host.pool_free(to, run.len);
            self.unclaim(home, run, held);
            if let (1, Some(locked)) = (run.len, &held[usize::from(slot_of(run.first, 0))]) {
                hear_of_emptied(self, locked, run.first, e);
            }
            return Err(e.into());
        }
        self.host.drop_pages(owner, run);
        let mut refund = Refund::default();
        for page in run.pages() {
            let locked = held[usize::from(slot_of(page, 0))]
                .as_mut()
                .expect("the run is locked");
            locked.residence = Residence::Home(home);
            refund.add(locked.charge.replace(charge.page()));
            self.spaces.get(owner.0).unlend();
        }
        refund.pay(&self.budget);
        self.counters.promoted.add(u64::from(run.len));
        Ok(())
    }

    fn unclaim(&self, home: HomeNo, run: Run, held: &LockedRun<'_>) {
        for page in run.pages() {
            let locked = held[usize::from(slot_of(page, 0))]
                .as_ref()
                .expect("the run is locked");
            self.homes.vacate(home, page, locked.no);
        }
    }
}

fn near_slot(locked: &Locked<'_>) -> crate::table::LeafSlot {
    match locked.frame.word.load().owner {
        Owner::Exclusive(at) | Owner::Shared(at) => at,
        Owner::Nobody => panic!("frame {} is mapped by nobody", locked.no),
    }
}
