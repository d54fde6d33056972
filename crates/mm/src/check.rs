//! [`check`]: every invariant that spans rooms, by name, found out by a full scan of all tables.
//!
//! Call it when nothing else runs: at the end of a test, between two steps of a simulation, from a
//! debugger. `check/leaks.rs` counts what is given out, `check/exposed.rs` asks the machine about
//! protection, `check/files.rs` has files. It takes no lock for long and changes nothing. The scan
//! is naive on purpose: it is the oracle that the reverse map, the counts and the budget are held
//! to.

mod exposed;
mod files;
mod keep;
mod leaks;

pub use exposed::audit;

use crate::addr::{FrameNo, PageNo, SpaceNo};
use crate::backing::file::FileNo;
use crate::budget::{Class, PageCharge};
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE};
use crate::native::settle_all;
use crate::swap::SwapRef;
use crate::table::{FANOUT, LeafEntry, LeafSlot, TableEntry, TableNo, Trees};
use std::collections::{BTreeMap, BTreeSet};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// Where, and what was found.
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// What the scan found.
#[derive(Default)]
struct Scan {
    /// Entries that name a frame.
    mappers: BTreeMap<FrameNo, BTreeSet<LeafSlot>>,
    /// How many entries name a slot.
    swapped: BTreeMap<SwapRef, u32>,
    /// Which spaces reach a leaf.
    reach: BTreeMap<TableNo, BTreeSet<SpaceNo>>,
    /// How many parents a table has.
    parents: BTreeMap<TableNo, BTreeSet<(bool, u32)>>,
    /// Pages of files that are in memory.
    files: BTreeMap<FrameNo, (FileNo, PageNo)>,
}

struct Report(Vec<Violation>);

impl Report {
    fn demand(&mut self, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation {
                invariant,
                detail: detail(),
            });
        }
    }
}

/// Checks every invariant of the manager; nothing else may run meanwhile. In time proportional to
/// all that it holds.
///
/// # Errors
/// All violations that were found.
pub fn check<H: Host, S: Store>(mm: &Mm<H, S>) -> Result<(), Vec<Violation>> {
    settle_all(mm);
    let mut check = Check {
        mm,
        scan: Scan::default(),
        report: Report(Vec::new()),
    };
    check.scan_spaces();
    check.scan_files();
    check.check_tables();
    check.check_frames();
    check.check_swap();
    check.check_lists();
    check.check_budget();
    check.check_spaces();
    check.check_domains();
    check.check_numbers();
    check.check_backings();
    check.check_files();
    check.check_kept();
    check.check_standby();
    check.check_exposed();
    check.check_tables_charge();
    let found = check.report.0;
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// One check of everything: what the scan found, and what does not hold.
struct Check<'m, H, S> {
    mm: &'m Mm<H, S>,
    scan: Scan,
    report: Report,
}

