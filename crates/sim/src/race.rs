//! Stores of a second thread at moments that a single-threaded history would never meet. Under the
//! host's lock.

use crate::host::SimHost;
use crate::machine::Machine;
use memfold_host::addr::{PageNo, SpaceNo};

/// When a second thread of a space comes in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Zeros are shown and not protected yet.
    ZerosShown,
    /// The page was looked at while stores to it go through.
    LookedAt,
    /// The page is about to be taken out of its window.
    Taken,
    /// It was asked whether the page, which the machine served, was stored to.
    Scanned,
}

/// A store that a second thread makes at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Race {
    pub moment: Moment,
    pub space: SpaceNo,
    pub page: PageNo,
    pub offset: usize,
    pub byte: u8,
}

impl Race {
    /// Whether the store happened, if now is its moment. One to a page that was only looked at, is
    /// taken or asked about, may miss: then it did not.
    pub fn run(&self, machine: &mut Machine, moment: Moment, space: SpaceNo, page: PageNo) -> bool {
        if (self.moment, self.space, self.page) != (moment, space, page) {
            return false;
        }
        let stored = machine.store(space, page, self.offset, &[self.byte]).is_ok();
        assert!(
            stored || moment != Moment::ZerosShown,
            "zeros that are not protected yet let stores through"
        );
        stored
    }
}

impl SimHost {
    /// The next time it comes to this moment at this page, a second thread stores `byte`.
    pub fn arm_race(&self, moment: Moment, space: SpaceNo, page: PageNo, offset: usize, byte: u8) {
        self.lock().races.push(Race {
            moment,
            space,
            page,
            offset,
            byte,
        });
    }

    /// Takes back the races that did not happen; how many did is for the caller to know.
    pub fn disarm_races(&self) -> usize {
        std::mem::take(&mut self.lock().races).len()
    }
}
