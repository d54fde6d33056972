//! What a page is where no table says more.
//!
//! The tables of a space name what it wrote. Where a leaf's entry is absent, or the tables do not
//! reach so far, the page is what *backs* it: zeros, or the page of a file that an *area* of the
//! space shows there. Whoever meets an absent entry asks here, by the space and the page, and
//! matches on the answer; nowhere else does "absent" mean anything. An area also says which
//! accesses its pages allow. A space's areas ([`Areas`]) stand in its state, under the space lock,
//! in order and without overlap; pages in none of them are zeros that may be stored to, so that a
//! space without areas has an empty list. An answer takes no lock of its own and no memory. Asked
//! by faults, reads beside the window (`peek.rs`), merging, forks, and by who changes areas.

mod changed;

use super::file::FileNo;
use super::mappings::Mapping;
use super::read_ahead::{Order, ReadAhead};
use crate::addr::{Access, PAGE_SIZE, PageBytes, PageNo, Run, SpaceNo};
use crate::host::{Piece, Protection};

/// Most areas of one space: each may be a mapping of the machine's, which allows a process some ten
/// thousands.
pub(crate) const MOST_AREAS: usize = 1024;

/// What backs a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackedBy {
    /// Zeros, which need no memory.
    Zeros,
    /// A page of a file.
    File(FilePage),
}

/// A page of a file as an area shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilePage {
    pub file: FileNo,
    pub page: PageNo,
    pub kind: Piece,
}

impl BackedBy {
    /// Whether the page is known to have these bytes, so that a frame with them may go and leave it
    /// to what backs it. A file may change.
    pub fn is(self, bytes: &PageBytes) -> bool {
        static ZEROS: PageBytes = [0; PAGE_SIZE];
        match self {
            Self::Zeros => *bytes == ZEROS,
            Self::File(_) => false,
        }
    }
}

/// Which accesses the pages of an area allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// None.
    None,
    /// Loads.
    Read,
    /// Loads and stores.
    #[default]
    ReadWrite,
}

impl Rights {
    /// Whether they allow an access.
    #[must_use]
    #[inline]
    pub fn allow(self, access: Access) -> bool {
        match self {
            Self::None => false,
            Self::Read => access == Access::Read,
            Self::ReadWrite => true,
        }
    }

    /// How a page of the space's own is shown: where no stores are allowed they are faults from the
    /// first moment on, whatever is refused later.
    pub(crate) fn protection(self) -> Protection {
        if self.allow(Access::Write) {
            Protection::Writable
        } else {
            Protection::Protected
        }
    }
}

/// What a fork gets of an area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InFork {
    /// The same as its parent.
    #[default]
    Same,
    /// Zeros of its own, with the same rights; its forks get zeros again.
    Zeros,
    /// Pages that allow no access.
    Nothing,
}

/// What the pages of an area are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AreaKind {
    /// The space's own, zeros at first.
    Own,
    /// Those of a file from this page on, the space's own once it stores to them, or shared with
    /// all who map the file so.
    File {
        /// The file.
        file: FileNo,
        /// The file's page that the area's first page shows.
        first: PageNo,
        /// Whose they are.
        kind: Piece,
    },
}

/// A run of a space's pages that are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The pages.
    pub run: Run,
    /// What they are.
    pub kind: AreaKind,
    /// Which accesses they allow.
    pub rights: Rights,
    /// In which order they are going to be used.
    pub order: Order,
    /// What forks of the space get of them.
    pub in_fork: InFork,
    /// Whether they stay in memory. Forks never have that.
    pub locked: bool,
}

impl Area {
    /// Pages of the space's own that allow everything: what is in no area.
    pub(crate) fn plain(run: Run) -> Self {
        Self {
            run,
            kind: AreaKind::Own,
            rights: Rights::ReadWrite,
            order: Order::Adaptive,
            in_fork: InFork::Same,
            locked: false,
        }
    }

    /// What stands in its place in a fork.
    fn of_fork(self) -> Self {
        let plain = Self::plain(self.run);
        match self.in_fork {
            InFork::Same => Self {
                locked: false,
                ..self
            },
            InFork::Zeros => Self {
                rights: self.rights,
                in_fork: InFork::Zeros,
                ..plain
            },
            InFork::Nothing => Self {
                rights: Rights::None,
                ..plain
            },
        }
    }

    /// The part of it from one page to before another, if there is any.
    fn part(self, first: PageNo, end: PageNo) -> Option<Self> {
        let run = self.run.within(first, end)?;
        let kind = match self.kind {
            AreaKind::File {
                file,
                first: at,
                kind,
            } => AreaKind::File {
                file,
                first: at.plus(run.first.0 - self.run.first.0),
                kind,
            },
            own @ AreaKind::Own => own,
        };
        Some(Self { run, kind, ..self })
    }

    /// Whether the one that begins where it ends goes on with the same.
    fn goes_on(&self, next: &Self) -> bool {
        let whole = Self {
            run: Run {
                first: self.run.first,
                len: self.run.len + next.run.len,
            },
            ..*self
        };
        self.run.end() == next.run.first && whole.part(next.run.first, next.run.end()) == Some(*next)
    }

