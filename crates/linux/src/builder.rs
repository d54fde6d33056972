//! [`Builder`]: what a host shall be, and opening it.
//!
//! A plain value until [`Builder::build`], which opens everything that may be refused, in an order in which
//! each refusal leaves nothing behind but the signal handler.

use std::sync::Arc;

use memfold_mm::addr::PAGE_SIZE;

use crate::error::OpenError;
use crate::fault::{Delivery, Site};
use crate::host::LinuxHost;
use crate::opening::{self, UserMode};
use crate::pages::Pages;
use crate::pool::Pool;
use crate::scan::Pagemap;
use crate::sigbus;
use crate::sys::{self, Errno};
use crate::thread::FaultThread;

/// How a host is to be; made by [`LinuxHost::builder`].
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    delivery: Delivery,
    user_mode: Option<UserMode>,
    guard_bytes: u64,
    direct_tables: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            delivery: Delivery::default(),
            user_mode: None,
            guard_bytes: 0,
            direct_tables: 64,
        }
    }
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

    /// How many page tables (4 KiB each) reading the pool may fill; 64 if not said, 8 at the least. Each is for 2 MiB of the pool.
    #[must_use]
    pub fn direct_tables(mut self, tables: u32) -> Self {
        self.direct_tables = tables.max(8);
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
        let uffd = opening::open(mode, self.delivery)?;
        let pagemap = Pagemap::open().map_err(|Errno(errno)| OpenError::NoPagemapScan { errno })?;
        let refused = |what| move |Errno(errno)| OpenError::Resources { what, errno };
        let pool = Pool::new(self.direct_tables).map_err(refused("a memory file"))?;
        sigbus::install().map_err(refused("the SIGBUS handler"))?;
        let site = Arc::new(Site::new(Pages::new(uffd, pagemap, self.delivery), self.delivery));
        let thread = match self.delivery {
            Delivery::InThread => None,
            Delivery::Thread => {
                Some(FaultThread::start(Arc::clone(&site)).map_err(refused("the fault thread"))?)
            }
        };
        let guard_bytes = usize::try_from(self.guard_bytes).unwrap_or(usize::MAX);
        Ok(LinuxHost::assemble(site, thread, pool, guard_bytes))
    }
}
