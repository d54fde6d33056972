//! Page-sized room for calls under way, kept off the stack.
//!
//! A call takes a [`Scratch`] from the pool and gives it back; two are kept, and when more threads
//! are in the store at once, the others' come from the heap and go back to it. Where the heap has
//! nothing left they wait for one of the two: who has one waits for nobody. The pool's lock is held
//! only to move a room in or out. Called by `compressed`, never with the heap locked.

use super::heap::Header;
use crate::codec::{self, Workbench};
use memfold_host::Domain;
use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_sync::{Mutex, Rank};

/// Rooms kept for the next calls.
const KEPT: usize = 2;

/// Room for one call.
pub(super) struct Scratch {
    /// What was copied off the heap.
    pub(super) copied: Copied,
    /// The decoded base, or the candidate for a twin.
    pub(super) page: Box<PageBytes>,
    /// For encoding.
    pub(super) bench: Workbench,
    /// Room for the base page of a delta.
    room: Box<PageBytes>,
}

/// The encoded bytes of an object, copied off the heap.
pub(super) struct Copied {
    /// The object, and its base if it is a delta.
    pub(super) plan: Option<(Header, Option<Header>)>,
    pub(super) body: Vec<u8>,
    pub(super) base_body: Vec<u8>,
}

impl Scratch {
    /// `None` when the system has no memory for it.
    fn new() -> Option<Self> {
        let copied = Copied {
            plan: None,
            body: codec::zeros(PAGE_SIZE)?,
            base_body: codec::zeros(PAGE_SIZE)?,
        };
        Some(Self {
            copied,
            page: blank()?,
            bench: Workbench::new()?,
            room: blank()?,
        })
    }

    /// Decodes what was copied into [`Scratch::page`]; `None` when it is malformed.
    pub(super) fn decode(&mut self) -> Option<()> {
        self.copied.decode(&mut self.room, &mut self.page)
    }

    /// Decodes what was copied into `out`; `None` when it is malformed.
    pub(super) fn decode_into(&mut self, out: &mut PageBytes) -> Option<()> {
        self.copied.decode(&mut self.room, out)
    }
}

impl Copied {
    /// The domain of what was copied, which for a delta its base knows.
    pub(super) fn domain(&self) -> Option<Domain> {
        let (header, base) = self.plan?;
        Some(Domain(base.unwrap_or(header).link))
    }

    fn decode(&self, room: &mut PageBytes, out: &mut PageBytes) -> Option<()> {
        let (header, base) = self.plan?;
        let body = self.body.get(..usize::from(header.len))?;
        let Some(base) = base else {
            return codec::decode(header.kind, body, out);
        };
        let base_body = self.base_body.get(..usize::from(base.len))?;
        codec::decode_delta((header.kind, body), (base.kind, base_body), room, out)
    }
}

fn blank() -> Option<Box<PageBytes>> {
    codec::zeros(PAGE_SIZE)?.into_boxed_slice().try_into().ok()
}

/// The rooms that nobody uses.
pub(super) struct Pool {
    free: Mutex<Vec<Scratch>>,
}

impl Pool {
    /// A pool with its rooms built.
    pub(super) fn new() -> Self {
        let built = (0..KEPT).map(|_| Scratch::new().expect("memory for the first rooms"));
        let free = built.collect();
        Self {
            free: Mutex::new(Rank::Store, free),
        }
    }

    fn take(&self) -> Scratch {
        // Ends: a kept room that is in use comes back.
        loop {
            let taken = self.free.lock().pop();
            if let Some(scratch) = taken.or_else(Scratch::new) {
                return scratch;
            }
            memfold_sync::thread::yield_now();
        }
    }

    /// Runs `work` with a room.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = self.take();
        let result = work(&mut scratch);
        let mut free = self.free.lock();
        if free.len() < KEPT {
            free.push(scratch);
        }
        result
    }
}
