//! Where guest code lies: programs whose runtime turns a segmentation violation into a trap.
//!
//! A small table for the whole process, without a lock, because the signal handler reads it. A
//! place holds the first and the last address + 1 of a range; `start` is 0 when it is free and 1
//! while it changes. A reader reads `start`, `end` and `start` again and believes the pair only if
//! both starts agree (a range that is guest code now stays in its place while the handler reads, so
//! it is found; at worst another range is overlooked while it changes). Written by whoever loads
//! guest code, read by `sigbus.rs` when a fault has failed.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

/// How many ranges there can be at once.
pub const GUEST_RANGES: usize = 4096;

const FREE: usize = 0;
const CHANGING: usize = 1;

struct Place {
    start: AtomicUsize,
    end: AtomicUsize,
}

static PLACES: [Place; GUEST_RANGES] = [const {
    Place {
        start: AtomicUsize::new(FREE),
        end: AtomicUsize::new(0),
    }
}; GUEST_RANGES];

/// The table of guest code is full: it has [`GUEST_RANGES`] places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {GUEST_RANGES} ranges of guest code are registered at once")]
pub struct GuestTableFull;

/// Guest code is registered as long as this lives; drop it before the code is unmapped.
#[derive(Debug)]
#[must_use]
pub struct GuestCode {
    place: usize,
}

/// Says that instructions at these addresses belong to guest programs whose runtime handles
/// SIGSEGV.
///
/// When a fault of such an instruction has failed, the process's SIGSEGV handler is called with it,
/// as if the address were out of bounds. Other code gets an empty page in that case and goes on.
/// Any thread, any time.
///
/// # Errors
/// [`GuestTableFull`]; then nothing is registered.
pub fn register_guest_code(addresses: Range<usize>) -> Result<GuestCode, GuestTableFull> {
    assert!(
        addresses.start > CHANGING && addresses.start < addresses.end,
        "a range of code: {addresses:x?}"
    );
    for (number, place) in PLACES.iter().enumerate() {
        // Acquire: pairs with the freeing Release.
        if place
            .start
            .compare_exchange(FREE, CHANGING, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
        {
            // Release: a reader that sees this end sees CHANGING or later.
            place.end.store(addresses.end, Ordering::Release);
            // Release: publishes the end.
            place.start.store(addresses.start, Ordering::Release);
            return Ok(GuestCode { place: number });
        }
    }
    Err(GuestTableFull)
}

impl Drop for GuestCode {
    fn drop(&mut self) {
        // Release: the next user of the place comes later.
        PLACES[self.place].start.store(FREE, Ordering::Release);
    }
}

/// Whether an instruction at `pc` is guest code.
pub(crate) fn contains(pc: usize) -> bool {
    PLACES.iter().any(|place| {
        // Acquire: pairs with the publishing Release; the end belongs to it.
        let start = place.start.load(Ordering::Acquire);
        // Acquire: if it is a later end, the second look sees that.
        let end = place.end.load(Ordering::Acquire);
        fence(Ordering::Acquire);
        // Relaxed: ordered by the fence.
        start > CHANGING && (start..end).contains(&pc) && place.start.load(Ordering::Relaxed) == start
    })
}
