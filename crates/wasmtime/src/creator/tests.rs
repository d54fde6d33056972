//! Goal: a space on offer goes to the memory that it is for, and every other memory begins with
//! zeros. Method: the creator is asked as Wasmtime asks it for memories and for heaps of objects,
//! with an offer of marked bytes standing.

use super::*;
use crate::handoff::{Offer, Wanted};
use wasmtime::{Engine, MemoryTypeBuilder, Module};

const PAGE: usize = 1 << 16;

struct Harness {
    memory: Memory,
    creator: Creator,
    code: Arc<GuestCode>,
}

fn harness() -> Harness {
    let memory = Memory::builder().build().expect("this machine will do");
    let module = Module::from_binary(&Engine::default(), b"\0asm\x01\0\0\0").expect("a module");
    Harness {
        creator: Creator::new(memory.clone()),
        code: Arc::new(GuestCode::new(&module).expect("there is room")),
        memory,
    }
}

impl Harness {
    /// A ground of one Wasm page that is not zeros.
    fn marked(&self) -> Ground {
        let ground = Ground::new(&self.memory, PAGE as u64).unwrap();
        ground.write(0, b"secret").unwrap();
        ground
    }

    /// Offers it for this type.
    fn offer(&self, ground: &Ground, minimum_pages: u64, maximum_pages: Option<u64>) -> handoff::Offered {
        self.offer_all([(ground.clone(), wanted(minimum_pages, maximum_pages))])
    }

    fn offer_all<const N: usize>(&self, memories: [(Ground, Wanted); N]) -> handoff::Offered {
        handoff::Offered::begin(Some(Offer::new(memories.into(), &self.code)))
    }

    fn make(&self, ty: MemoryType, guard: u64) -> Result<Box<dyn LinearMemory>, String> {
        let minimum = usize::try_from(ty.minimum() * ty.page_size()).unwrap();
        let (reserved, guard) = (RESERVATION as usize, guard as usize);
        self.creator.new_memory(ty, minimum, None, Some(reserved), guard)
    }
}

/// A memory with 32-bit addresses and pages of 64 KiB.
fn wanted(minimum_pages: u64, maximum_pages: Option<u64>) -> Wanted {
    Wanted {
        minimum_pages,
        maximum_pages,
        page_bytes: PAGE as u64,
        addresses: memfold_prepare::Addresses::Bits32,
    }
}

fn ty(builder: &mut MemoryTypeBuilder) -> MemoryType {
    builder.build().expect("a type that there is")
}

/// What a store's heap for objects is asked for by default, and with a first size: no maximum, 32
/// bits, its own guard.
#[test]
fn a_heap_for_objects_gets_zeros() {
    let harness = harness();
    let marked = harness.marked();
    for pages in [0, 1] {
        let _offered = harness.offer(&marked, pages, None);
        let heap = harness
            .make(MemoryType::new(pages as u32, None), GC_GUARD)
            .unwrap();
        assert_ne!(heap.as_ptr(), marked.as_ptr());
        assert_eq!(heap.byte_size(), pages as usize * PAGE);
        // The memory that is made next gets the offer.
        let memory = harness.make(MemoryType::new(pages as u32, None), GUARD).unwrap();
        assert_eq!(memory.as_ptr(), marked.as_ptr());
        // And the one after that does not.
        let memory = harness.make(MemoryType::new(pages as u32, None), GUARD).unwrap();
        assert_ne!(memory.as_ptr(), marked.as_ptr());
    }
}

#[test]
fn another_type_gets_zeros() {
    let harness = harness();
    let marked = harness.marked();
    let _offered = harness.offer(&marked, 1, Some(3));
    for other in [
        MemoryType::new(1, None),
        MemoryType::new(1, Some(2)),
        MemoryType::new(0, Some(3)),
        MemoryType::new(2, Some(3)),
        ty(MemoryTypeBuilder::new().memory64(true).min(1).max(Some(3))),
        ty(MemoryTypeBuilder::new().shared(true).min(1).max(Some(3))),
        ty(MemoryTypeBuilder::new().page_size_log2(0).min(1).max(Some(3))),
    ] {
        let memory = harness.make(other.clone(), GUARD).unwrap();
        assert_ne!(memory.as_ptr(), marked.as_ptr(), "{other:?}");
    }
    let memory = harness.make(MemoryType::new(1, Some(3)), GUARD).unwrap();
    assert_eq!(memory.as_ptr(), marked.as_ptr());
}

/// Those of one instance are taken in their order, each by a memory of its own type.
#[test]
fn several_offers_are_taken_in_order() {
    let harness = harness();
    let grounds: [Ground; 4] = std::array::from_fn(|_| harness.marked());
    let wide = ty(MemoryTypeBuilder::new().memory64(true).min(1));
    let small = ty(MemoryTypeBuilder::new().page_size_log2(0).min(9).max(Some(70)));
    let mut types = [
        wanted(1, None),
        wanted(1, None),
        wanted(1, None),
        wanted(9, Some(70)),
    ];
    types[1].addresses = memfold_prepare::Addresses::Bits64;
    types[3].page_bytes = 1;
    let [one, two, three, four] = grounds.clone();
    let _offered = harness.offer_all([
        (one, types[0]),
        (two, types[1]),
        (three, types[2]),
        (four, types[3]),
    ]);
    let plain = MemoryType::new(1, None);
    let first = harness.make(plain.clone(), GUARD).unwrap();
    assert_eq!(first.as_ptr(), grounds[0].as_ptr());
    // Not its turn.
    let other = harness.make(plain.clone(), GUARD).unwrap();
    assert!(grounds.iter().all(|ground| ground.as_ptr() != other.as_ptr()));
    for (ty, ground) in [(wide, &grounds[1]), (plain, &grounds[2]), (small, &grounds[3])] {
        let memory = harness.make(ty, GUARD).unwrap();
        assert_eq!(memory.as_ptr(), ground.as_ptr());
    }
}

#[test]
fn other_addresses_are_refused() {
    let harness = harness();
    for (reservation, guard) in [
        (RESERVATION, 0),
        (RESERVATION / 2, GUARD),
        (RESERVATION * 2, GUARD),
    ] {
        let (reserved, guard) = (reservation as usize, guard as usize);
        let made = harness
            .creator
            .new_memory(MemoryType::new(1, None), PAGE, None, Some(reserved), guard);
        let error = made.err().expect("refused");
        assert!(error.contains("memory_reservation"), "{error}");
    }
    let large = ty(MemoryTypeBuilder::new().memory64(true).min(1 << 17));
    let error = harness.make(large, GUARD).err().expect("refused");
    assert!(error.contains("8589934592"), "{error}");
}

#[test]
fn who_only_asks_gets_no_memory_and_no_offer() {
    let harness = harness();
    let marked = harness.marked();
    let _offered = harness.offer(&marked, 1, None);
    let asked = handoff::ask(|| assert!(harness.make(MemoryType::new(1, None), GUARD).is_err()));
    let addresses = Addresses {
        reservation: RESERVATION,
        guard: GUARD,
    };
    assert_eq!(asked, Some(addresses));
    assert_eq!(handoff::ask(|| ()), None);
    let memory = harness.make(MemoryType::new(1, None), GUARD).unwrap();
    assert_eq!(memory.as_ptr(), marked.as_ptr());
}
