//! Looks at pages that cannot fail: a scan needs no memory, only patience with signals.
//!
//! Part of [`Pages`]; nothing is changed, but pages that are only shown may be hidden, to be seen
//! when they are used again. What a look says stays true only as long as the caller keeps others
//! from changing it.

use crate::pages::{Pages, width};
use crate::scan::{SCAN_PAGES, Seen};
use crate::span::Span;
use crate::uffd::insist;

impl Pages {
    /// Which private pages of `span`, at most 64, can be stored to without a fault.
    pub(crate) fn writable(&self, span: Span) -> u64 {
        let mut writable = 0;
        insist("scanning pages", || {
            writable = self.pagemap.writable(span)?;
            Ok(())
        });
        writable
    }

    /// Whether each store to `span`, all of it private, is a fault.
    pub(crate) fn is_protected(&self, span: Span) -> bool {
        let pieces = (0..span.pages()).step_by(SCAN_PAGES);
        pieces
            .into_iter()
            .all(|at| self.writable(span.skip(at).head(SCAN_PAGES)) == 0)
    }

    /// Which pages are shown; they are emptied, all in one call (an interruption of the other cores
    /// each).
    pub(crate) fn test_and_clear_young(&self, span: Span) -> u64 {
        let young = self.look(span).present;
        if young != 0 {
            let first = young.trailing_zeros() as usize;
            self.drop_pages(span.part(first, width(young) - first));
        }
        young
    }

    /// A scan that cannot fail: it needs no memory, only patience with signals.
    pub(crate) fn look(&self, span: Span) -> Seen {
        let mut seen = None;
        insist("scanning pages", || {
            seen = Some(self.pagemap.scan(span)?);
            Ok(())
        });
        seen.expect("insist ends with success")
    }
}
