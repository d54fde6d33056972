//! The reverse map: the only way from a frame to the entries that name it, and from a file's frame
//! to the areas that show it.
//!
//! A frame's mappers are leaf tables, all in the same slot, chained through that slot's links and
//! headed by the mapping word; a file knows its areas (`backing/mappings.rs`). Everything here
//! happens under the frame lock; whoever finds it taken treats the frame as in use and never walks
//! without it. An entry names the frame exactly as long as its leaf is on the chain. `Sweep`
//! gathers what a teardown frees, so that pool pages go in runs and private pages are refunded when
//! their window is gone.

use crate::addr::{FrameNo, PageNo, PoolPage, SpaceNo};
use crate::backing::BackingNo;
use crate::backing::file::FileNo;
use crate::budget::Refund;
use crate::frame::{Locked, Owner, Put, Residence};
use crate::host::{Host, Piece, Store};
use crate::mm::{Mm, free_frame};
use crate::table::{LeafEntry, LeafSlot, Leaves, Slot, TableNo, Tables, Trees};

const RUN: usize = if cfg!(any(loom, shuttle)) { 2 } else { 64 };

/// What a teardown frees, gathered.
pub(crate) struct Sweep<'a, H: Host, S: Store> {
    mm: &'a Mm<H, S>,
    /// Private pages whose window is about to be closed.
    private: Refund,
    /// A run of pool pages, not freed yet: its backing, its first page, the frames that stood
    /// there.
    backing: Option<(BackingNo, PageNo)>,
    stood: [u32; RUN],
    len: usize,
    pool: Refund,
}

impl<'a, H: Host, S: Store> Sweep<'a, H, S> {
    pub fn new(mm: &'a Mm<H, S>) -> Self {
        Self {
            mm,
            private: Refund::default(),
            backing: None,
            stood: [0; RUN],
            len: 0,
            pool: Refund::default(),
        }
    }

    fn push(&mut self, backing: BackingNo, page: PageNo, locked: &mut Locked<'_>) {
        let follows = self
            .backing
            .is_some_and(|(h, first)| h == backing && first.plus(self.len as u32) == page);
        if !follows || self.len == RUN {
            self.finish_pool();
            self.backing = Some((backing, page));
        }
        self.stood[self.len] = locked.no.0;
        self.len += 1;
        self.pool.add(locked.charge.take());
    }

    /// Frees the pool pages gathered so far.
    pub fn finish_pool(&mut self) {
        let Some((backing, first)) = self.backing.take() else {
            return;
        };
        let mm = self.mm;
        mm.host
            .pool_free(mm.backings.first(backing).plus(first.0), self.len as u32);
        for (n, &frame) in self.stood[..self.len].iter().enumerate() {
            mm.backings.remove(backing, first.plus(n as u32), FrameNo(frame));
        }
        self.pool.pay(&mm.budget);
        self.len = 0;
    }

    /// A leaf names the frame no more (its entry is changed already); frees what nobody names.
    pub fn unmap(&mut self, locked: Locked<'_>, at: LeafSlot) {
        let page = self.mm.tables.page_of(at);
        let last = self.mm.tables.unchain(&locked, at);
        if last {
            self.release(locked, page);
        } else {
            let put = locked.frame.count.unmap();
            assert_eq!(put, Put::Held, "a frame with mappers lost its last reference");
        }
    }

    /// Nobody names the frame: its bytes go.
    fn release(&mut self, mut locked: Locked<'_>, page: PageNo) {
        match locked.residence {
            Residence::Private(space) => {
                if locked.frame.is_shared() {
                    self.mm.spaces.get(space.0).unexport();
                }
                self.private.add(locked.charge.take());
            }
            Residence::Backing(backing) => self.push(backing, page, &mut locked),
            Residence::Overflow(at) => {
                free_overflow_page(self.mm, at);
                self.mm.budget.refund_page(locked.charge.take());
            }
            Residence::Nowhere | Residence::File(..) => {
                panic!("frame {} has mappers but no bytes of theirs", locked.no)
            }
        }
        retire(self.mm, &mut locked);
        let put = locked.frame.count.unmap();
        let no = locked.no;
        drop(locked);
        if put == Put::Last {
            free_frame(self.mm, no);
        }
    }

    /// Private pages that were freed while their window is open still.
    pub fn private_pages(&self) -> u64 {
        self.private.pages()
    }

