//! A memory as samples of a record: [`Sampler`].
//!
//! The numbers are read at each sample. The pages of spaces are looked at in turn, for a bounded
//! time at each sample, and each row says when that was; a fork is looked at only where it
//! differs from its relatives. Used by the thread that records, alone; takes the locks that any
//! operation takes, each for a moment.

use crate::inner::Inner;
use crate::manager::Entered;
use crate::numbers::{at_one_moment, numbers};
use crate::stats::MemoryStats;
use crate::timings::Step;
use memfold_host::addr::PageNo;
use memfold_mm::{Depth, Living, PageIs, living, survey};
use memfold_record::{Made, PageMap, PageState, Row, Sample, Schema};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub(crate) struct Sampler {
    begin: Instant,
    rows: BTreeMap<u64, Arc<Row>>,
    look: Option<Look>,
    /// The last space that was looked at.
    last: u64,
}

/// A space that is being looked at.
struct Look {
    living: Living,
    depth: Depth,
    next: PageNo,
    pages: [u32; PageState::ALL.len()],
    map: PageMap,
    /// What the pages of the cell are that is not full.
    cell: [u32; PageState::ALL.len()],
    in_cell: u32,
}

impl Sampler {
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            rows: BTreeMap::new(),
            look: None,
            last: 0,
        }
    }

    /// What the samples say, with such facts about the process.
    pub fn schema(mut labels: Vec<(String, String)>) -> Schema {
        labels.insert(0, ("pid".to_owned(), std::process::id().to_string()));
        labels.insert(1, ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        labels.push(("timed_of".to_owned(), crate::timings::EACH.to_string()));
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let numbers = numbers(&MemoryStats::default(), &[]);
        Schema {
            began_unix_us: began.map_or(0, |since| since.as_micros() as u64),
            labels,
            series: numbers.into_iter().map(|(series, _)| series).collect(),
            latencies: Step::ALL.map(|(_, name)| name.to_owned()).to_vec(),
        }
    }

    /// The memory now. Pages are looked at for so long, one piece at the least. `None` in a child
    /// of `fork(2)`.
    pub fn sample(&mut self, inner: &Inner, marks: Vec<String>, time: Duration) -> Option<Sample> {
        let alive = self.alive(inner)?;
        self.look(inner, &alive, time);
        let stats = at_one_moment(inner)?;
        let spaces = alive.iter().filter_map(|living| {
            let birth = living.kin.birth;
            Some((birth, self.rows.get(&birth)?.clone()))
        });
        let spaces: BTreeMap<_, _> = spaces.collect();
        Some(Sample {
            at_us: self.now_us(),
            values: numbers(&stats, &alive)
                .into_iter()
                .map(|(_, value)| value)
                .collect(),
            latencies: Step::ALL
                .iter()
                .map(|&(step, _)| inner.timings.read(step))
                .collect(),
            spaces,
            marks,
        })
    }

    fn now_us(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    /// Who lives, in the order of births; rows of those who do not are forgotten, and new ones
    /// begun.
    fn alive(&mut self, inner: &Inner) -> Option<Vec<Living>> {
        let mut alive = living(&*inner.mm().ok()?);
        alive.sort_unstable_by_key(|living| living.kin.birth);
        let mut old = std::mem::take(&mut self.rows);
        for living in &alive {
            let kin = living.kin;
            let mut row = old.remove(&kin.birth).unwrap_or_default();
            let made = match kin.made {
                memfold_mm::Made::Created => Made::Created,
                memfold_mm::Made::Forked => Made::Forked,
                memfold_mm::Made::Frozen => Made::Frozen,
            };
            let is = (kin.parent, made, living.condemned, living.len);
            if (row.parent, row.made, row.condemned, row.len) != is {
                let row = Arc::make_mut(&mut row);
                (row.parent, row.made, row.condemned, row.len) = is;
            }
            self.rows.insert(kin.birth, row);
        }
        Some(alive)
    }

    /// Looks at pages, from where the last look ended; each space at most once.
    fn look(&mut self, inner: &Inner, alive: &[Living], time: Duration) {
        let begin = Instant::now();
        let mut ended = 0;
        // Ends with the spaces, or with the time.
        loop {
            let Some(mut look) = self.look.take().or_else(|| self.next_look(alive)) else {
                return;
            };
            let Ok(mm) = inner.mm() else { return };
            match look.step(&mm) {
                Some(false) => self.look = Some(look),
                Some(true) => {
                    self.ended(look);
                    ended += 1;
                }
                // It has ended meanwhile.
                None => ended += 1,
            }
            if begin.elapsed() >= time || ended >= alive.len() {
                return;
            }
        }
    }

    /// Begins with the space that was born after the last one that was looked at.
    fn next_look(&mut self, alive: &[Living]) -> Option<Look> {
        let at = alive.partition_point(|living| living.kin.birth <= self.last);
        let living = alive.get(at).or_else(|| alive.first())?;
        self.last = living.kin.birth;
        // Also where what it was forked from has ended: its tables are its clones' then.
        let depth = match living.kin.made {
            memfold_mm::Made::Forked => Depth::Own,
            _ => Depth::All,
        };
        Some(Look::new(*living, depth))
    }

    fn ended(&mut self, look: Look) {
        let at = self.now_us();
        let Some(row) = self.rows.get_mut(&look.living.kin.birth) else {
            return;
        };
        let row = Arc::make_mut(row);
        row.pages = Some(look.pages);
        row.looked_at_us = at;
        row.map = look.map;
    }
}

impl Look {
    fn new(living: Living, depth: Depth) -> Self {
        Self {
            living,
            depth,
            next: PageNo(0),
            pages: Default::default(),
            map: PageMap {
                cell_pages: PageMap::cell_pages_of(living.len),
                ..PageMap::default()
            },
            cell: Default::default(),
            in_cell: 0,
        }
    }

    /// Looks at one piece; whether it was the last one. `None` when the space has ended.
    fn step(&mut self, mm: &Entered<'_>) -> Option<bool> {
        let (living, depth, next) = (self.living, self.depth, self.next);
        let after = survey(mm, &living, depth, next, |is, pages| self.tell(state(is), pages))?;
        match after {
            Some(next) => self.next = next,
            None => self.end_cell(),
        }
        Some(after.is_none())
    }

    fn tell(&mut self, state: PageState, mut pages: u32) {
        // A space that grew meanwhile is told of as it was.
        let told: u32 = self.pages.iter().sum();
        pages = pages.min(self.living.len.saturating_sub(told));
        self.pages[state as usize] += pages;
        let size = self.map.cell_pages;
        // Ends: each turn takes pages.
        while pages > 0 {
            let now = pages.min(size - self.in_cell);
            self.cell[state as usize] += now;
            self.in_cell += now;
            pages -= now;
            if self.in_cell == size {
                self.end_cell();
            }
        }
    }

    /// A cell is what most of its pages are.
    fn end_cell(&mut self) {
        if self.in_cell == 0 {
            return;
        }
        let states = PageState::ALL.iter().copied();
        let most = states.max_by_key(|&state| self.cell[state as usize]);
        self.map.push(most.unwrap_or(PageState::Absent), 1);
        (self.cell, self.in_cell) = Default::default();
    }
}

fn state(is: PageIs) -> PageState {
    match is {
        PageIs::Inherited => PageState::Inherited,
        PageIs::Exclusive => PageState::Exclusive,
        PageIs::Exported => PageState::Exported,
        PageIs::Shared => PageState::Shared,
        PageIs::Merged => PageState::Merged,
        PageIs::Swapped => PageState::Compressed,
        PageIs::Pinned => PageState::Pinned,
        PageIs::File => PageState::File,
        PageIs::Native => PageState::Native,
        _ => PageState::Absent,
    }
}
