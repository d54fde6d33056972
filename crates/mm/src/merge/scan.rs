//! The walk of a round: which window of which space comes next, and what a step of it does.
//!
//! Spaces are named by number and looked at again under their locks: one that was dropped, or
//! reused for another family, is passed over (R45). The thread that runs a step owns the
//! [`Scanner`]; it holds one space's lock at a time.

use super::candidates::{Effort, MergeStep, MergeWindow};
use super::scanner::{ScanTarget, Scanner, WINDOW};
use crate::addr::{PageNo, SpaceNo};
use crate::backing::BackingNo;
use crate::budget::{Class, Need};
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::space::Merging;

/// What a visit found.
#[derive(Default)]
struct Visit {
    /// What was done.
    step: MergeStep,
    /// The first page from the next window on for which there is a table.
    beyond: Option<PageNo>,
}

impl Scanner {
    /// A round over all who take part, or over those of one backing; `None` when the budget has no
    /// room for it.
    pub(super) fn begin<H: Host, S: Store>(mm: &Mm<H, S>, backing: Option<BackingNo>) -> Option<Self> {
        let takes_part = |&no: &u32| {
            let slot = mm.spaces.get(no);
            slot.merging() == Merging::On && backing.is_none_or(|backing| slot.backing() == backing)
        };
        let numbers = mm.spaces.numbers();
        let count = numbers.clone().filter(takes_part).count();
        let bytes = Self::bytes_of(count);
        if !mm.budget.charge(Class::Tables, bytes, Need::Normal) {
            return None;
        }
        let target = |no| ScanTarget::new(mm.spaces.get(no).backing(), SpaceNo(no));
        let mut targets = Vec::with_capacity(count);
        // Others may join meanwhile: the next round is early enough for them.
        targets.extend(numbers.filter(takes_part).take(count).map(target));
        Some(Self::new(targets, bytes))
    }

    /// The round is over, or given up.
    pub(super) fn end<H: Host, S: Store>(self, mm: &Mm<H, S>) {
        mm.budget.refund(Class::Tables, self.bytes());
    }

    /// Goes on for about so many pages, or to the end of the round.
    pub(super) fn run<H: Host, S: Store>(&mut self, mm: &Mm<H, S>, pages: u64, effort: Effort) -> MergeStep {
        let mut done = MergeStep::default();
        let mut left = pages;
        while left != 0 {
            let Some((target, first)) = self.target() else {
                done.round_over = true;
                break;
            };
            let visit = self.visit(mm, target, first, effort);
            done.scanned += visit.step.scanned;
            done.merged += visit.step.merged;
            done.zeroed += visit.step.zeroed;
            // A visit that finds nothing costs something as well.
            left = left.saturating_sub(visit.step.scanned.max(1));
            self.advance(visit.beyond);
        }
        mm.counters.merge_scanned.add(done.scanned);
        done
    }

    /// One window of one target, if it is still who it was.
    fn visit<H: Host, S: Store>(
        &mut self,
        mm: &Mm<H, S>,
        target: ScanTarget,
        first: PageNo,
        effort: Effort,
    ) -> Visit {
        let Some(window) = MergeWindow::open(mm, self, target, effort) else {
            return Visit::default();
        };
        Visit {
            beyond: window.next_leaf(first.plus(WINDOW)),
            step: window.run(first),
        }
    }
}
