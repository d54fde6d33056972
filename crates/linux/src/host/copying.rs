//! Copies of pool pages in a window: one page's, or a run's.
//!
//! Part of [`LinuxHost`], under the manager's locks; how a page gets its bytes stands in
//! `filling.rs`.

use memfold_host::HostError;
use memfold_host::addr::{PAGE_SIZE, PageNo, PoolPage, Run, SpaceNo};

use super::LinuxHost;
use crate::filling::Shown;

impl LinuxHost {
    pub(super) fn copy_page(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError> {
        let shown = if self.shows(space, page, from) {
            Shown::Source
        } else {
            Shown::Other
        };
        let page = self.page(space, page);
        if let Some(source) = self.pool.direct(from) {
            return self.site.pages.copy(page, source, shown);
        }
        let mut bytes = [0; PAGE_SIZE];
        self.pool.read(from, &mut bytes)?;
        self.site.pages.copy(page, bytes.as_ptr() as usize, shown)
    }

    /// Copies the pages of the run where the window shows them and they lie together in the direct
    /// mapping, else the first; a bit for each that has its copy.
    pub(super) fn copy_pages(&self, space: SpaceNo, run: Run, from: PoolPage) -> Result<u64, HostError> {
        let last = run.len - 1;
        let ends = (self.pool.direct(from), self.pool.direct(from.plus(last)));
        match ends {
            (Some(source), Some(end))
                if end == source + last as usize * PAGE_SIZE && self.shows(space, run.first, from) =>
            {
                self.site.pages.copy_run(self.span(space, run), source)
            }
            _ => self.copy_page(space, run.first, from).map(|()| 1),
        }
    }

    /// Whether the window can show that pool page there.
    fn shows(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> bool {
        let record = self.record(space);
        from == record.pieces().pool_page(page, record.backing())
    }
}
