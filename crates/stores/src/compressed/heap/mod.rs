//! The heap: all stored objects, their names, and the index of their contents.
//!
//! Everything in this folder is one structure under one lock (`CompressedStore::heap`), held only
//! for short copies and table work, never while a page is encoded, decoded, hashed or compared. Who
//! needs an object across an unlocked step takes a *hold* on it ([`Heap::hold`]); a delta has a
//! hold on its base for life. An object goes when it has neither references nor holds:
//!
//! ```text
//!  id ──ids──> place ──> slot of a class: [ header | body ]     refs: puts not yet freed
//!               ^                             │   └ link: base  holds: deltas, and calls under way
//!  checksum ──index──> chain through headers ─┘
//! ```
//!
//! Read next: `arena.rs` (the bytes), `object.rs` (the header), `index.rs`, `ids.rs`, `class.rs`,
//! `holes.rs`.

mod arena;
mod class;
mod holes;
mod ids;
mod index;
mod object;

use super::scratch::Copied;
use crate::codec::Kind;
use arena::Arena;
use class::{CLASSES, SLOT_BITS};
use holes::Holes;
use ids::Ids;
use index::Index;
use memfold_host::{Cost, Domain, Ledger, StoreError, StoreStats};
use object::COUNT_MAX;

pub(super) use object::{HEADER, Header};

/// The region of the ids; the classes come before it, the index's heads after.
const IDS: arena::Region = CLASSES;
const TENANTS: arena::Region = CLASSES + 2;
const _: () = assert!(TENANTS == index::TENANT + 1 && CLASSES < 63);

/// See the head of the file.
pub(super) struct Heap {
    arena: Arena,
    ids: Ids,
    index: Index,
    /// Slots of each class, holes among them.
    slots: [u32; CLASSES as usize],
    holes: Holes,
    /// All but `held_bytes`.
    stats: StoreStats,
}

/// What an object costs: its slot, its id and its share of the index's heads, each with its share
/// of the tables of frames.
pub(super) fn cost(header: &Header) -> Cost {
    let words = 2 * size_of::<u32>();
    let held = class::size(class::class_for(usize::from(header.len))) + words;
    let bytes = (held as u64 * arena::FRAME_COST).div_ceil(arena::FRAME as u64);
    Cost {
        bytes,
        shared: header.refs > 1 || header.holds > 0,
        delta: header.kind.is_delta(),
    }
}

/// A body that is to become an object.
pub(super) struct Fresh<'a> {
    pub(super) checksum: u64,
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
    /// The id of the base when the kind is a delta, else the domain.
    pub(super) link: u32,
}

impl Heap {
    /// A heap that holds nothing.
    pub(super) fn new() -> Self {
        Self {
            arena: Arena::new(TENANTS),
            ids: Ids::new(IDS),
            index: Index::default(),
            slots: [0; CLASSES as usize],
            holes: Holes::new(),
            stats: StoreStats::default(),
        }
    }

    /// What is held now.
    pub(super) fn stats(&self) -> StoreStats {
        StoreStats {
            held_bytes: self.arena.held_bytes(),
            ..self.stats
        }
    }

    /// Counts a page that is kept in its name.
    pub(super) fn add_inline(&mut self) {
        self.stats.pages += 1;
        self.stats.same_filled += 1;
    }

    /// Forgets one.
    pub(super) fn remove_inline(&mut self) {
        assert!(self.stats.same_filled > 0, "each put is answered by one free");
        self.stats.pages -= 1;
        self.stats.same_filled -= 1;
    }

    /// The header of an object; `None` when there is no such object, or its memory has gone bad.
    pub(super) fn header(&self, id: u32) -> Option<Header> {
        let place = self.ids.get(&self.arena, id)?;
        let mut bytes = [0; HEADER];
        self.arena.read(place.class, place.offset(), &mut bytes);
        Header::read(&bytes)
            .filter(|header| header.id == id && HEADER + usize::from(header.len) <= class::size(place.class))
    }

    /// The object's domain, which for a delta its base knows.
    fn domain(&self, header: &Header) -> Option<Domain> {
        if !header.kind.is_delta() {
            return Some(Domain(header.link));
        }
        self.header(header.link)
            .filter(|base| !base.kind.is_delta())
            .map(|base| Domain(base.link))
    }

    /// The object that a page near `id` could be a difference to: itself, or its base when it is a
    /// delta.
    pub(super) fn base(&self, domain: Domain, near: &Header) -> Option<Header> {
        let base = if near.kind.is_delta() {
            self.header(near.link)?
        } else {
            *near
        };
        (!base.kind.is_delta() && base.link == domain.0 && base.holds < COUNT_MAX).then_some(base)
    }

    /// Copies the object's body, and its base's if it is a delta. `None` when the memory has gone
    /// bad.
    pub(super) fn copy(&self, header: &Header, out: &mut Copied) -> Option<()> {
        out.plan = None;
        self.read_body(header, &mut out.body)?;
        let base = if header.kind.is_delta() {
            let base = self.header(header.link).filter(|base| !base.kind.is_delta())?;
            self.read_body(&base, &mut out.base_body)?;
            Some(base)
        } else {
            None
        };
        out.plan = Some((*header, base));
        Some(())
    }

    /// Keeps the object, and what it needs, until [`Heap::let_go`].
    pub(super) fn hold(&mut self, id: u32) {
        let mut header = self.expect_header(id);
        header.holds += 1;
        self.write_header(&header);
    }

