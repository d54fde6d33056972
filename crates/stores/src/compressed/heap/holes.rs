//! Slots that objects left behind, kept for the next objects of their class.
//!
//! Where pages come and go, filling each hole at once would move an object for each that goes, for
//! nothing: the next one that comes needs a slot. So a class keeps a hole for each [`PART`] objects
//! that it has; what is beyond that is filled with the class's last object, and the frames at its
//! end go back. A small store keeps none.
//!
//! Which slots are holes is said by a list for each class; a hole's first bytes say where in the
//! list it stands, so that the last slot of a class is known for one without a search. Under the
//! store's lock, as part of the `Heap`.

use super::Heap;
use super::arena::{self, Region};
use super::class::{self, CLASSES, Place};
use super::object::{HEADER, Header};

/// A class keeps one hole for so many objects.
const PART: u32 = 128;
/// Classes of larger slots keep none: what a page of a few bytes less than a page holds goes back
/// with it.
const SIZE_MOST: usize = arena::FRAME / 2;

/// The holes of each class, the last one left first in use.
pub(crate) struct Holes([Vec<u32>; CLASSES as usize]);

impl Holes {
    /// None.
    pub(crate) fn new() -> Self {
        Self([const { Vec::new() }; CLASSES as usize])
    }

    fn of(&self, class: Region) -> &Vec<u32> {
        &self.0[usize::from(class)]
    }

    fn of_mut(&mut self, class: Region) -> &mut Vec<u32> {
        &mut self.0[usize::from(class)]
    }
}

impl Heap {
    /// Where the next object of the class goes.
    pub(super) fn next_slot(&self, class: Region) -> Place {
        let hole = self.holes.of(class).last().copied();
        let slot = hole.unwrap_or(self.slots[usize::from(class)]);
        Place { class, slot }
    }

    /// What [`Heap::next_slot`] said is in use now.
    pub(super) fn take_slot(&mut self, class: Region) {
        if self.holes.of_mut(class).pop().is_none() {
            self.slots[usize::from(class)] += 1;
        }
    }

    /// The object is gone: its slot is kept, or filled; frames that the class has too many are
    /// given back.
    pub(super) fn leave_slot(&mut self, gone: Place) {
        let class = gone.class;
        let holes = self.holes.of(class).len();
        let objects = self.slots[usize::from(class)] - 1 - holes as u32;
        let most = if class::size(class) > SIZE_MOST {
            0
        } else {
            (objects / PART) as usize
        };
        if holes < most && self.holes.of_mut(class).try_reserve(1).is_ok() {
            self.mark(gone, holes);
            self.holes.of_mut(class).push(gone.slot);
        } else {
            self.fill(gone);
        }
        if self.holes.of(class).len() > most
            && let Some(slot) = self.holes.of_mut(class).pop()
        {
            // One is enough: fewer are allowed by one when so many objects are gone.
            self.fill(Place { class, slot });
            arena::trim(self.holes.of_mut(class));
        }
        let slot = self.slots[usize::from(class)];
        let frames = Place { class, slot }.offset().div_ceil(arena::FRAME);
        // Ends: each turn gives one back.
        while self.arena.frames(class) > frames {
            self.arena.pop_frame(class);
        }
    }

    /// Moves the class's last object into the slot, which is in no list.
    fn fill(&mut self, hole: Place) {
        let class = hole.class;
        // Ends: each turn takes a slot off the class's end.
        loop {
            let slots = &mut self.slots[usize::from(class)];
            *slots -= 1;
            let last = Place { class, slot: *slots };
            if last == hole {
                return;
            }
            let Some(at) = self.hole_at(last) else {
                return self.move_object(last, hole);
            };
            self.holes.of_mut(class).swap_remove(at);
            if let Some(&slot) = self.holes.of(class).get(at) {
                self.mark(Place { class, slot }, at);
            }
        }
    }

