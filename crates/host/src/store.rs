//! [`Store`], the second seam: where the bytes of cold pages go, what that costs, and whom it asks
//! for memory.
//!
//! A store guards itself; what it is called with is guarded by the manager's locks (see the trait).

use crate::addr::PageBytes;

/// Names bytes that a [`Store`] holds; meaningful to that store only, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stored(pub std::num::NonZeroU64);

/// Who may share stored or merged content with whom: only pages of one domain are ever
/// compared, merged or stored once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Domain(pub u32);

/// Why a store did not take or give a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The budget has no room for what the store would have to hold.
    #[error("the store has no room left in the budget")]
    Full,
    /// The bytes that came back do not match their checksum.
    #[error("stored bytes are corrupt: checksum {found:#x}, expected {expected:#x}")]
    Corrupt {
        /// What was recorded when the page was stored.
        expected: u64,
        /// What the bytes give now.
        found: u64,
    },
    /// The bytes are nowhere: the page had come back with room on loan, held what did not compress,
    /// and another space needed that room.
    #[error(
        "it had come back with room that was only lent, did not compress any more, and another space needed the room; raise the budget, or run fewer spaces"
    )]
    CalledIn,
    /// The operating system refused; the number is its error code.
    #[error("the store's device failed (error {0})")]
    Device(i32),
}

/// Where a store asks for the memory that it holds.
pub trait Ledger {
    /// Asks for `bytes` more; false when the budget has no room. Never blocks, never reclaims.
    #[must_use]
    fn charge(&self, bytes: u64) -> bool;
    /// Gives `bytes` back.
    fn refund(&self, bytes: u64);
}

/// Most bytes that one [`Store::put`] asks its ledger for: reclaim sets them aside before it puts a
/// page.
pub const PUT_MOST: u64 = 5 * crate::addr::PAGE_SIZE as u64;

/// What keeping a stored page costs, in bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// What is held for the page's bytes: body, header, share of the store's tables. 0 when all is
    /// in the name.
    pub bytes: u64,
    /// Other pages need the same bytes: equal ones, or such as are kept as a difference to this
    /// one.
    pub shared: bool,
    /// The page is kept as a difference to another.
    pub delta: bool,
}

impl Cost {
    /// What this page adds to what the store would hold without it.
    #[must_use]
    pub fn adds(&self) -> u64 {
        if self.shared { 0 } else { self.bytes }
    }
}

/// Where the bytes of cold pages go: compressed memory, a file, an object store.
///
/// Called from fault handlers and from several threads at once, with frame locks held.
/// A store must not touch a window, and must need little stack (8 KiB).
pub trait Store: Send + Sync {
    /// Takes a page. `near` names an earlier page of this store whose content is probably similar
    /// (the template's page at the same place); a store may encode the page as a difference to it,
    /// and keeps what it needs of it alive. Another thread may have freed `near` a moment ago: then
    /// it is ignored. Memory that the store grows by is charged to `ledger` first, at most
    /// [`PUT_MOST`] bytes.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the ledger refuses; then nothing is held.
    fn put(
        &self,
        domain: Domain,
        page: &PageBytes,
        near: Option<Stored>,
        ledger: &dyn Ledger,
    ) -> Result<Stored, StoreError>;

    /// Gives the bytes back; they stay stored. The checksum is verified.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::Device`]; `out` is then unspecified.
    fn get(&self, id: Stored, out: &mut PageBytes) -> Result<(), StoreError>;

    /// Forgets a page; each `put` is answered by one `free`. Memory that the store shrinks by is
    /// refunded to `ledger`.
    fn free(&self, id: Stored, ledger: &dyn Ledger);

    /// What keeping this page costs now; of a name that is not stored: nothing, and shared. In
    /// constant time.
    ///
    /// The costs of all pages make up what is held, but for the last page of memory of each sort
    /// and what the store keeps ready to grow by.
    fn cost(&self, id: Stored) -> Cost;

    /// What the store holds now.
    fn stats(&self) -> StoreStats;
}

/// What a store holds; counts of pages but where said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Pages put and not yet freed.
    pub pages: u64,
    /// Of these, pages of one repeated word (zeros above all), which cost nothing but their entry.
    pub same_filled: u64,
    /// Of these, pages whose content was there already.
    pub duplicates: u64,
    /// Of these, pages kept as a difference to another.
    pub deltas: u64,
    /// Of these, pages that did not compress and are kept raw.
    pub raw: u64,
    /// Bytes of the encoded pages.
    pub encoded_bytes: u64,
    /// Bytes charged: encoded pages, the room lost around them, and the store's own tables.
    pub held_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::Cost;

    /// Goal: a page that others share adds nothing.
    #[test]
    fn shared_pages_add_nothing() {
        let alone = Cost {
            bytes: 7,
            ..Cost::default()
        };
        let shared = Cost {
            shared: true,
            ..alone
        };
        assert_eq!((alone.adds(), shared.adds()), (7, 0));
    }
}