    /// Undoes [`Heap::hold`].
    pub(super) fn let_go(&mut self, id: u32, ledger: &dyn Ledger) {
        self.drop_hold(id);
        self.arena.settle(ledger);
    }

    /// One more page is this object.
    pub(super) fn share(&mut self, id: u32) {
        let mut header = self.expect_header(id);
        self.count(&header, |n| *n += 1);
        header.refs += 1;
        self.write_header(&header);
    }

    /// One page less is this object.
    ///
    /// # Panics
    /// When there is no such object, or no page is this object any more.
    pub(super) fn unshare(&mut self, id: u32, ledger: &dyn Ledger) {
        let mut header = self.expect_header(id);
        header.refs = header
            .refs
            .checked_sub(1)
            .expect("each put is answered by one free");
        self.count(&header, |n| *n -= 1);
        self.write_header(&header);
        self.drop_unused(header);
        self.arena.settle(ledger);
    }

    /// Stores a body as a new object with one reference. A delta takes over a hold on its base.
    ///
    /// # Errors
    /// `Full` when the ledger refuses, `Device` when the system does; nothing has changed then.
    pub(super) fn add(&mut self, fresh: &Fresh<'_>, ledger: &dyn Ledger) -> Result<u32, StoreError> {
        let class = class::class_for(fresh.body.len());
        let place = self.next_slot(class);
        let end = place.offset() + class::size(class);
        let body_frames = end
            .div_ceil(arena::FRAME)
            .saturating_sub(self.arena.frames(class));
        if place.slot >> SLOT_BITS != 0 || self.ids.is_full() {
            return Err(StoreError::Full);
        }
        if !self.ids.has_tables() {
            return Err(StoreError::Device(arena::NO_MEMORY));
        }
        let table_frames = self.ids.frames_to_add() + self.index.frames_to_link();
        self.arena.reserve(body_frames + table_frames, ledger)?;

        // From here on nothing fails.
        (0..body_frames).for_each(|_| self.arena.push_frame(class));
        self.take_slot(class);
        let id = self.ids.add(&mut self.arena, place);
        let (len, link) = (fresh.body.len() as u16, fresh.link);
        let mut header = Header {
            checksum: fresh.checksum,
            kind: fresh.kind,
            len,
            refs: 0,
            holds: 0,
            id,
            next: 0,
            link,
        };
        self.count(&header, |n| *n += 1);
        header.refs = 1;
        header.next = self.link(&header);
        self.arena.write(class, place.offset(), &header.to_bytes());
        self.arena.write(class, place.offset() + HEADER, fresh.body);
        self.stats.encoded_bytes += u64::from(len);
        Ok(id)
    }

    fn drop_hold(&mut self, id: u32) {
        let mut header = self.expect_header(id);
        header.holds = header.holds.checked_sub(1).expect("each hold is let go once");
        self.write_header(&header);
        self.drop_unused(header);
    }

    /// Removes the object if nobody needs it; then its base may be without need too.
    fn drop_unused(&mut self, header: Header) {
        if header.refs > 0 || header.holds > 0 {
            return;
        }
        self.unlink(&header);
        let place = self
            .ids
            .get(&self.arena, header.id)
            .expect("an object has a place until it is removed");
        self.leave_slot(place);
        self.ids.remove(&mut self.arena, header.id);
        self.stats.encoded_bytes -= u64::from(header.len);
        if header.kind.is_delta() {
            // One level: a base is no delta.
            self.drop_hold(header.link);
        }
    }

    /// Counts one page in or out of an object whose other references are `header.refs`.
    fn count(&mut self, header: &Header, step: impl Fn(&mut u64)) {
        step(&mut self.stats.pages);
        match header.kind {
            _ if header.refs > 0 => step(&mut self.stats.duplicates),
            Kind::Fill => step(&mut self.stats.same_filled),
            Kind::Runs | Kind::Dict => step(&mut self.stats.deltas),
            Kind::Raw => step(&mut self.stats.raw),
            Kind::Lz4 | Kind::Sparse => {}
        }
    }

    fn expect_header(&self, id: u32) -> Header {
        self.header(id)
            .expect("an object in use is there, and its header is sound")
    }

    fn write_header(&mut self, header: &Header) {
        let place = self
            .ids
            .get(&self.arena, header.id)
            .expect("an object in use has a place");
        self.arena.write(place.class, place.offset(), &header.to_bytes());
    }

    fn read_body(&self, header: &Header, out: &mut [u8]) -> Option<()> {
        let place = self.ids.get(&self.arena, header.id)?;
        let out = out.get_mut(..usize::from(header.len))?;
        self.arena.read(place.class, place.offset() + HEADER, out);
        Some(())
    }

    /// Flips a bit of the object's slot (header, body, what is left); false when it is not that
    /// long.
    #[cfg(test)]
    pub(super) fn flip(&mut self, id: u32, bit: usize) -> bool {
        let place = self.ids.get(&self.arena, id).expect("it is there");
        if bit / 8 >= class::size(place.class) {
            return false;
        }
        let mut byte = [0];
        self.arena.read(place.class, place.offset() + bit / 8, &mut byte);
        self.arena
            .write(place.class, place.offset() + bit / 8, &[byte[0] ^ 1 << (bit % 8)]);
        true
    }
}