    /// The window is closed: its private pages are held no more.
    pub fn finish_private(&mut self) {
        self.private.pay(&self.mm.budget);
    }
}

impl<H: Host, S: Store> Drop for Sweep<'_, H, S> {
    fn drop(&mut self) {
        self.finish_pool();
        assert_eq!(
            self.private.pages(),
            0,
            "private pages were freed while their window is open"
        );
    }
}

impl<H: Host, S: Store> Leaves for Sweep<'_, H, S> {
    fn copy(&self, from: &Slot, to: &Slot, at: LeafSlot) {
        let mm = self.mm;
        // Ends when the entry holds still: each turn means that somebody evicted or brought in the
        // page.
        loop {
            let entry = from.entry.leaf();
            match entry {
                LeafEntry::Absent => return,
                LeafEntry::Frame(frame) => {
                    let locked = mm.frames.lock(frame);
                    if from.entry.leaf() == entry {
                        mm.tables.map_also(&locked, at.leaf, at.slot);
                        to.entry.set_leaf(entry);
                        return;
                    }
                }
                LeafEntry::Swapped(slot) => {
                    if mm.swap.dup(slot) {
                        to.entry.set_leaf(entry);
                        return;
                    }
                }
            }
        }
    }

    fn clear(&mut self, at: LeafSlot) {
        let mm = self.mm;
        let slot = mm.tables.at(at.leaf).slot(at.slot);
        loop {
            let entry = slot.entry.leaf();
            match entry {
                LeafEntry::Absent => return,
                LeafEntry::Frame(frame) => {
                    let locked = mm.frames.lock(frame);
                    if slot.entry.leaf() == entry {
                        slot.entry.set_leaf(LeafEntry::Absent);
                        self.unmap(locked, at);
                        return;
                    }
                }
                LeafEntry::Swapped(swapped) => {
                    slot.entry.set_leaf(LeafEntry::Absent);
                    if mm.swap.put(swapped, &mm.store, &mm.budget) {
                        mm.backings.perhaps_idle_anywhere();
                    }
                    return;
                }
            }
        }
    }

    fn finish(&mut self) {
        self.finish_pool();
    }
}

/// The chain of a locked frame's mappers, which stands in the tables.
impl Tables {
    /// The first mapping of a fresh frame. The entry is stored afterwards, by the caller.
    pub fn map_new(&self, locked: &Locked<'_>, owner: Owner) {
        let at = owner.head().expect("a leaf maps the frame");
        let links = &self.at(at.leaf).slot(at.slot).links;
        links.set_next(0);
        links.set_prev(0);
        locked.frame.history.forget();
        locked.frame.shown.begin();
        locked.frame.count.begin();
        locked.set_owner(owner);
    }

    /// One leaf more names the frame, in the same slot as the others. The entry is stored by the
    /// caller.
    pub fn map_also(&self, locked: &Locked<'_>, leaf: TableNo, slot: u8) {
        let owner = locked.frame.word.load().owner;
        let Some(head) = owner.shared_head() else {
            panic!("frame {} has one owner and was mapped again", locked.no)
        };
        assert_eq!(
            head.slot, slot,
            "frame {} was mapped in two different slots",
            locked.no
        );
        let links = &self.at(leaf).slot(slot).links;
        links.set_prev(0);
        links.set_next(head.leaf.0);
        self.at(head.leaf).slot(slot).links.set_prev(leaf.0);
        locked.frame.count.map();
        locked.set_owner(owner.with_head(LeafSlot { leaf, slot }));
    }

    /// Takes a leaf off the chain; true when it was the only one.
    pub fn unchain(&self, locked: &Locked<'_>, at: LeafSlot) -> bool {
        let owner = locked.frame.word.load().owner;
        let Some(head) = owner.head() else {
            panic!("frame {} is unmapped but no leaf names it", locked.no)
        };
        let links = &self.at(at.leaf).slot(at.slot).links;
        let (next, prev) = (links.next(), links.prev());
        links.set_next(0);
        links.set_prev(0);
        if next != 0 {
            self.at(TableNo(next)).slot(at.slot).links.set_prev(prev);
        }
        if prev != 0 {
            self.at(TableNo(prev)).slot(at.slot).links.set_next(next);
            return false;
        }
        assert_eq!(head, at, "frame {}'s chain lost a mapper", locked.no);
        if next != 0 {
            locked.set_owner(owner.with_head(LeafSlot {
                leaf: TableNo(next),
                slot: at.slot,
            }));
        }
        next == 0
    }

