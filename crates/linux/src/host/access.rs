//! What a [`LinuxHost`] tells about itself and its windows, beside the seam. Lock-free, but for
//! what the kernel is asked.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use memfold_host::HostError;
use memfold_host::addr::{PageNo, Run, SpaceNo};

use super::LinuxHost;
use crate::builder::Builder;
use crate::fault::Delivery;
use crate::guard::accessing;
use crate::limits::page_refused;
use crate::span::Span;
use crate::table::{Record, RecordNo};
use crate::{sys, table};
use memfold_host::FaultSink;

/// How windows are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Inaccessible bytes after each, at least.
    pub(crate) guard_bytes: usize,
    /// Whether core dumps have them.
    pub(crate) core_dumps: bool,
}

/// An open window, as programs use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first byte; the same until the window is closed.
    pub base: NonNull<u8>,
    /// Accessible pages, from the first on.
    pub len: u32,
    /// Pages that may become accessible.
    pub reserve: u32,
}

impl LinuxHost {
    /// A host with in-thread delivery and no guard, to be changed.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Says who decides this host's faults. Before the first window is used; once. The host does
    /// not keep it alive: a fault after it is gone has failed.
    ///
    /// # Panics
    /// The second time.
    pub fn attach(&self, sink: Weak<dyn FaultSink>) {
        self.site.attach(sink);
    }

    /// How faults arrive.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.site.delivery
    }

    /// The window of a space, if it is open.
    #[must_use]
    pub fn window(&self, space: SpaceNo) -> Option<Window> {
        let record = self.number(space)?.record();
        let base = NonNull::new(record.slot().addr() as *mut u8)?;
        Some(Window {
            base,
            len: record.len(),
            reserve: record.reserve(),
        })
    }

    /// The space and page that an address belongs to, if it is in a window of this host.
    #[must_use]
    pub fn locate(&self, addr: usize) -> Option<(SpaceNo, PageNo)> {
        let inside = table::enter(addr)?;
        std::ptr::eq(inside.site(), Arc::as_ptr(&self.site)).then(|| (inside.space(), inside.page(addr).0))
    }

    /// Copies bytes into a page that is pinned, from byte `start` of it on.
    ///
    /// # Errors
    /// [`HostError::Emptied`] when the page is not there; some of the bytes may be written.
    ///
    /// # Panics
    /// When the space has no window, or the bytes do not fit into the page.
    pub fn write_pinned(
        &self,
        space: SpaceNo,
        page: PageNo,
        start: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let to = self.page(space, page);
        accessing(|| to.copy_in(start, bytes)).ok_or(HostError::Emptied)
    }

    /// Bytes of memory that the pool holds now.
    ///
    /// # Errors
    /// When the machine cannot say.
    pub fn pool_bytes(&self) -> Result<u64, HostError> {
        self.pool.held()
    }

    /// The pool was found to hold more than what was written to it, since the machine has begun to
    /// make huge pages in files: from now on pages are written so that they stay single, which
    /// takes a little longer. Any thread; never in a fault.
    pub fn keep_pages_single(&self) {
        self.pool.write_by_mappings();
    }

    /// Before pages are protected: the process may have opted out of the kernel's merging and in
    /// again meanwhile.
    pub(super) fn keep_out_of_ksm(&self, space: SpaceNo) -> Result<(), HostError> {
        if self.ksm.opted_in() {
            let slot = self.record(space).slot();
            sys::unmergeable(slot).map_err(page_refused("madvise(MADV_UNMERGEABLE)"))?;
        }
        Ok(())
    }

    pub(super) fn number(&self, space: SpaceNo) -> Option<RecordNo> {
        let place = self.windows.get(space.0 as usize)?;
        // Acquire: pairs with `open`; the record is this window's.
        let number = place.load(Ordering::Acquire).checked_sub(1)?;
        Some(RecordNo::from_number(number))
    }

    pub(crate) fn record(&self, space: SpaceNo) -> &'static Record {
        let Some(number) = self.number(space) else {
            panic!("space {space} has no window")
        };
        number.record()
    }

    /// The memory of the run.
    pub(super) fn span(&self, space: SpaceNo, run: Run) -> Span {
        let record = self.record(space);
        assert!(
            u64::from(run.first.0) + u64::from(run.len) <= u64::from(record.reserve()),
            "{run:?} of space {space}"
        );
        record.slot().part(run.first.0 as usize, run.len as usize)
    }

    pub(super) fn page(&self, space: SpaceNo, page: PageNo) -> Span {
        self.span(space, Run::one(page))
    }
}