impl<H: Host, S: Store> Check<'_, H, S> {
    fn scan_spaces(&mut self) {
        let mm = self.mm;
        for no in mm.spaces.numbers().map(SpaceNo) {
            let Ok(st) = mm.lock_space(no) else { continue };
            if let Some(root) = st.tree.root {
                self.scan.parents.entry(root).or_default().insert((true, no.0));
                self.scan_table(no, root);
            }
        }
    }

    fn scan_table(&mut self, space: SpaceNo, no: TableNo) {
        let table = self.mm.tables.at(no);
        let scan = &mut self.scan;
        if table.level() == 0 {
            let first = scan.reach.entry(no).or_default().insert(space) && scan.reach[&no].len() == 1;
            if first {
                self.scan_leaf(no);
            }
            return;
        }
        for slot in 0..FANOUT as u8 {
            if let TableEntry::Table(child) = table.slot(slot).entry.table() {
                self.scan.parents.entry(child).or_default().insert((false, no.0));
                self.scan_table(space, child);
            }
        }
    }

    fn scan_leaf(&mut self, leaf: TableNo) {
        let Self { mm, scan, .. } = self;
        for slot in 0..FANOUT as u8 {
            match mm.tables.at(leaf).slot(slot).entry.leaf() {
                LeafEntry::Frame(frame) => {
                    scan.mappers
                        .entry(frame)
                        .or_default()
                        .insert(LeafSlot { leaf, slot });
                }
                LeafEntry::Swapped(s) => *scan.swapped.entry(s).or_default() += 1,
                LeafEntry::Absent => (),
            }
        }
    }

    fn check_tables(&mut self) {
        let Self { mm, scan, report } = self;
        for (&no, parents) in &scan.parents {
            let refs = mm.tables.at(no).refs();
            report.demand(refs as usize == parents.len(), "table refs = parents", || {
                format!("table {no:?} counts {refs}, the scan found {parents:?}")
            });
        }
        for (&leaf, reached) in &scan.reach {
            let mut walked = BTreeSet::new();
            Trees::new(&mm.tables, &mm.spaces).spaces_of(leaf, &mut |space| {
                walked.insert(space);
                true
            });
            report.demand(walked == *reached, "leaf to spaces is exact", || {
                format!("leaf {leaf:?}: chains say {walked:?}, the scan found {reached:?}")
            });
        }
    }

    fn check_frames(&mut self) {
        let Self { mm, scan, report } = self;
        for (&no, found) in &scan.mappers {
            let locked = mm.frames.lock(no);
            let counts = locked.frame.count.load();
            report.demand(counts.maps as usize == found.len(), "maps = entries", || {
                format!("frame {no} counts {counts:?}, the scan found {found:?}")
            });
            report.demand(
                counts.refs == counts.maps + counts.pins,
                "refs = maps + pins",
                || format!("frame {no}: {counts:?}"),
            );
            let chained: BTreeSet<LeafSlot> = mm.tables.mappers(&locked).collect();
            report.demand(chained == *found, "the reverse map is exact", || {
                format!("frame {no}: chain says {chained:?}, the scan found {found:?}")
            });
            let pages: BTreeSet<_> = found.iter().map(|&at| mm.tables.page_of(at)).collect();
            report.demand(
                pages.len() == 1,
                "all mappers of a frame stand for one page",
                || format!("frame {no}: {pages:?}"),
            );
            let owner = locked.frame.word.load().owner;
            let reach: usize = found.iter().map(|at| scan.reach[&at.leaf].len()).sum();
            if let Owner::Exclusive(_) = owner {
                report.demand(
                    found.len() == 1 && reach == 1,
                    "exclusive = one leaf of one space",
                    || format!("frame {no}: {found:?} reached by {reach} spaces"),
                );
            }
            let gives_up = locked.given_up && locked.frame.is_exclusive();
            report.demand(
                !gives_up || locked.protected && locked.cached.is_none(),
                "a page that was given up is protected",
                || format!("frame {no}"),
            );
            check_residence(mm, &locked, found, scan, report);
            if let Some(slot) = locked.cached {
                let names = mm.swap.look(slot).and_then(|s| s.frame);
                report.demand(names == Some(no), "frame and slot name each other", || {
                    format!("frame {no} caches slot {slot:?}, which names {names:?}")
                });
            }
        }
    }

    fn check_swap(&mut self) {
        let Self { mm, scan, report } = self;
        let in_use: BTreeMap<SwapRef, _> = mm.swap.in_use().into_iter().collect();
        for (slot, says) in &in_use {
            let found = scan.swapped.get(slot).copied().unwrap_or(0);
            report.demand(says.count == found, "slot count = entries", || {
                format!("slot {slot:?} counts {}, the scan found {found}", says.count)
            });
            if let Some(frame) = says.frame {
                let back = mm.frames.lock(frame).cached;
                report.demand(back == Some(*slot), "slot and frame name each other", || {
                    format!("slot {slot:?} names frame {frame}, which caches {back:?}")
                });
            }
        }
        for slot in scan.swapped.keys() {
            report.demand(in_use.contains_key(slot), "an entry names a slot in use", || {
                format!("{slot:?}")
            });
        }
    }

    fn check_lists(&mut self) {
        let Self { mm, scan, report } = self;
        let mut listed = BTreeSet::new();
        for no in mm.reclaim.numbers(&mm.frames) {
            report.demand(listed.insert(no), "a frame is on one list", || {
                format!("frame {no}")
            });
        }
        let mapped: BTreeSet<FrameNo> = scan.mappers.keys().chain(scan.files.keys()).copied().collect();
        report.demand(listed == mapped, "listed = mapped", || {
            let off: Vec<_> = mapped.difference(&listed).collect();
            let dead: Vec<_> = listed.difference(&mapped).collect();
            format!("mapped but on no list: {off:?}; on a list but not mapped: {dead:?}")
        });
    }

    fn check_budget(&mut self) {
        let Self { mm, scan, report } = self;
        let (mut private, mut pool) = (0, scan.files.len() as u64 * PAGE);
        for &no in scan.mappers.keys() {
            match mm.frames.lock(no).residence {
                Residence::Private(_) => private += PAGE,
                _ => pool += PAGE,
            }
        }
        let usage = mm.budget.usage();
        report.demand(
            usage.private == private,
            "charged private = private pages",
            || format!("charged {}, found {private}", usage.private),
        );
        report.demand(usage.pool == pool, "charged pool = pool pages", || {
            format!("charged {}, found {pool}", usage.pool)
        });
        let mut sum = usage.private + usage.pool + usage.stored + usage.tables;
        if mm.budget.counts_page_tables() {
            sum += usage.page_tables;
        }
        report.demand(sum == usage.total, "total = sum of the classes", || {
            format!("{usage:?}")
        });
        report.demand(usage.peak <= usage.limit, "the budget is never exceeded", || {
            format!("{usage:?}")
        });
    }

    fn check_spaces(&mut self) {
        let Self { mm, scan, report } = self;
        let mut exporters: BTreeMap<SpaceNo, u32> = BTreeMap::new();
        for &frame in scan.mappers.keys() {
            let locked = mm.frames.lock(frame);
            let shared = locked.frame.is_shared();
            if let (Residence::Private(space), true) = (locked.residence, shared) {
                *exporters.entry(space).or_default() += 1;
            }
        }
        for no in mm.spaces.numbers().map(SpaceNo) {
            let Ok(st) = mm.lock_space(no) else { continue };
            let exported = mm.spaces.get(no.0).exported();
            let found = exporters.get(&no).copied().unwrap_or(0);
            report.demand(
                exported == found,
                "exported = shared frames in this window",
                || format!("space {no} counts {exported}, the scan found {found}"),
            );
            let slot = mm.spaces.get(no.0);
            let (state, says) = ((st.backing, st.domain), (slot.backing(), slot.domain()));
            report.demand(
                state == says,
                "a space's backing and domain are one thing",
                || format!("space {no}: {state:?} under its lock, {says:?} without"),
            );
            for (&page, &times) in &st.pins {
                let (pins, own) = match mm.tables.lookup(&st.tree, page).entry() {
                    LeafEntry::Frame(frame) => {
                        let frame = mm.frames.at(frame);
                        let own = frame.is_exclusive();
                        (frame.count.load().pins, own)
                    }
                    _ => (0, false),
                };
                report.demand(pins == times, "a pinned page has a pinned frame", || {
                    format!("page {page} of space {no} is pinned {times} times, its frame {pins}")
                });
                report.demand(own, "a pinned page is its space's own", || {
                    format!("page {page} of space {no}")
                });
            }
        }
    }
}

