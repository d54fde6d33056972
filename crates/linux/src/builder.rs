//! [`Builder`]: what a host shall be, and opening it.
//!
//! A plain value until [`Builder::build`], which opens everything that may be refused, in an order in which
//! each refusal leaves nothing behind but the signal handler.

use std::sync::Arc;

use memfold_mm::addr::PAGE_SIZE;

use crate::error::OpenError;
use crate::fault::{Delivery, Site};
use crate::host::LinuxHost;
use crate::keep::{Keeper, Kept};
use crate::lineage::Lineage;
use crate::opening::{self, UserMode};
use crate::pages::Pages;
use crate::pool::Pool;
use crate::scan::Pagemap;
use crate::sigbus;
use crate::sys::{self, Errno};
use crate::thread::FaultThread;

/// How a host is to be; made by [`LinuxHost::builder`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Builder {
    delivery: Delivery,
    user_mode: Option<UserMode>,
    guard_bytes: u64,
}

impl Builder {
    /// How faults arrive; in the faulting thread if not said.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Whose faults are reported; if not said, what the delivery needs and no more.
    #[must_use]
    pub fn user_mode(mut self, mode: UserMode) -> Self {
        self.user_mode = Some(mode);
        self
    }

    /// How many bytes after each window's reserve are never accessible, at least; 0 if not said.
    #[must_use]
    pub fn guard_bytes(mut self, bytes: u64) -> Self {
        self.guard_bytes = bytes;
        self
    }

    /// Opens the host, and installs the process's SIGBUS handler when it is the first.
    ///
    /// # Errors
    /// [`OpenError`], which names the setting that mends it.
    pub fn build(self) -> Result<LinuxHost, OpenError> {
        let page = sys::open::page_size();
        if page != PAGE_SIZE {
            return Err(OpenError::PageSize { bytes: page });
        }
        let mode = match (self.delivery, self.user_mode) {
            (Delivery::Thread, Some(UserMode::UserOnly)) => return Err(OpenError::ThreadNeedsFull),
            (_, Some(mode)) => mode,
            (Delivery::InThread, None) => UserMode::UserOnly,
            (Delivery::Thread, None) => UserMode::Full,
        };
        let refused = |what| move |Errno(errno)| OpenError::Resources { what, errno };
        let lineage = Lineage::of_this_process().map_err(refused("memory that a child does not inherit"))?;
        let holder = Arc::default();
        let uffd = opening::open(mode, self.delivery, &holder)?;
        let pagemap = Pagemap::open(&holder).map_err(|Errno(errno)| OpenError::NoPagemapScan { errno })?;
        let pool = Pool::new(&holder).map_err(refused("a memory file"))?;
        sigbus::install().map_err(refused("the SIGBUS handler"))?;
        let site = Arc::new(Site::new(Pages::new(uffd, pagemap, self.delivery), self.delivery));
        let pages = &site.pages;
        let numbers = [pages.uffd().kept(), pages.pagemap().kept(), pool.kept()].map(Kept::number);
        let (thread, keeper) = match self.delivery {
            Delivery::InThread => (None, Some(Keeper::start(&holder, numbers.to_vec()))),
            Delivery::Thread => {
                let started = FaultThread::start(Arc::clone(&site), &holder, numbers.to_vec());
                (Some(started.map_err(refused("the fault thread"))?), None)
            }
        };
        let guard_bytes = usize::try_from(self.guard_bytes).unwrap_or(usize::MAX);
        Ok(LinuxHost::assemble(
            lineage,
            site,
            thread,
            keeper,
            pool,
            guard_bytes,
        ))
    }
}
