//! How spaces come, grow and go, on both sides.
//!
//! A drop that the machine refuses is answered in one of two ways: its user goes on with the space,
//! or nobody ever uses it again and it ends when it can. The oracle knows no such space: all that
//! is said of it is that it is gone in the end.

use super::{Harness, Live};
use crate::audit::May;
use crate::stores::Built;
use crate::workload::Spot;
use memfold_host::Domain;
use memfold_host::addr::{PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_mm::{Door, Ended, Merging, Size, SpaceError};
use memfold_sim::Plan;

/// What becomes of a space that its user drops, when the machine refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    /// The user is told, and uses it again.
    LivesOn,
    /// Nobody uses it again: it is left to end when it can.
    EndsLater,
}

impl Unused {
    /// By the operation.
    pub(super) fn of(spot: Spot) -> Self {
        match spot.value % 4 {
            3 => Self::EndsLater,
            _ => Self::LivesOn,
        }
    }
}

impl<S: Built> Harness<S> {
    pub(super) fn create(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let (least, most) = self.mix.pages;
        let len = least + (spot.page + spot.count) % (most - least + 1);
        let size = Size {
            len,
            reserve: len + 4 + spot.count % 20,
        };
        let domain = Domain(u32::from(spot.value % 2));
        let no = self.ask(|mm| mm.create(size, domain))?;
        self.oracle.create(no, len, domain);
        self.live.push(Live {
            no,
            pins: Vec::new(),
            family: no,
        });
        self.take_part(no, spot)?;
        // Siblings that grow up by themselves are what merging is for.
        let siblings = usize::from(spot.value >> 6).min(self.mix.spaces as usize - self.live.len());
        for _ in 0..siblings {
            let to = self.ask_for(May::Export(no), |mm| mm.fork(no))?;
            self.admit(no, to);
        }
        Ok(())
    }

    /// Three of four spaces take part in merging.
    pub(super) fn take_part(&mut self, space: SpaceNo, spot: Spot) -> Result<(), SpaceError> {
        let merging = if spot.value & 3 == 0 {
            Merging::Off
        } else {
            Merging::On
        };
        self.ask(|mm| mm.set_merging(space, merging))?;
        self.oracle.set_merging(space, merging);
        Ok(())
    }

    pub(super) fn admit(&mut self, from: SpaceNo, to: SpaceNo) {
        self.oracle.fork(from, to);
        let parent = self.live.iter().find(|live| live.no == from);
        let family = parent.expect("it lives").family;
        self.live.push(Live {
            no: to,
            pins: Vec::new(),
            family,
        });
    }

    pub(super) fn drop_space(&mut self, n: usize, unused: Unused) -> Result<(), SpaceError> {
        while !self.live[n].pins.is_empty() {
            self.unpin_nth(n, 0);
        }
        let no = self.live[n].no;
        let ended = match unused {
            Unused::LivesOn => self.ask(|mm| mm.drop_space(no)),
            Unused::EndsLater => self.ask(|_| self.leave(no)),
        };
        match (ended, unused) {
            (Ok(()), _) => (),
            (Err(_), Unused::LivesOn) => return ended,
            (Err(_), Unused::EndsLater) => self.tally.left += 1,
        }
        self.oracle.drop_space(no);
        self.live.remove(n);
        ended
    }

    /// Drops the handle of a space, as the library does.
    fn leave(&self, no: SpaceNo) -> Result<(), SpaceError> {
        // Few drops ask the machine for anything, so that of these all are refused that can be,
        // unless a scenario says which.
        let ended = if self.watched && self.mix.refusals == 0 {
            self.end_space(no)
        } else {
            self.mm.host().under(Plan::ALL, || self.end_space(no))
        };
        match ended {
            Ended::Now => Ok(()),
            Ended::Later(error) => Err(error),
            Ended::Inherited => panic!("space {no} is this process's own"),
        }
    }

    pub(super) fn grow(&mut self, spot: Spot) -> Result<(), SpaceError> {
        if spot.value & 1 == 1 {
            return self.shrink(spot);
        }
        let space = self.space(spot.space);
        let to = self.oracle.pages(space) + spot.count % 8;
        match self.ask(|mm| mm.grow(space, to)) {
            // Beyond the reserve: the length stands.
            Err(SpaceError::BadSize { .. }) => Ok(()),
            Err(e) => Err(e),
            Ok(()) => {
                self.oracle.grow(space, to);
                Ok(())
            }
        }
    }

    /// Page by page, so that the last one either is gone or as it was.
    fn shrink(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let n = self.nth(spot.space);
        let space = self.live[n].no;
        let pages = self.oracle.pages(space);
        for to in (1..pages).rev().take(spot.count as usize % 8) {
            let pinned = self.live[n].pins.iter().any(|run| run.has(PageNo(to)));
            match self.ask(|mm| mm.areas(space).shrink(to)) {
                Err(SpaceError::Pinned(_)) if pinned => break,
                shrunk => shrunk?,
            }
            assert!(!pinned, "page {to} of space {space} is pinned and gone");
            self.oracle.shrink(space, to);
        }
        Ok(())
    }

    /// Whatever two relatives do not have in common is told.
    fn compare(&mut self, space: SpaceNo, with: SpaceNo) -> Result<(), SpaceError> {
        let told = self.ask_for(May::Export(with), |mm| mm.differing(space, with))?;
        let common = self.oracle.pages(space).min(self.oracle.pages(with));
        for page in (0..common).map(PageNo) {
            assert!(
                self.oracle.page(space, page) == self.oracle.page(with, page)
                    || told.iter().any(|run| run.has(page)),
                "page {page} of space {space} is not what it is in {with}, and nobody says so"
            );
        }
        Ok(())
    }

    /// A space becomes what a relative is, or, one time in eight, what any space is. One that
    /// stands on other memory is refused, and so are pins.
    pub(super) fn reset(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let space = &self.live[self.nth(spot.space)];
        let any = spot.value.is_multiple_of(8);
        let relatives = || {
            let live = self.live.iter();
            live.filter(|other| any || other.family == space.family)
        };
        let nth = spot.page as usize % relatives().count();
        let to = relatives().nth(nth).expect("there are so many");
        let (from, to, pinned) = (space.no, to.no, [space, to].map(|live| !live.pins.is_empty()));
        match self.compare(from, to) {
            Err(SpaceError::NotRelated(_)) => (),
            Err(SpaceError::Pinned(_)) if pinned[1] => (),
            compared => compared?,
        }
        match self.ask_for(May::Export(to), |mm| mm.reset(from, to)) {
            Err(SpaceError::NotRelated(_)) => Ok(()),
            Err(SpaceError::Pinned(_)) if pinned.contains(&true) => Ok(()),
            Err(e) => Err(e),
            Ok(()) => {
                assert_eq!(pinned, [false; 2], "space {from} became {to}, with pins");
                self.oracle.reset(from, to);
                Ok(())
            }
        }
    }

    /// Page by page, so that each either is zeros afterwards or as it was.
    pub(super) fn discard(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let n = self.nth(spot.space);
        let space = self.live[n].no;
        for page in self.run(space, spot).pages() {
            let pinned = self.live[n].pins.iter().any(|run| run.has(page));
            match self.ask(|mm| mm.discard(space, Run::one(page))) {
                Err(SpaceError::Pinned(_)) if pinned => continue,
                discarded => discarded?,
            }
            assert!(
                !pinned,
                "page {page} of space {space} is pinned and was discarded"
            );
            let at = page.0 as usize * PAGE_SIZE;
            self.oracle.write(space, at, &[0; PAGE_SIZE]);
        }
        Ok(())
    }
}