    /// Puts `to` in place of the frame in every leaf that names it; returns how many did. The
    /// caller has moved the bytes and drops its own reference afterwards.
    pub fn replace_all(&self, locked: &mut Locked<'_>, to: LeafEntry) -> u32 {
        let mut replaced = 0;
        while let Some(at) = locked.frame.word.load().owner.head() {
            // Off the chain first: once the entry names no frame, its space may put another frame
            // into the slot and link that one, without this frame's lock.
            if self.unchain(locked, at) {
                locked.retire();
            }
            self.set_entry(at, to);
            replaced += 1;
            let put = locked.frame.count.unmap();
            assert_eq!(put, Put::Held, "the evicting thread holds a reference");
        }
        replaced
    }

    /// The leaves that name the frame, in chain order.
    pub fn mappers<'s>(&'s self, locked: &Locked<'_>) -> impl Iterator<Item = LeafSlot> + 's {
        let head = locked.frame.word.load().owner.head();
        std::iter::successors(head, |at| {
            let next = self.at(at.leaf).slot(at.slot).links.next();
            (next != 0).then_some(LeafSlot {
                leaf: TableNo(next),
                slot: at.slot,
            })
        })
    }
}

/// The frame has no bytes and no owner any more.
pub(crate) fn retire<H: Host, S: Store>(mm: &Mm<H, S>, locked: &mut Locked<'_>) {
    if let Some(slot) = locked.cached.take()
        && mm.swap.drop_cache(slot, &mm.store, &mm.budget)
    {
        mm.backings.perhaps_idle_anywhere();
    }
    locked.retire();
}

/// The overflow page is free; its frame's charge is refunded by the caller.
pub(crate) fn free_overflow_page<H: Host, S: Store>(mm: &Mm<H, S>, at: PoolPage) {
    mm.host.pool_free(at, 1);
    mm.backings.free_overflow(at);
}

/// Who can reach a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapper {
    pub space: SpaceNo,
    /// The page of that space.
    pub page: PageNo,
    pub by: By,
}

/// By what a space reaches a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Its tables.
    Tables,
    /// An area of a file, unless its tables say something of the page.
    Private,
    /// An area of a file whose pages may be stored to in place.
    Shared,
}

/// Calls `visit` with up to `most` of those who can reach the frame: the one door to the walks. The
/// owner is decoded once, under the frame's lock, and says which walk it is.
pub(crate) fn rmap_walk<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    most: usize,
    visit: &mut dyn FnMut(Mapper),
) {
    match locked.frame.word.load().owner {
        Owner::Nobody => (),
        // The sharers of a merged frame stand on its chain as those of forks do.
        Owner::Exclusive(head) | Owner::Shared(head) | Owner::Merged(head) => {
            walk_chain(mm, locked, head, most, visit);
        }
        Owner::File(file) => walk_file(mm, locked, file, most, visit),
    }
}

/// The leaves that name the frame, and the spaces above them.
fn walk_chain<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    head: LeafSlot,
    most: usize,
    visit: &mut dyn FnMut(Mapper),
) {
    let page = mm.tables.page_of(head);
    let mut left = most;
    for at in mm.tables.mappers(locked) {
        let more = left != 0
            && Trees::new(&mm.tables, &mm.spaces).spaces_of(at.leaf, &mut |space| {
                let by = By::Tables;
                visit(Mapper { space, page, by });
                left -= 1;
                left != 0
            });
        if !more {
            return;
        }
    }
}

/// The areas that show the page, under the file's lock.
fn walk_file<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    file: FileNo,
    most: usize,
    visit: &mut dyn FnMut(Mapper),
) {
    let Residence::File(of, page) = locked.residence else {
        panic!("frame {} of file {file:?} has no place in it", locked.no)
    };
    assert_eq!(of, file, "frame {} is of two files", locked.no);
    let state = mm.files.lock(file);
    for (mapping, page) in state.mappings.of(page).take(most) {
        let by = match mapping.kind {
            Piece::Private => By::Private,
            Piece::Shared => By::Shared,
        };
        let space = mapping.space;
        visit(Mapper { space, page, by });
    }
}
