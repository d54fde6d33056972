//! What is held, beside what the scan found: numbers given out, places of homes, stored pages, charges of tables.
//!
//! A number that was taken and neither mapped nor given back harms nobody, so no other invariant sees it: here it is
//! a leak, to the last one. Called by `world()`; no lock is held over a whole check.

use super::{Report, Scan};
use crate::frame::Residence;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::table::Entry;
use std::collections::{BTreeMap, BTreeSet};

impl<H: Host, S: Store> Mm<H, S> {
    /// A frame is mapped within one home and one merge domain.
    pub(super) fn check_domains(&self, scan: &Scan, report: &mut Report) {
        for (no, found) in &scan.mappers {
            let spaces = found.iter().flat_map(|at| &scan.reach[&at.leaf]);
            let place = |space: &crate::addr::SpaceNo| {
                let slot = self.spaces.get(space.0);
                (slot.home().0, slot.domain().0)
            };
            let places: BTreeSet<(u32, u32)> = spaces.map(place).collect();
            report.demand(places.len() == 1, "no frame is shared across domains", || {
                format!("frame {no} is mapped in (home, domain) {places:?}")
            });
        }
    }

    /// Every number that is given out is in use.
    pub(super) fn check_numbers(&self, scan: &Scan, report: &mut Report) {
        let alive = self
            .spaces
            .numbers()
            .filter(|&no| self.spaces.get(no).lock().alive);
        let loose = scan.mappers.keys().filter(|&&no| {
            let locked = self.lock_frame(no);
            matches!(locked.residence, crate::frame::Residence::Loose(_))
        });
        let counts = [
            ("frames", self.frames.used().into(), scan.mappers.len()),
            ("tables", self.tables.used().into(), scan.parents.len()),
            ("spaces", self.spaces.used().into(), alive.count()),
            ("swap slots", self.swap.used().into(), self.swap.in_use().len()),
            ("loose places", self.homes.loose_used(), loose.count()),
        ];
        for (what, given, used) in counts {
            report.demand(given == used as u64, "every number given out is in use", || {
                format!("{given} {what} are given out, the scan found {used}")
            });
        }
    }

    /// Homes have the users that the scan finds, hold frames that stand there, and keep what the store has beside the slots'.
    pub(super) fn check_homes(&self, scan: &Scan, report: &mut Report) {
        let mut users: BTreeMap<u32, u32> = BTreeMap::new();
        for no in self.spaces.numbers() {
            let st = self.spaces.get(no).lock();
            if st.alive {
                *users.entry(st.home.0).or_default() += 1;
            }
        }
        let homes = self.homes.survey();
        let counted: BTreeMap<u32, u32> = homes.iter().map(|(no, found)| (no.0, found.users)).collect();
        report.demand(counted == users, "users of a home = its spaces", || {
            format!("homes count {counted:?}, the scan found {users:?}")
        });
        let given = self.homes.used();
        report.demand(
            given as usize == users.len(),
            "every number given out is in use",
            || format!("{given} homes are given out, {} have spaces", users.len()),
        );
        for (home, found) in &homes {
            for &(page, frame) in &found.standing {
                let stands = scan.mappers.contains_key(&frame)
                    && self.lock_frame(frame).residence == crate::frame::Residence::Home(*home);
                report.demand(stands, "who is recorded at a place stands there", || {
                    format!("frame {frame} at page {page} of home {home:?}")
                });
            }
        }
        let kept: u64 = homes.iter().map(|(_, found)| found.bases).sum();
        let (stored, slots) = (self.store.stats().pages, self.swap.in_use().len() as u64);
        report.demand(stored == slots + kept, "every stored page is named", || {
            format!("{stored} pages are stored; {slots} by slots, {kept} as bases")
        });
    }

    /// A standby page stands in for a page of a living space, whose window has nothing of its own there.
    pub(super) fn check_standby(&self, report: &mut Report) {
        for (space, page) in self.standby.places() {
            let Ok(st) = self.lock_space(space) else {
                report.demand(false, "a standby page stands in a living space", || {
                    format!("page {page} of space {space}")
                });
                continue;
            };
            let here = match self.lookup(&st, page).entry {
                Entry::Frame(no) => self.lock_frame(no).residence == Residence::Private(space),
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
    pub(super) fn check_tables_charge(&self, report: &mut Report) {
        let records: u64 = self.homes.survey().iter().map(|(_, found)| found.bytes).sum();
        let scanner = self.scanner.lock().as_ref().map_or(0, |scanner| scanner.bytes());
        let held = self.fixed_bytes
            + self.frames.held_bytes()
            + self.tables.held_bytes()
            + self.spaces.held_bytes()
            + self.swap.held_bytes()
            + self.homes.held_bytes()
            + records
            + scanner;
        let charged = self.budget.usage().tables;
        report.demand(charged == held, "charged tables = arrays and records", || {
            format!("charged {charged}, held {held}: records {records}, scanner {scanner}")
        });
        let (charged, held) = (self.budget.usage().page_tables, self.count_window_bytes());
        report.demand(charged == held, "charged page tables = those of windows", || {
            format!("charged {charged}, windows may hold {held}")
        });
    }
}
