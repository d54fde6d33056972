//! [`Builder`]: what a host shall be, and opening it.
//!
//! A plain value until [`Builder::build`], which opens everything that may be refused, in an order
//! in which each refusal leaves nothing behind but the signal handler.

use std::sync::Arc;

use memfold_host::addr::PAGE_SIZE;

use crate::error::OpenError;
use crate::fault::{Delivery, Site};
use crate::host::{LinuxHost, Style};
use crate::keep::{Keeper, Kept};
use crate::lineage::Lineage;
use crate::opening::{self, UserMode};
use crate::pages::Pages;
use crate::pool::Pool;
use crate::scan::Pagemap;
use crate::sigbus;
use crate::sys::{self, Errno};
use crate::taking::Taking;
use crate::thread::FaultThread;

/// How a host is to be; made by [`LinuxHost::builder`].
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    delivery: Delivery,
    user_mode: Option<UserMode>,
    guard_bytes: u64,
    core_dumps: bool,
    direct_tables: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            delivery: Delivery::default(),
            user_mode: None,
            guard_bytes: 0,
            core_dumps: false,
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

    /// Whether core dumps of the process contain windows and pool; not if not said: they are as
    /// large as all spaces together, and say little without the manager's tables and the store.
    #[must_use]
    pub fn core_dumps(mut self, contain: bool) -> Self {
        self.core_dumps = contain;
        self
    }

    /// How many page tables (4 KiB each) reading the pool may fill; 64 if not said, 8 at the least.
    /// Each is for 2 MiB of the pool.
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
        let refused = |what| move |Errno(errno)| OpenError::Resources { what, errno };
        let lineage = Lineage::of_this_process().map_err(refused("memory that a child does not inherit"))?;
        let holder = Arc::default();
        let uffd = Arc::new(opening::open(mode, self.delivery, &holder)?);
        let fence = match self.delivery {
            Delivery::InThread => Arc::clone(&uffd),
            Delivery::Thread => Arc::new(opening::open_fence(mode, &holder)?),
        };
        let pagemap = Pagemap::open(&holder).map_err(|Errno(errno)| OpenError::NoPagemapScan { errno })?;
        let memory = match self.delivery {
            Delivery::InThread => None,
            Delivery::Thread => {
                let opened = sys::open::memory().and_then(|fd| Kept::new(fd, &holder));
                Some(opened.map_err(refused("/proc/self/mem"))?)
            }
        };
        let taking = Taking::open(self.delivery, &holder);
        let pool =
            Pool::new(&holder, fence, self.core_dumps, self.direct_tables).map_err(|errno| match errno {
                Errno(libc::EOPNOTSUPP) => OpenError::HugePool,
                Errno(libc::EFBIG) => OpenError::FileLimit {
                    bytes: sys::open::limit(sys::open::Limit::FileSize).unwrap_or(u64::MAX),
                },
                errno => refused("a memory file")(errno),
            })?;
        sigbus::install().map_err(refused("the SIGBUS handler"))?;
        let site = Arc::new(Site::new(
            Pages::new(uffd, pagemap, memory, taking, self.delivery),
            self.delivery,
        ));
        let [fence, file] = pool.kept();
        let mut numbers: Vec<_> = site.pages.kept().chain([file]).map(Kept::number).collect();
        if self.delivery == Delivery::Thread {
            numbers.push(fence.number());
        }
        let (thread, keeper) = match self.delivery {
            Delivery::InThread => (None, Some(Keeper::start(&holder, numbers))),
            Delivery::Thread => {
                let started = FaultThread::start(Arc::clone(&site), &holder, numbers);
                (Some(started.map_err(refused("the fault thread"))?), None)
            }
        };
        let style = Style {
            guard_bytes: usize::try_from(self.guard_bytes).unwrap_or(usize::MAX),
            core_dumps: self.core_dumps,
        };
        Ok(LinuxHost::assemble(lineage, site, thread, keeper, pool, style))
    }
}
