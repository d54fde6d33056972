//! What a record says: plain values, without a lock. Their order in a frame is in `encoder.rs`.

use crate::latency::Latency;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most series and labels of a record, and marks of a sample.
pub(crate) const MOST: usize = 4096;
/// Most kinds of steps.
pub(crate) const MOST_LATENCIES: usize = 64;
/// Most spaces of a sample.
pub(crate) const MOST_SPACES: usize = 1 << 20;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Pages of 4,096 bytes.
    Pages,
    /// Events, or things.
    Count,
    /// Nanoseconds.
    Nanoseconds,
}

/// How a number moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It is what there is now.
    Gauge,
    /// It grows, from the beginning of the memory on.
    Counter,
}

/// The name of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Two words with a point between them, as `held.private`; at most 256 bytes.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// How it moves.
    pub nature: Nature,
}

impl Series {
    /// A series of this name.
    #[must_use]
    pub fn new(name: &str, unit: Unit, nature: Nature) -> Self {
        let name = name.to_owned();
        Self { name, unit, nature }
    }
}

/// The counters that are shown as events a second wherever a record is shown: what each is called
/// there, and the name of its series.
pub const RATES: [(&str, &str); 4] = [
    ("faults", "count.faults"),
    ("evictions", "count.evictions"),
    ("refaults", "count.refaults"),
    ("stalls", "count.direct_reclaims"),
];

/// What the numbers of a record are, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// When the record began: microseconds since 1970 (UTC), by the machine's clock.
    pub began_unix_us: u64,
    /// Facts that do not change, as the process's number, each with its name.
    pub labels: Vec<(String, String)>,
    /// The numbers of each sample, in this order; at most 4,096.
    pub series: Vec<Series>,
    /// The kinds of steps whose times each sample has, in this order; at most 64.
    pub latencies: Vec<String>,
}

impl Schema {
    /// The place of a series in each sample; `None` when the record does not have it.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.series.iter().position(|series| series.name == name)
    }

    /// A fact by its name.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A memory at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Microseconds since the record began.
    pub at_us: u64,
    /// The numbers, in the schema's order; `None` where one is not known.
    pub values: Vec<Option<u64>>,
    /// How long steps took since the beginning, in the schema's order.
    pub latencies: Vec<Latency>,
    /// The spaces that live, by a number that no other space of the memory ever had.
    pub spaces: BTreeMap<u64, Arc<Row>>,
    /// What the program said since the sample before.
    pub marks: Vec<String>,
}

impl Sample {
    /// A number by its name.
    #[must_use]
    pub fn value(&self, schema: &Schema, name: &str) -> Option<u64> {
        *self.values.get(schema.index(name)?)?
    }

    /// The times of a kind of step, by its name.
    #[must_use]
    pub fn latency(&self, schema: &Schema, name: &str) -> Option<&Latency> {
        let at = schema.latencies.iter().position(|kind| kind == name)?;
        self.latencies.get(at)
    }
}

/// How a space came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Made {
    /// Of zeros.
    #[default]
    Created,
    /// As a copy of its parent.
    Forked,
    /// As a copy of its parent for others to be forked from.
    Frozen,
}

/// One space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The space that it is a copy of, which may have ended.
    pub parent: Option<u64>,
    /// How it came to be.
    pub made: Made,
    /// Whether an access to it has failed, and nobody has taken that yet.
    pub condemned: bool,
    /// Accessible pages.
    pub len: u32,
    /// Of these, how many are what; in the order of [`PageState::ALL`]. Nothing while nobody has
    /// looked at its pages.
    pub pages: Option<[u32; PageState::ALL.len()]>,
    /// When its pages were looked at: microseconds since the record began.
    pub looked_at_us: u64,
    /// What they were, page by page.
    pub map: PageMap,
}

impl Row {
    /// How many of its pages are in this state; `None` while nobody has looked.
    #[must_use]
    pub fn count(&self, state: PageState) -> Option<u32> {
        Some(self.pages?[state as usize])
    }