    fn move_object(&mut self, from: Place, to: Place) {
        let (size, start, end) = (class::size(from.class), from.offset(), to.offset());
        let mut piece = [0; 256];
        for at in (0..size).step_by(piece.len()) {
            let len = piece.len().min(size - at);
            self.arena.read(from.class, start + at, &mut piece[..len]);
            self.arena.write(from.class, end + at, &piece[..len]);
        }
        let mut bytes = [0; HEADER];
        self.arena.read(to.class, end, &mut bytes);
        let moved = Header::read(&bytes).expect("an object that moves has a sound header");
        self.ids.set(&mut self.arena, moved.id, to);
    }

    /// Writes where in the list the hole stands; what is there is no header.
    fn mark(&mut self, hole: Place, at: usize) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(at as u64).to_le_bytes());
        self.arena.write(hole.class, hole.offset(), &bytes);
    }

    /// Where in the list the slot stands, if it is a hole.
    fn hole_at(&self, place: Place) -> Option<usize> {
        let mut bytes = [0; HEADER];
        self.arena.read(place.class, place.offset(), &mut bytes);
        let list = self.holes.of(place.class);
        let mark = bytes
            .first_chunk()
            .map(|mark| u64::from_le_bytes(*mark) as usize)?;
        if list.get(mark) == Some(&place.slot) {
            return Some(mark);
        }
        // An object, or the memory has gone bad.
        let sound = Header::read(&bytes).is_some();
        let place = |&slot: &u32| slot == place.slot;
        if sound { None } else { list.iter().position(place) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fresh;
    use super::*;
    use crate::codec::Kind;
    use crate::conformance::Account;

    const BODY: [u8; 1000] = [7; 1000];

    /// A heap of so many objects of one class, and that class.
    fn heap(objects: u64, account: &Account) -> (Heap, Region) {
        let mut heap = Heap::new();
        for n in 0..objects {
            add(&mut heap, n, account);
        }
        (heap, class::class_for(BODY.len()))
    }

    fn add(heap: &mut Heap, checksum: u64, account: &Account) -> u32 {
        let (kind, body, link) = (Kind::Lz4, &BODY[..], 0);
        let fresh = Fresh {
            checksum,
            kind,
            body,
            link,
        };
        heap.add(&fresh, account).expect("no limit")
    }

    /// Goal: a class keeps few holes, new objects use them, and all goes back in the end.
    #[test]
    fn few_are_kept_and_used() {
        let account = Account::unlimited();
        let (mut heap, class) = heap(1000, &account);
        for id in (0..500).step_by(5) {
            heap.unshare(id, &account);
            assert!(heap.holes.of(class).len() <= 1000 / PART as usize);
        }
        assert_eq!(heap.holes.of(class).len(), 900 / PART as usize);
        let charged = account.charged();
        for n in 0..7 {
            let id = add(&mut heap, 5000 + n, &account);
            assert_eq!(heap.header(id).map(|header| header.checksum), Some(5000 + n));
        }
        assert_eq!((heap.holes.of(class).len(), account.charged()), (0, charged));
        let left = (0..1000)
            .filter(|&id| heap.header(id).is_some())
            .collect::<Vec<_>>();
        assert_eq!(left.len(), 907);
        left.into_iter().for_each(|id| heap.unshare(id, &account));
        assert_eq!((heap.slots[usize::from(class)], account.charged()), (0, 0));
    }

    /// Goal: a hole at the end of its class is no object, whatever became of its bytes. Method: the
    /// last slots are holes, one bit of each is flipped, and all objects go.
    #[test]
    fn a_hole_whose_memory_has_gone_bad() {
        for bit in 0..HEADER * 8 {
            let account = Account::unlimited();
            let (mut heap, class) = heap(600, &account);
            (596..600).for_each(|id| heap.unshare(id, &account));
            assert_eq!(*heap.holes.of(class), [596, 597, 598, 599]);
            for slot in 596..600 {
                let (offset, mut byte) = (Place { class, slot }.offset() + bit / 8, [0]);
                heap.arena.read(class, offset, &mut byte);
                heap.arena.write(class, offset, &[byte[0] ^ 1 << (bit % 8)]);
            }
            (0..596).for_each(|id| heap.unshare(id, &account));
            assert_eq!((heap.slots[usize::from(class)], account.charged()), (0, 0));
        }
    }
}
