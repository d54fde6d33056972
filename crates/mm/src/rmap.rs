//! The reverse map: the only way from a frame to the entries that name it.
//!
//! A frame's mappers are leaf tables, all in the same slot, chained through that slot's links and
//! headed by the mapping word. Everything here happens under the frame lock; whoever finds it taken
//! treats the frame as in use and never walks without it. An entry names the frame exactly as long
//! as its leaf is on the chain. `Sweep` gathers what a teardown frees, so that pool pages go in
//! runs and private pages are refunded when their window is gone.

use crate::addr::{FrameNo, PageNo, PoolPage, SpaceNo};
use crate::backing::BackingNo;
use crate::budget::Refund;
use crate::frame::{Locked, Owner, Put, Residence};
use crate::host::{Host, Store};
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
            Residence::Nowhere => panic!("frame {} has mappers but no bytes", locked.no),
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
                    mm.swap.put(swapped, &mm.store, &mm.budget);
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
        let (Owner::Exclusive(at) | Owner::Shared(at)) = owner else {
            panic!("mapped a frame for nobody")
        };
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
        let Owner::Shared(head) = locked.frame.word.load().owner else {
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
        locked.set_owner(Owner::Shared(LeafSlot { leaf, slot }));
    }

    /// Takes a leaf off the chain; true when it was the only one.
    pub fn unchain(&self, locked: &Locked<'_>, at: LeafSlot) -> bool {
        let (Owner::Exclusive(head) | Owner::Shared(head)) = locked.frame.word.load().owner else {
            panic!("frame {} is unmapped but has no owner", locked.no)
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
            locked.set_owner(Owner::Shared(LeafSlot {
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
        while let Owner::Exclusive(at) | Owner::Shared(at) = locked.frame.word.load().owner {
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
        let head = match locked.frame.word.load().owner {
            Owner::Nobody => None,
            Owner::Exclusive(at) | Owner::Shared(at) => Some(at),
        };
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
    if let Some(slot) = locked.cached.take() {
        mm.swap.drop_cache(slot, &mm.store, &mm.budget);
    }
    locked.retire();
}

/// The overflow page is free; its frame's charge is refunded by the caller.
pub(crate) fn free_overflow_page<H: Host, S: Store>(mm: &Mm<H, S>, at: PoolPage) {
    mm.host.pool_free(at, 1);
    mm.backings.free_overflow(at);
}

/// Calls `visit` with up to `most` of the spaces that can reach the frame.
pub(crate) fn rmap_walk<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    most: usize,
    visit: &mut dyn FnMut(SpaceNo),
) {
    let mut left = most;
    for at in mm.tables.mappers(locked) {
        let more = left != 0
            && Trees::new(&mm.tables, &mm.spaces).spaces_of(at.leaf, &mut |space| {
                visit(space);
                left -= 1;
                left != 0
            });
        if !more {
            return;
        }
    }
}
