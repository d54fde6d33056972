//! Pages of shared pieces: stores to the pool page itself are let through, or not.
//!
//! Part of [`Pages`], under the manager's locks; what may happen to a page meanwhile stands in
//! `pages.rs`. A page that has become empty after all is no failure: the next store to it is a
//! fault again.

use memfold_host::HostError;

use crate::limits::page_refused;
use crate::pages::{CONTINUE, Pages};
use crate::present;
use crate::span::Span;
use crate::uffd::{Progress, Stores, insist};

impl Pages {
    /// Shows the pool pages of `span` so that stores go through to them. On error none is open that
    /// was not.
    pub(crate) fn show_writable(&self, span: Span) -> Result<(), HostError> {
        let mut open = 0;
        // Ends: each turn opens a page, or takes the poison from one, which then has none.
        while open < span.pages() {
            match self.open_some(span.skip(open)) {
                Ok(more) => open += more,
                Err(refused) => {
                    if open != 0 {
                        insist("protecting pool pages", || {
                            self.uffd().protect(span.head(open), Stores::Fault)
                        });
                    }
                    return Err(refused);
                }
            }
        }
        Ok(())
    }

    /// The same for the first pages; for how many.
    fn open_some(&self, span: Span) -> Result<usize, HostError> {
        // A store that was refused has found its page there.
        let progress = match present::take(span) {
            true => Progress::Exists,
            false => self.uffd().show(span, Stores::Pass),
        };
        match progress {
            Progress::All => Ok(span.pages()),
            Progress::Part(pages) => Ok(pages),
            Progress::Exists if self.clear_poison(span.head(1)) => Ok(0),
            Progress::Exists => self.protect(span.head(1), Stores::Pass).map(|()| 1),
            Progress::Refused(errno) => Err(page_refused(CONTINUE)(errno)),
        }
    }

    /// Which pages of `span`, at most 64, show pool pages that can be stored to without a fault.
    pub(crate) fn open_to_stores(&self, span: Span) -> u64 {
        let mut open = 0;
        insist("scanning pages", || {
            open = self.pagemap.open_to_stores(span)?;
            Ok(())
        });
        open
    }
}
