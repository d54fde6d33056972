//! Looks at pages that cannot fail: a scan needs no memory, only patience with signals.
//!
//! Part of [`Pages`]; nothing is changed. What a look says stays true only as long as the caller keeps others from changing it.

use crate::pages::Pages;
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
