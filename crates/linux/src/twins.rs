//! Pages that may be equal, compared where they are.
//!
//! Part of [`LinuxHost`]: private pages in their windows, pool pages in the pool's direct mapping, without a copy. Pages are
//! looked at from end to end of a window, so the next one is asked for from memory while this one is compared: the
//! way from memory is most of what a look costs.

use memfold_host::addr::{PAGE_SIZE, PageNo, SpaceNo};
use memfold_host::{HostError, Twin};

use crate::host::LinuxHost;
use crate::span::{Span, Wanted};

impl LinuxHost {
    /// A page of a window; the same part of the next one is on its way.
    pub(crate) fn look(&self, space: SpaceNo, page: PageNo, wanted: Wanted) -> Span {
        let window = self.record(space).slot();
        let at = page.0 as usize;
        if (at + 2) * PAGE_SIZE <= window.len() {
            window.part(at + 1, 1).expect_read(wanted);
        }
        window.part(at, 1)
    }

    /// A guess, by a few words.
    pub(crate) fn looks_like(&self, space: SpaceNo, page: PageNo, of: Twin) -> bool {
        let words = self.look(space, page, Wanted::Samples).samples();
        match of {
            Twin::Private(other) => words == self.look(other, page, Wanted::Samples).samples(),
            Twin::Pool(at) => self.pool.samples(at) == Some(words),
        }
    }

    /// All bytes.
    pub(crate) fn is_equal(&self, space: SpaceNo, page: PageNo, of: Twin) -> Result<bool, HostError> {
        let own = self.look(space, page, Wanted::All);
        match of {
            Twin::Private(other) => Ok(own.equals(self.look(other, page, Wanted::All).addr())),
            Twin::Pool(at) => match self.pool.direct(at) {
                Some(direct) => Ok(own.equals(direct)),
                None => {
                    let mut bytes = [0; PAGE_SIZE];
                    self.pool.read(at, &mut bytes)?;
                    Ok(own.equals(bytes.as_ptr() as usize))
                }
            },
        }
    }
}
