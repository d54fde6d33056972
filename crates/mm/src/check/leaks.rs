//! What is given out, beside what the scan found: numbers given out, places of backings, stored
//! pages, charges of tables.
//!
//! A number that was taken and neither mapped nor given back harms nobody, so no other invariant
//! sees it: here it is a leak, to the last one. Called by [`check`](super::check); no lock is held
//! over a whole check.

use super::Check;
use crate::frame::Residence;
use crate::host::{Host, Store};
use crate::mm::fixed_bytes;
use crate::swap::{Bytes, SwapRef, Swapped};
use crate::table::LeafEntry;
use crate::window::Windows;
use std::collections::{BTreeMap, BTreeSet};

impl<H: Host, S: Store> Check<'_, H, S> {
    /// A frame is mapped within one backing and one merge domain.
    pub(super) fn check_domains(&mut self) {
        let Self { mm, scan, report } = self;
        for (no, found) in &scan.mappers {
            let spaces = found.iter().flat_map(|at| &scan.reach[&at.leaf]);
            let place = |space: &crate::addr::SpaceNo| {
                let slot = mm.spaces.get(space.0);
                (slot.backing().0, slot.domain().0)
            };
            let places: BTreeSet<(u32, u32)> = spaces.map(place).collect();
            report.demand(places.len() == 1, "no frame is shared across domains", || {
                format!("frame {no} is mapped in (backing, domain) {places:?}")
            });
        }
    }

    /// Every number that is given out is in use.
    pub(super) fn check_numbers(&mut self) {
        let Self { mm, scan, report } = self;
        let alive = mm.spaces.numbers().filter(|&no| mm.spaces.get(no).lock().alive);
        let overflow = scan.mappers.keys().filter(|&&no| {
            let locked = mm.frames.lock(no);
            matches!(locked.residence, crate::frame::Residence::Overflow(_))
        });
        let counts = [
            (
                "frames",
                mm.frames.used().into(),
                scan.mappers.len() + scan.files.len(),
            ),
            ("files", mm.files.used().into(), mm.files.numbers().count()),
            ("tables", mm.tables.used().into(), scan.parents.len()),
            ("spaces", mm.spaces.used().into(), alive.count()),
            ("swap slots", mm.swap.used().into(), mm.swap.in_use().len()),
            ("overflow places", mm.backings.overflow_used(), overflow.count()),
        ];
        for (what, given, used) in counts {
            report.demand(given == used as u64, "every number given out is in use", || {
                format!("{given} {what} are given out, the scan found {used}")
            });
        }
    }

    /// Backings have the users that the scan finds, hold frames that stand there, and keep what the
    /// store has beside the slots'.
    pub(super) fn check_backings(&mut self) {
        let Self { mm, scan, report } = self;
        let mut users: BTreeMap<u32, u32> = BTreeMap::new();
        for no in mm.spaces.numbers() {
            let st = mm.spaces.get(no).lock();
            if st.alive {
                *users.entry(st.backing.0).or_default() += 1;
            }
        }
        for no in mm.files.numbers() {
            *users.entry(mm.files.view(no).backing.0).or_default() += 1;
        }
        let backings = mm.backings.contents();
        let counted: BTreeMap<u32, u32> = backings.iter().map(|(no, found)| (no.0, found.users)).collect();
        report.demand(
            counted == users,
            "users of a backing = its spaces, or its file",
            || format!("backings count {counted:?}, the scan found {users:?}"),
        );
        let given = mm.backings.used();
        report.demand(
            given as usize == users.len(),
            "every number given out is in use",
            || format!("{given} backings are given out, {} have users", users.len()),
        );
        for (backing, found) in &backings {
            for &(page, frame) in &found.standing {
                let stands = scan.files.contains_key(&frame)
                    || scan.mappers.contains_key(&frame)
                        && mm.frames.lock(frame).residence == Residence::Backing(*backing);
                report.demand(stands, "who is recorded at a place stands there", || {
                    format!("frame {frame} at page {page} of backing {backing:?}")
                });
            }
        }
        let kept: u64 = backings.iter().map(|(_, found)| found.bases).sum();
        let in_use = mm.swap.in_use();
        let stores = |slot: &&(SwapRef, Swapped)| matches!(slot.1.bytes, Bytes::Stored(_));
        let (stored, slots) = (
            mm.store.stats().pages,
            in_use.iter().filter(stores).count() as u64,
        );
        report.demand(stored == slots + kept, "every stored page is named", || {
            format!("{stored} pages are stored; {slots} by slots, {kept} as bases")
        });
    }

    /// A standby page stands in for a page of a living space, whose window has nothing of its own
    /// there.
    pub(super) fn check_standby(&mut self) {
        let Self { mm, report, .. } = self;
        for (space, page) in mm.standby.places() {
            let Ok(st) = mm.lock_space(space) else {
                report.demand(false, "a standby page stands in a living space", || {
                    format!("page {page} of space {space}")
                });
                continue;
            };
            let here = match mm.tables.lookup(&st.tree, page).entry() {
                LeafEntry::Frame(no) => mm.frames.lock(no).residence == Residence::Private(space),
                _ => false,
            };
            report.demand(
                !here && page.0 < st.len,
                "a standby page stands where the window has nothing of its own",
                || format!("page {page} of space {space}"),
            );
        }
    }

    /// What is charged for the manager's own tables is what they hold.
    pub(super) fn check_tables_charge(&mut self) {
        let areas = self.areas_cost();
        let Self { mm, report, .. } = self;
        let records: u64 = mm.backings.contents().iter().map(|(_, found)| found.bytes).sum();
        let scanner = mm.merge_round.bytes();
        let held = fixed_bytes(mm)
            + mm.frames.held_bytes()
            + mm.tables.held_bytes()
            + mm.spaces.held_bytes()
            + mm.swap.held_bytes()
            + mm.backings.held_bytes()
            + mm.files.held_bytes()
            + areas
            + records
            + scanner;
        let charged = mm.budget.usage().tables;
        report.demand(charged == held, "charged tables = arrays and records", || {
            format!("charged {charged}, held {held}: records {records}, scanner {scanner}")
        });
        let (charged, held) = (mm.budget.usage().page_tables, Windows::of(mm).count_bytes());
        report.demand(charged == held, "charged page tables = those of windows", || {
            format!("charged {charged}, windows may hold {held}")
        });
    }
}
