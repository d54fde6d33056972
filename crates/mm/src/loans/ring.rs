//! Which pages are on loan.
//!
//! The manager holds one ring; it is open to this room alone (`loans.rs`). One lock (rank
//! `Standby`, under no other lock but a space's) guards it; how many there are is a hint that is
//! read without it.

use crate::addr::{FrameNo, PAGE_SIZE, PageNo, SpaceNo};
use crate::budget::Budget;
use memfold_sync::atomic::AtomicU32;
use memfold_sync::{Mutex, Rank};
use std::collections::VecDeque;
use std::num::NonZero;

/// A page on loan, and what was its frame then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loan {
    /// Others that name the same frame, which served one after the other, have other numbers.
    pub(super) number: NonZero<u16>,
    pub(super) space: SpaceNo,
    pub(super) page: PageNo,
    pub(super) frame: FrameNo,
}

/// All loans, oldest first.
#[derive(Debug)]
pub(crate) struct LoanRing {
    /// Never grows: it has room for as many as there may be.
    pub(super) loans: Mutex<VecDeque<Loan>>,
    most: usize,
    /// How many there are: a hint.
    pub(super) used: AtomicU32,
}

impl LoanRing {
    /// None; at most as many as this budget lends pages.
    pub fn new(budget: &Budget) -> Self {
        let most = (budget.reserve() / 4 / PAGE_SIZE as u64) as usize;
        Self {
            loans: Mutex::new(Rank::Standby, VecDeque::with_capacity(most)),
            most,
            used: AtomicU32::new(0),
        }
    }

    /// Pages that may be on loan.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Bytes to charge from the start.
    pub fn base_bytes(&self) -> u64 {
        (self.loans.lock().capacity() * size_of::<Loan>()) as u64
    }
}