/// Where a mapped frame is.
fn check_residence<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    found: &BTreeSet<LeafSlot>,
    scan: &Scan,
    report: &mut Report,
) {
    let no = locked.no;
    let shared = locked.frame.is_shared();
    let class = match locked.residence {
        Residence::Private(_) => Class::Private,
        _ => Class::Pool,
    };
    let charged = locked.charge.as_ref().map(PageCharge::class);
    report.demand(
        charged == Some(class),
        "a frame is charged for where its bytes are",
        || {
            format!(
                "frame {no} is charged as {charged:?}, its bytes are {:?}",
                locked.residence
            )
        },
    );
    match locked.residence {
        Residence::Private(space) => {
            let reached = found.iter().any(|at| scan.reach[&at.leaf].contains(&space));
            report.demand(reached, "a private page's space maps it", || {
                format!("frame {no} lies in space {space}, which does not map it")
            });
        }
        Residence::Backing(backing) => {
            let page = mm
                .tables
                .page_of(*found.first().expect("a frame in the scan has a mapper"));
            let there = mm.backings.frame_at(backing, page);
            report.demand(there == Some(no), "a frame stands at its place", || {
                format!("frame {no} at page {page}: the backing says {there:?}")
            });
            report.demand(shared, "a pool frame is shared", || {
                format!("frame {no} has one owner")
            });
        }
        Residence::Overflow(_) => {
            report.demand(shared, "a pool frame is shared", || {
                format!("frame {no} has one owner")
            });
        }
        Residence::Nowhere | Residence::File(..) => {
            report.demand(false, "a mapped frame has bytes", || format!("frame {no}"));
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
