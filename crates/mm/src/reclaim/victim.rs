//! A victim: a frame that is to go, locked, and where its bytes are.
//!
//! Chosen and committed by `evict.rs`, stored by `beside.rs`. All of it is under the frame's lock,
//! which the victim holds.

use crate::addr::{PageNo, SpaceNo};
use crate::frame::Locked;
use crate::host::Stored;
use crate::swap::SwapRef;

/// Where a victim's bytes are, in an order that makes neighbours stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Private(SpaceNo, PageNo),
    Backing(u32, PageNo),
    Overflow(u64),
}

impl Place {
    pub fn follows(self, before: Self) -> bool {
        match (before, self) {
            (Self::Private(a, p), Self::Private(b, q)) => a == b && p.plus(1) == q,
            (Self::Backing(a, p), Self::Backing(b, q)) => a == b && p.plus(1) == q,
            _ => false,
        }
    }
}

/// A victim's bytes in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub stored: Stored,
    /// What they cost there, with what was put beside them.
    pub cost: u64,
}

/// A frame that is to go.
pub(super) struct Victim<'a> {
    pub place: Place,
    pub page: PageNo,
    pub locked: Locked<'a>,
    /// The slot that will stand in the entries, once the bytes are safe.
    pub slot: Option<SwapRef>,
    /// New bytes for that slot; `None` when it has them already.
    pub kept: Option<Kept>,
}
