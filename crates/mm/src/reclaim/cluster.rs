//! Victims go with their neighbours in the leaf.
//!
//! A page must be protected before its bytes are read, and each such call interrupts every other
//! running thread: twelve microseconds a page beside a second thread, as much as all the rest of an
//! eviction. One call for what goes of a leaf passes over the pages between, so the policy names a
//! few victims and the others on probation in their leaves go as well (Linux: swap clusters). Pages
//! that are protected already need no call. Hints throughout: who is taken is looked at again under
//! its lock. Called by rounds and by evictions.

use super::batch::{BATCH, WIDE};
use super::queue::Isolated;
use super::victim::Victim;
use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::frame::{Frame, Owner};
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::peek::is_protected;
use crate::table::{FANOUT, LeafEntry, TableNo, first_of, slot_of};

/// Victims that the policy names at a time, before their neighbours are looked for.
const NAMED: usize = if BATCH < 4 { 1 } else { BATCH / 4 };

/// Fills a batch with the next victims and their neighbours; returns how many.
pub(super) fn isolate<H: Host, S: Store>(mm: &Mm<H, S>, batch: &mut [Option<Isolated>]) -> usize {
    let (mut taken, mut last) = (0, None);
    while taken < batch.len() {
        let end = batch.len().min(taken + NAMED);
        let room = &mut batch[taken..end];
        let named = taken..taken + mm.reclaim.replacer.isolate_victims(&mm.frames, room);
        if named.is_empty() {
            break;
        }
        taken = named.end;
        for n in named {
            let Some(no) = batch[n].as_ref().map(|named| named.no) else {
                continue;
            };
            // Those that are named one after the other are often of one leaf.
            let leaf = own_leaf(mm.frames.at(no));
            if leaf != last {
                taken += add_neighbours(mm, no, &mut batch[taken..]);
            }
            last = leaf;
        }
    }
    taken
}

/// The leaf of the one space that has the frame. A hint, unless the frame is locked.
fn own_leaf(frame: &Frame) -> Option<TableNo> {
    match frame.word.load().owner {
        Owner::Exclusive(at) => Some(at.leaf),
        Owner::Shared(_) | Owner::Merged(_) | Owner::File(_) | Owner::Nobody => None,
    }
}

/// Takes those frames of the named one's leaf that are on probation, where it is one space's own;
/// how many. Under the frame's lock the leaf is what it was.
fn add_neighbours<H: Host, S: Store>(mm: &Mm<H, S>, named: FrameNo, out: &mut [Option<Isolated>]) -> usize {
    let locked = mm.frames.try_lock(named);
    let Some(leaf) = locked.as_ref().and_then(|locked| own_leaf(locked.frame)) else {
        return 0;
    };
    let leaf = mm.tables.at(leaf);
    let frames = (0..FANOUT as u8).filter_map(|slot| match leaf.slot(slot).entry.leaf() {
        LeafEntry::Frame(no) => Some(no),
        LeafEntry::Absent | LeafEntry::Swapped(_) => None,
    });
    mm.reclaim.replacer.isolate_candidates(&mm.frames, frames, out)
}

/// Nobody stores any more to those of the victims, in their order, that are private pages; those
/// for which the machine refuses are let go.
pub(super) fn protect<H: Host, S: Store>(mm: &Mm<H, S>, victims: &mut [Option<Victim<'_>>]) {
    let beside = |a: &Option<Victim<'_>>, b: &Option<Victim<'_>>| {
        let (Some((space, page)), Some((next_space, next))) = (private(a), private(b)) else {
            return false;
        };
        space == next_space && (first_of(page, 0) == first_of(next, 0) || page.plus(1) == next)
    };
    for part in victims.chunk_by_mut(beside) {
        let open = |v: &Option<Victim<'_>>| !v.as_ref().is_some_and(|v| is_protected(mm, &v.locked));
        let (Some(from), Some(to)) = (part.iter().position(open), part.iter().rposition(open)) else {
            continue;
        };
        let part = &mut part[from..=to];
        if private(&part[0]).is_none() {
            continue;
        }
        if protect_part(mm, part) {
            part.iter_mut().flatten().for_each(|v| v.locked.protected = true);
        } else {
            // What cannot be protected is not read.
            part.iter_mut().for_each(|v| *v = None);
        }
    }
}

/// Protects private pages of one space, in their order; false when the machine refused.
fn protect_part<H: Host, S: Store>(mm: &Mm<H, S>, part: &[Option<Victim<'_>>]) -> bool {
    let mut runs = [Run::one(PageNo(0)); WIDE];
    let (mut len, mut of) = (0, SpaceNo(0));
    let mut others_fit = mm.host.protections_hold();
    for victim in part.iter().flatten() {
        let Some((space, page)) = victim.window() else {
            continue;
        };
        of = space;
        match runs[..len].last_mut() {
            Some(run) if run.end() == page => run.len += 1,
            before => {
                others_fit &= before.is_none_or(|run| may_pass_over(mm, victim, run.end()));
                runs[len] = Run::one(page);
                len += 1;
            }
        }
    }
    let runs = &runs[..len];
    let pass = (len > 1 && others_fit).then(|| mm.spaces.get(of.0).fence.pass_over());
    match pass.flatten() {
        Some(_pass) => mm.host.protect_around(of, runs).is_ok(),
        None => runs.iter().all(|&run| mm.host.protect(of, run).is_ok()),
    }
}

/// Whether the pages of the victim's leaf from this one to the victim may be protected with it. An
/// exported page must not: if it lost its protection, nobody would find out.
fn may_pass_over<H: Host, S: Store>(mm: &Mm<H, S>, victim: &Victim<'_>, from: PageNo) -> bool {
    let Owner::Exclusive(at) = victim.locked.frame.word.load().owner else {
        return false;
    };
    (slot_of(from, 0)..at.slot).all(|slot| match mm.tables.at(at.leaf).slot(slot).entry.leaf() {
        LeafEntry::Frame(no) => !mm.frames.at(no).is_shared(),
        LeafEntry::Absent | LeafEntry::Swapped(_) => true,
    })
}

fn private(victim: &Option<Victim<'_>>) -> Option<(SpaceNo, PageNo)> {
    victim.as_ref()?.window()
}
