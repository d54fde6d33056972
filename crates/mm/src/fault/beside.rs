//! Pages that come back from the store along with one that is asked for.
//!
//! Pages of the same leaf that went at about the same time were used together and probably will be
//! again, where that has proved worth it (`space/ahead.rs`). They come only as long as there is
//! room without reclaim: a space's own in runs, since one call of the machine for many pages costs
//! little more than for one; those that several share one by one, each to its place in the pool.
//! Part of [`Fault`], under the space's lock; called by `swap_in.rs`.

use super::Fault;
use super::new_frames::NewFrames;
use crate::addr::{Access, PageBytes, PageNo};
use crate::budget::{Charge, Class, Need};
use crate::host::{Host, Protection, Store};
use crate::mm::{PAGE, put_slot};
use crate::reclaim::Origin;
use crate::space::ahead::{Plan, sample_of};
use crate::swap::{SwapRef, Swapped};
use crate::table::{AtLeaf, FANOUT, LeafEntry, OwnLeaf, first_of};

/// Evictions between two pages that count as one time.
const TOGETHER: u32 = 256;

/// What a page holds that comes along; `None` for one that does not.
type Neighbour = Option<(SwapRef, Swapped)>;

/// Whether both went at about the same time.
fn together(one: &Swapped, other: &Swapped) -> bool {
    let apart = one.evicted_at.wrapping_sub(other.evicted_at);
    apart.wrapping_add(TOGETHER) <= 2 * TOGETHER
}

impl<'m, H: Host, S: Store> Fault<'_, 'm, H, S> {
    /// The page is back: the pages of its leaf that come along, as far as `comes` says so; `None`
    /// where the space has not found it worth it. One of them is left out and watched, from time
    /// to time, to find that out.
    fn neighbours(&mut self, comes: impl Fn(&Self, PageNo) -> Neighbour) -> Option<[Neighbour; FANOUT]> {
        let plan = self.space.ahead.asked(self.page);
        let sample = sample_of(self.page);
        if plan != Plan::Bring && comes(self, sample).is_some() {
            self.space.ahead.watch(sample);
        }
        let first = first_of(self.page, 0);
        let left_out = |page| plan == Plan::BringButOne && page == sample;
        (plan != Plan::Watch).then(|| {
            std::array::from_fn(|n| {
                let page = first.plus(n as u32);
                (!left_out(page)).then(|| comes(self, page)).flatten()
            })
        })
    }

    /// The page is back, and went as `with` says: what is to come along does.
    pub(super) fn bring_neighbours(&mut self, leaf: OwnLeaf, with: &Swapped) {
        let Some(neighbours) = self.neighbours(|fault, page| fault.comes_along(leaf, page, with)) else {
            return;
        };
        let first = first_of(self.page, 0);
        let scratch = &self.mm.scratch;
        scratch.with_run(|bytes| {
            let mut page = first;
            for run in neighbours.chunk_by(|a, b| a.is_some() == b.is_some()) {
                for part in run.chunks(bytes.len()) {
                    // Whoever needs the rest will hear of it.
                    if part[0].is_some() && self.bring_run(leaf, page, part, bytes) < part.len() {
                        return;
                    }
                    page = page.plus(part.len() as u32);
                }
            }
        });
    }

    /// The same for a page that several spaces share: its neighbours come to their places in the
    /// pool, where each of them finds them.
    pub(super) fn bring_shared_neighbours(&mut self, found: &AtLeaf, with: &Swapped) {
        let Some(neighbours) = self.neighbours(|fault, page| fault.comes_along_shared(found, page, with))
        else {
            return;
        };
        let first = first_of(self.page, 0);
        for (page, neighbour) in (0..).map(|n| first.plus(n)).zip(neighbours) {
            let Some((slot, seen)) = neighbour else {
                continue;
            };
            match self.bring_in(found.leaf, page, (slot, &seen), Need::Normal) {
                Ok(true) => self.mm.counters.read_ahead.one(),
                // Others see to it.
                Ok(false) => (),
                // Whoever needs the rest will hear of it.
                Err(_) => return,
            }
        }
    }

    /// A run comes back, as far as there is room; says how many pages of it did.
    fn bring_run(
        &mut self,
        leaf: OwnLeaf,
        first: PageNo,
        run: &[Neighbour],
        bytes: &mut [PageBytes],
    ) -> usize {
        let mut new = NewFrames::new(self.mm);
        let Ok(frames) = new.alloc(run.len() as u32) else {
            return 0;
        };
        let room = u64::from(frames) * PAGE;
        let Some(mut charge) = Charge::take(&self.mm.budget, Class::Private, room, Need::Normal) else {
            return 0;
        };
        let held = || run[..frames as usize].iter().flatten();
        let get = |((_, seen), bytes): (&(_, Swapped), _)| seen.bytes.get(&self.mm.store, bytes);
        let given = held().zip(&mut *bytes);
        let given = given.map_while(|page| get(page).ok()).count();
        // All that come along may be stored to.
        let shown = Protection::Writable;
        let host = &self.mm.host;
        let filled = host.fill_run(self.space.no, first, &bytes[..given], shown);
        for ((slot, _), n) in held().take(filled).zip(0..) {
            let (page, frame) = (first.plus(n), new.take(n));
            self.install_private(leaf, page, frame, Origin::New, charge.page(), shown);
            put_slot(self.mm, *slot, self.space.backing, page);
        }
        self.mm.counters.read_ahead.add(filled as u64);
        filled
    }

    /// What a neighbour holds, if it may come back with a page that went at about the same time.
    fn comes_along(&self, leaf: OwnLeaf, page: PageNo, with: &Swapped) -> Neighbour {
        let LeafEntry::Swapped(slot) = self.mm.tables.entry(leaf.0, page) else {
            return None;
        };
        let stored_to = self.space.areas.rights(page).allow(Access::Write);
        if page.0 >= self.space.len || self.is_stood_in(page) || !stored_to {
            return None;
        }
        let seen = self.mm.swap.look(slot).expect("an entry names a slot in use");
        (seen.count == 1 && seen.frame.is_none() && together(&seen, with)).then_some((slot, seen))
    }

    /// The same for a page that comes back for all who share it.
    fn comes_along_shared(&self, found: &AtLeaf, page: PageNo, with: &Swapped) -> Neighbour {
        let LeafEntry::Swapped(slot) = self.mm.tables.entry(found.leaf, page) else {
            return None;
        };
        if page.0 >= self.space.len || self.is_stood_in(page) || !self.space.areas.own(page, Access::Read) {
            return None;
        }
        // Whoever has the leaf, too, may have given the slot back.
        let seen = self.mm.swap.look(slot)?;
        let shared = found.shared || seen.count > 1;
        (shared && seen.frame.is_none() && together(&seen, with)).then_some((slot, seen))
    }
}
