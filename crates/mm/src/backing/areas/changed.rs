//! Other lists of areas: pages of a run become others, or those of another run.
//!
//! A list is not changed in place: whoever changes areas works the new one out first, and knows
//! what it costs before anything is done. Areas are cut where the run begins and ends, and are one
//! again where they go on. No lock.

use super::{Area, Areas, MOST_AREAS};
use crate::addr::{PageNo, Run};

impl Areas {
    /// The areas that there would be if the pages of a run were each what `change` makes of what
    /// they are; `None` when there would be too many.
    pub fn changed(&self, run: Run, change: impl Fn(Area) -> Area) -> Option<Self> {
        self.with(run, self.parts(run).into_iter().map(change))
    }

    /// The areas that there would be if those of one run were also those of the run that begins at
    /// `to`, as far as pages before `end` go; `None` when there would be too many.
    pub fn with_moved(&self, from: Run, to: PageNo, end: PageNo) -> Option<Self> {
        let run = Run {
            first: to,
            len: end.0 - to.0,
        };
        let moved = self.parts(from).into_iter().map(|area| {
            let first = to.plus(area.run.first.0 - from.first.0);
            let len = area.run.len;
            let run = Run { first, len };
            Area { run, ..area }
        });
        self.with(run, moved.filter_map(|area| area.part(to, end)))
    }

    /// The areas with these in a run, of which they are the parts, in order.
    fn with(&self, run: Run, parts: impl Iterator<Item = Area>) -> Option<Self> {
        let mut areas: Vec<Area> = Vec::with_capacity(self.areas.len() + 2);
        let mut add = |area: Area| match areas.last_mut() {
            _ if area == Area::plain(area.run) => (),
            Some(last) if last.goes_on(&area) => last.run.len += area.run.len,
            _ => areas.push(area),
        };
        let (before, behind) = (PageNo(0), PageNo(u32::MAX));
        for area in self.iter().filter_map(|area| area.part(before, run.first)) {
            add(area);
        }
        parts.for_each(&mut add);
        for area in self.iter().filter_map(|area| area.part(run.end(), behind)) {
            add(area);
        }
        let ahead = self.ahead;
        (areas.len() <= MOST_AREAS).then_some(Self { areas, ahead })
    }
}
