//! A victim: a frame that is to go, locked, and where its bytes are.
//!
//! Chosen and committed by `evict.rs`, stored by `beside.rs`. All of it is under the frame's lock,
//! which the victim holds.

use crate::addr::{PageNo, SpaceNo};
use crate::frame::{Locked, Residence};
use crate::swap::{Bytes, SwapRef};

/// What is kept of a victim's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub bytes: Bytes,
    /// What they cost there, with what was put beside them.
    pub cost: u64,
}

/// A frame that is to go.
pub(super) struct Victim<'a> {
    pub residence: Residence,
    pub page: PageNo,
    pub locked: Locked<'a>,
    /// Whether it is a private page that one space has for itself, and that is nowhere else.
    pub is_own: bool,
    /// The slot that will stand in the entries, once the bytes are safe.
    pub slot: Option<SwapRef>,
    /// New bytes for that slot; `None` when it has them already.
    pub kept: Option<Kept>,
}

impl Victim<'_> {
    /// Its place in an order that makes neighbours stand together.
    pub fn place(&self) -> (Residence, PageNo) {
        match self.residence {
            // One stands there beside another by chance only.
            Residence::Overflow(_) => (self.residence, PageNo(0)),
            _ => (self.residence, self.page),
        }
    }

    /// Whether one call of the machine can take it with the one before.
    pub fn follows(&self, before: &Self) -> bool {
        let in_runs = !matches!(self.residence, Residence::Overflow(_));
        in_runs && before.residence == self.residence && before.page.plus(1) == self.page
    }

    /// Whose private page it is.
    pub fn window(&self) -> Option<(SpaceNo, PageNo)> {
        match self.residence {
            Residence::Private(space) => Some((space, self.page)),
            _ => None,
        }
    }
}
