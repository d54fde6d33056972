//! How a [`Memory`] is built: budget, delivery of faults, limits.

use crate::error::Error;
use crate::inner::Inner;
use crate::memory::Memory;
use crate::warning::Warning;
use memfold_host::addr::PAGE_SIZE;
use memfold_linux::{Delivery, LinuxHost};
use memfold_mm::{Config, Merging, Mm, Native, OnLoss, PageTables, Replacement, UNLIMITED};
use memfold_stores::CompressedStore;
use std::sync::Arc;
use std::time::Duration;

/// The sizes and habits of a [`Memory`].
#[derive(Clone, Debug)]
pub struct MemoryBuilder {
    budget_bytes: u64,
    delivery: Delivery,
    guard_bytes: u64,
    max_spaces: u32,
    background: bool,
    merging: Merging,
    merge_share: f64,
    on_loss: OnLoss,
    core_dumps: bool,
    page_tables: PageTables,
    replacement: Replacement,
    native: Native,
    write_back: Duration,
}

impl Default for MemoryBuilder {
    fn default() -> Self {
        Self {
            budget_bytes: UNLIMITED,
            delivery: Delivery::InThread,
            guard_bytes: 0,
            max_spaces: 32_000,
            background: true,
            merging: Merging::Off,
            merge_share: 0.0,
            on_loss: OnLoss::default(),
            core_dumps: false,
            page_tables: PageTables::Counted,
            replacement: Replacement::default(),
            native: Native::On,
            write_back: Duration::from_secs(5),
        }
    }
}

impl Memory {
    /// A builder with the defaults: no budget, faults in the faulting thread.
    #[must_use]
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }
}

impl MemoryBuilder {
    /// Most bytes that may be held for all spaces together: shared and private pages, compressed
    /// bytes, the manager's own tables and the kernel's page tables. Without it there is no limit.
    #[must_use]
    pub fn budget_bytes(mut self, bytes: u64) -> Self {
        self.budget_bytes = bytes;
        self
    }

    /// Whether the kernel's page tables under windows, and its records of them, are part of the
    /// budget. They are by default: a window with a few pages here and there has a table of 4 KiB
    /// for each 2 MiB in which anything is shown. What is charged is an upper bound of what the
    /// kernel holds. [`MemoryStats`](crate::MemoryStats) shows them in any case.
    #[must_use]
    pub fn page_tables(mut self, page_tables: PageTables) -> Self {
        self.page_tables = page_tables;
        self
    }

    /// Which pages go to the store first when the budget is full: two lists, as in Linux, by
    /// default. No choice loses or leaks anything; it changes how often pages that went come back
    /// ([`Counts::refaults`](crate::Counts) counts them).
    #[must_use]
    pub fn replacement(mut self, replacement: Replacement) -> Self {
        self.replacement = replacement;
        self
    }

    /// Whether the kernel serves forks by itself while there is room: on by default. A fork of a
    /// space that does not change, as one that [`freeze`](crate::Space::freeze) made, then shows
    /// its pages, and copies those that are stored to, at the kernel's own price, without a signal
    /// for each. For that the most that this can come to is charged beforehand
    /// ([`Usage::native`](crate::Usage)), as long as half of the budget stays free; and it ends
    /// where room is needed, and where somebody asks what the fork's pages are: a fork of it, a
    /// pin, an eviction. Off, each page that is held is known at each moment, and none is charged
    /// before.
    #[must_use]
    pub fn native(mut self, native: Native) -> Self {
        self.native = native;
        self
    }

    /// How faults arrive. In the faulting thread by default; by a handler thread where system calls
    /// must be able to touch pages that are not there.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Inaccessible bytes after each space, rounded up to whole windows. None by default.
    #[must_use]
    pub fn guard_bytes(mut self, bytes: u64) -> Self {
        self.guard_bytes = bytes;
        self
    }

    /// Most spaces at a time, 32,000 by default.
    #[must_use]
    pub fn max_spaces(mut self, spaces: u32) -> Self {
        self.max_spaces = spaces;
        self
    }