    /// Pages that it holds for itself, in memory or in the store: what it has beside its template.
    /// `None` while nobody has looked.
    #[must_use]
    pub fn own(&self) -> Option<u32> {
        let pages = self.pages?;
        let of = |state: &PageState| pages[*state as usize];
        let own = [PageState::Exclusive, PageState::Pinned, PageState::Compressed];
        Some(own.iter().map(of).sum())
    }
}

impl Row {
    /// Pages that are held for it, in memory or in the store: of a fork what it has for itself
    /// ([`own`](Self::own)), for the rest is its template's; of any other space all. `None` while
    /// nobody has looked.
    #[must_use]
    pub fn holds(&self) -> Option<u32> {
        use PageState::{Exported, Merged, Shared};
        let of = |state: PageState| self.count(state).unwrap_or(0);
        match self.made {
            Made::Forked => self.own(),
            Made::Created | Made::Frozen => Some(self.own()? + of(Exported) + of(Shared) + of(Merged)),
        }
    }
}

/// What a page of a space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageState {
    /// Zeros, without memory.
    Absent,
    /// What its template has there: nobody has stored near it since the fork.
    Inherited,
    /// In memory, the space's own.
    Exclusive,
    /// In memory, in this space's window; relatives share it.
    Exported,
    /// In memory, in the pool; relatives may share it.
    Shared,
    /// In memory; equal pages became one.
    Merged,
    /// In the compressed store.
    Compressed,
    /// In memory, and nobody may move it.
    Pinned,
    /// A file's page.
    File,
    /// Served by the kernel: whether it was copied is not known.
    Native,
}

impl PageState {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Absent,
        Self::Inherited,
        Self::Exclusive,
        Self::Exported,
        Self::Shared,
        Self::Merged,
        Self::Compressed,
        Self::Pinned,
        Self::File,
        Self::Native,
    ];

    /// Its name, one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Inherited => "inherited",
            Self::Exclusive => "exclusive",
            Self::Exported => "exported",
            Self::Shared => "shared",
            Self::Merged => "merged",
            Self::Compressed => "compressed",
            Self::Pinned => "pinned",
            Self::File => "file",
            Self::Native => "native",
        }
    }

    /// A letter for it, which no other state has.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Absent => '.',
            Self::Inherited => '=',
            Self::Exclusive => 'X',
            Self::Exported => 'e',
            Self::Shared => 's',
            Self::Merged => 'm',
            Self::Compressed => 'c',
            Self::Pinned => 'P',
            Self::File => 'f',
            Self::Native => '?',
        }
    }
}

/// Cells of a map, at the most: what the pages of a larger space are is told for several at once.
pub(crate) const MAX_CELLS: u32 = 4096;

/// What the pages of a space are, in their order: stretches of cells of the same state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageMap {
    /// Pages of a cell, a power of two; the state of a cell is that of most of its pages.
    pub cell_pages: u32,
    /// The stretches, one after the other; neighbours differ.
    pub stretches: Vec<Stretch>,
}

/// Cells of a map that follow one another and are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What they are.
    pub state: PageState,
    /// How many, at least one.
    pub cells: u32,
}

impl PageMap {
    /// Pages of a cell in the map of a space of so many pages.
    #[must_use]
    pub fn cell_pages_of(len: u32) -> u32 {
        len.div_ceil(Self::MAX_CELLS).next_power_of_two()
    }

    /// Cells of a map, at the most.
    pub const MAX_CELLS: u32 = MAX_CELLS;

    /// Puts cells at the end.
    pub fn push(&mut self, state: PageState, cells: u32) {
        match self.stretches.last_mut() {
            Some(last) if last.state == state => last.cells += cells,
            _ if cells == 0 => (),
            _ => self.stretches.push(Stretch { state, cells }),
        }
    }

    /// All cells.
    #[must_use]
    pub fn cells(&self) -> u32 {
        self.stretches.iter().map(|stretch| stretch.cells).sum()
    }

    /// The state of a cell.
    #[must_use]
    pub fn at(&self, cell: u32) -> Option<PageState> {
        let mut before = 0;
        let mut stretches = self.stretches.iter();
        let found = stretches.find(|stretch| {
            before += stretch.cells;
            cell < before
        });
        found.map(|stretch| stretch.state)
    }
}
