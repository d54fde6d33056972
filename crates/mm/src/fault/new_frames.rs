//! Frames for pages that a fault is about to make.
//!
//! At most a leaf's; nobody knows them yet, so no lock guards them. Used by `absent.rs`,
//! `beside.rs` and `copy_ahead.rs`, under the space's lock.

use crate::addr::FrameNo;
use crate::budget::Need;
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::mm::{Mm, alloc_frame};
use crate::table::FANOUT;

/// The frames; those that are not taken are given back.
pub(super) struct NewFrames<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    frames: [Option<FrameNo>; FANOUT],
    len: usize,
}

impl<'m, H: Host, S: Store> NewFrames<'m, H, S> {
    /// None yet.
    pub fn new(mm: &'m Mm<H, S>) -> Self {
        Self {
            mm,
            frames: [None; FANOUT],
            len: 0,
        }
    }

    /// So many, or fewer, but one at the least; says how many.
    pub fn alloc(&mut self, most: u32) -> Result<u32, Stop> {
        while self.len < most as usize {
            match alloc_frame(self.mm, Need::Normal) {
                Ok(frame) => self.frames[self.len] = Some(frame),
                Err(stop) if self.len == 0 => return Err(stop),
                Err(_) => break,
            }
            self.len += 1;
        }
        Ok(self.len as u32)
    }

    pub fn take(&mut self, n: u32) -> FrameNo {
        self.frames[n as usize].take().expect("one for each page")
    }
}

impl<H: Host, S: Store> Drop for NewFrames<'_, H, S> {
    fn drop(&mut self) {
        for frame in self.frames[..self.len].iter().flatten() {
            self.mm.frames.free(frame.0);
        }
    }
}