    /// Whether a thread of memfold's reclaims ahead of need, beside the threads that fault. It does
    /// by default, when there is a budget. It sleeps, without a clock, until a fault or an
    /// operation of the host's finds the budget low, and is scheduled as the thread that builds
    /// the memory. Without it programs make room themselves, in the threads that fault, which uses
    /// less processor time in all.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// How long a store to a mapped file waits, at the least, until a thread of memfold's writes
    /// the page out, if nobody syncs: 5 seconds by default, and at the most twice as long. Where
    /// more than a tenth of the budget waits, it is written at once. That is not yet on the disk:
    /// for that there is [`MappedFile::sync`](crate::MappedFile::sync), which also tells what the
    /// file refused. The thread is started with the first file that can be written, and sleeps,
    /// without a clock, while no page waits. Zero: no such thread; pages are written by syncs, when
    /// their memory is needed, and at the end.
    #[must_use]
    pub fn write_back(mut self, interval: Duration) -> Self {
        self.write_back = interval;
        self
    }

    /// Whether new spaces take part in merging; they do not by default. Each space can be told
    /// otherwise by [`Space::set_merging`](crate::Space::set_merging). Read there what merging
    /// tells one space about another.
    #[must_use]
    pub fn merging(mut self, merging: Merging) -> Self {
        self.merging = merging;
        self
    }

    /// How much processor time a thread of memfold's may use to look for equal pages, in per cent
    /// of one core. 0 by default: no such thread; [`Memory::merge_now`] works all the same. More
    /// than 100 is 100.
    ///
    /// # Panics
    /// When it is negative or not a number.
    #[must_use]
    pub fn merge_cpu_percent(mut self, percent: f64) -> Self {
        assert!(percent >= 0.0, "{percent} per cent of a core");
        self.merge_share = (percent / 100.0).min(1.0);
        self
    }

    /// Page tables for reading the pool: 1/512 of the budget, enough for as much of the pool as the
    /// budget could hold.
    fn direct_tables(&self) -> u32 {
        let bytes = self.budget_bytes.min(memfold_linux::memory_bytes()) / 512;
        (bytes / PAGE_SIZE as u64).clamp(8, 1024) as u32
    }

    /// What becomes of an access that the process makes itself to a page of a space, through its
    /// address, and that cannot be served: the budget has no room left for a store and nothing can
    /// be reclaimed, or the bytes are lost. By default the thread gets SIGBUS, as for a page that
    /// the kernel has lost. Each space can be told otherwise by
    /// [`Space::set_on_loss`](crate::Space::set_on_loss). Loads of pages whose bytes are there are
    /// always served.
    #[must_use]
    pub fn on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    /// Whether core dumps of the process contain what spaces hold in memory. They do not by
    /// default: a dump would be as large as all spaces together, and what is evicted is not
    /// readable in it.
    #[must_use]
    pub fn core_dumps(mut self, contain: bool) -> Self {
        self.core_dumps = contain;
        self
    }

    /// Builds it. What works but may go wrong later is in [`Memory::warnings`], and is said as
    /// events of `tracing`.
    ///
    /// # Errors
    /// [`Error::Machine`] when this process may not use userfaultfd, with the setting that mends
    /// it; [`Error::Build`] when the budget is too small for anything.
    pub fn build(self) -> Result<Memory, Error> {
        let host = LinuxHost::builder()
            .delivery(self.delivery)
            .guard_bytes(self.guard_bytes)
            .core_dumps(self.core_dumps)
            .direct_tables(self.direct_tables())
            .build()?;
        let config = Config {
            limit_bytes: self.budget_bytes,
            machine_bytes: memfold_linux::memory_bytes(),
            spaces: self.max_spaces,
            store_bytes: CompressedStore::FIXED_BYTES,
            page_tables: self.page_tables,
            replacement: self.replacement,
            native: self.native,
        };
        let mm = Mm::new(host, CompressedStore::new(), config)?;
        let warnings = Warning::about(self.budget_bytes, self.delivery);
        warnings.iter().for_each(Warning::log);
        let inner = Inner::new(mm, self.merging, self.on_loss, self.write_back, warnings);
        let inner = Arc::new(inner);
        inner.join(self.background && self.budget_bytes != UNLIMITED);
        if self.merge_share > 0.0 {
            inner.start_merger(self.merge_share);
        }
        Ok(Memory(inner))
    }
}