    /// The area as the file that it shows knows it.
    pub(crate) fn mapping(&self, space: SpaceNo) -> Option<(FileNo, Mapping)> {
        let AreaKind::File { file, first, kind } = self.kind else {
            return None;
        };
        let run = self.run;
        let mapping = Mapping {
            space,
            run,
            first,
            kind,
            locked: self.locked && !self.has_copies(),
        };
        Some((file, mapping))
    }

    /// Whether it shows a file's pages of which the space has its own copies where they are to stay
    /// in memory: stores to them need no room then, and the file's pages need not stay.
    pub(crate) fn has_copies(&self) -> bool {
        let private = matches!(
            self.kind,
            AreaKind::File {
                kind: Piece::Private,
                ..
            }
        );
        private && self.rights == Rights::ReadWrite
    }

    /// What it costs to keep it, in bytes.
    fn bytes(&self) -> u64 {
        // In a vector that may have doubled.
        let mapping = self.mapping(SpaceNo(0)).map_or(0, |(_, mapping)| mapping.bytes());
        2 * size_of::<Self>() as u64 + mapping
    }
}

/// What backs the pages of one space, and which accesses they allow. Forks begin with their
/// parent's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Areas {
    areas: Vec<Area>,
    /// Where files are read ahead.
    pub ahead: ReadAhead,
}

impl Areas {
    /// Whether there are none: all pages are zeros that may be stored to.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Whether a page is the space's own, zeros at first, and allows the access. Faults ask it of
    /// each page around; most spaces have no areas.
    #[inline]
    pub fn own(&self, page: PageNo, access: Access) -> bool {
        self.is_empty() || !self.is_file(page) && self.rights(page).allow(access)
    }

    #[inline]
    fn at(&self, page: PageNo) -> Option<&Area> {
        if self.is_empty() { None } else { self.search(page) }
    }

    fn search(&self, page: PageNo) -> Option<&Area> {
        let n = self.areas.partition_point(|area| area.run.end() <= page);
        self.areas.get(n).filter(|area| area.run.has(page))
    }

    /// What backs a page of the space.
    #[inline]
    pub fn of(&self, page: PageNo) -> BackedBy {
        match self.at(page) {
            Some(&Area {
                run,
                kind: AreaKind::File { file, first, kind },
                ..
            }) => BackedBy::File(FilePage {
                file,
                page: first.plus(page.0 - run.first.0),
                kind,
            }),
            _ => BackedBy::Zeros,
        }
    }

    /// Whether a page lies in an area of a file, so that the window shows the file's pages there.
    #[inline]
    pub fn is_file(&self, page: PageNo) -> bool {
        self.of(page) != BackedBy::Zeros
    }

    /// Whether a page is shared with all who map the file so.
    pub fn is_shared(&self, page: PageNo) -> bool {
        matches!(self.of(page), BackedBy::File(at) if at.kind == Piece::Shared)
    }

    /// Whether some of the pages lie in areas of files.
    pub fn has_file(&self, run: Run) -> bool {
        let mut parts = self.iter().filter_map(|area| area.part(run.first, run.end()));
        parts.any(|part| part.kind != AreaKind::Own)
    }

    /// The parts of a run that are each of one area, or of none.
    pub fn parts(&self, run: Run) -> Vec<Area> {
        let mut parts = Vec::new();
        let mut next = run.first;
        let plain = |first: PageNo, end: PageNo| {
            let len = end.0 - first.0;
            Area::plain(Run { first, len })
        };
        for part in self.iter().filter_map(|area| area.part(run.first, run.end())) {
            if next < part.run.first {
                parts.push(plain(next, part.run.first));
            }
            next = part.run.end();
            parts.push(part);
        }
        if next < run.end() {
            parts.push(plain(next, run.end()));
        }
        parts
    }

    /// Which accesses a page allows.
    #[inline]
    pub fn rights(&self, page: PageNo) -> Rights {
        self.at(page).map_or(Rights::ReadWrite, |area| area.rights)
    }

    /// Whether a page stays in memory.
    #[inline]
    pub fn is_locked(&self, page: PageNo) -> bool {
        self.at(page).is_some_and(|area| area.locked)
    }

    /// How many pages stay in memory.
    pub fn locked_pages(&self) -> u64 {
        let locked = self.iter().filter(|area| area.locked);
        locked.map(|area| u64::from(area.run.len)).sum()
    }

    /// In which order a page and its neighbours are going to be used.
    pub fn order(&self, page: PageNo) -> Order {
        self.at(page).map_or(Order::Adaptive, |area| area.order)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.areas.iter()
    }

    /// What they cost, in bytes.
    pub fn bytes(&self) -> u64 {
        self.areas.iter().map(Area::bytes).sum()
    }

    /// What a fork has of them.
    pub fn of_fork(&self) -> Self {
        // As many as there are: what is plain afterwards is left out only when it was before.
        Self {
            areas: self.areas.iter().map(|area| area.of_fork()).collect(),
            ahead: self.ahead,
        }
    }

    /// The runs that a fork does not have as its parent has them.
    pub fn kept_from_forks(&self) -> Vec<Run> {
        let kept = self.iter().filter(|area| area.in_fork != InFork::Same);
        kept.map(|area| area.run).collect()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
