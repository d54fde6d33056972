//! The compressed store: cold pages in memory, as small as they get.
//!
//! [`CompressedStore`] is the door; `put`, `get` and `free` below are called by the manager, from
//! fault handlers and from several threads. One lock guards the `heap` (objects, names, index) and
//! is held for copies and table work only; hashing, comparing, encoding and decoding run on private
//! room (`scratch.rs`) between two locked steps:
//!
//! ```text
//! put:  hash ─> [lock: find a twin, or hold and copy the base] ─> compare / decode base, encode
//!            ─> [lock: share the twin, or reserve + add the object]
//! get:  [lock: copy body and base body] ─> decode ─> verify the checksum
//! ```
//!
//! Two equal pages put at the very same time may both be stored; that costs room, not truth.
//! Read next: `heap/mod.rs`.

#[cfg(any(test, feature = "bodies"))]
pub mod bodies;
mod heap;
mod name;
mod scratch;
#[cfg(test)]
mod tests;

use crate::codec::{self, Found, fill};
use heap::{Fresh, Header, Heap};
use memfold_host::addr::PageBytes;
use memfold_host::{Cost, Domain, Ledger, Store, StoreError, StoreStats, Stored};
use memfold_sync::{Mutex, Rank};
use name::Name;
use scratch::{Pool, Scratch};
use std::hash::BuildHasher;
use twox_hash::XxHash3_64;

/// A [`Store`] in memory that keeps pages compressed.
///
/// * A page of one repeated word is kept in its name, without memory, if the word's two highest
///   bits are alike (zeros, small numbers, ASCII, positive and negative counters); else in an
///   entry.
/// * Equal pages of one domain are stored once: found by checksum, always compared byte by byte.
///   Pages of different domains never share anything.
/// * A page that resembles its `near` page is kept as the difference to it: around 50 bytes for a
///   few small changes, everything counted. The base stays for as long as a delta needs it.
/// * All else is LZ4, or raw where LZ4 does not help.
///
/// Charges are in bytes, made before memory is touched, 4 KiB at a time or a few of them; memory
/// goes back to the system, and its charge to the ledger, in steps of 64 KiB, down to nothing when
/// nothing is stored. All ledgers given to one store must lead to the same account, since its
/// memory is shared by all pages. [`FIXED_BYTES`](Self::FIXED_BYTES) are held from `new` on and not
/// charged to any ledger.
///
/// Thread-safe; no call waits for another's compression. Needs less than 8 KiB of stack.
///
/// ```
/// use memfold_host::{Domain, Store};
/// use memfold_stores::{CompressedStore, conformance::Account};
///
/// let (store, account) = (CompressedStore::new(), Account::limited(2 << 20));
/// let page = [42; 4096];
/// let id = store.put(Domain(1), &page, None, &account)?;
/// let mut back = [0; 4096];
/// store.get(id, &mut back)?;
/// assert_eq!(back, page);
/// store.free(id, &account);
/// # Ok::<(), memfold_host::StoreError>(())
/// ```
pub struct CompressedStore {
    /// Immutable; keys the checksums, so that nobody can aim at one chain of the index.
    seed: u64,
    heap: Mutex<Heap>,
    pool: Pool,
}

impl CompressedStore {
    /// What an empty store holds, in bytes: room for two calls and small tables. Not charged;
    /// whoever makes a store reserves it. A call that finds both rooms taken uses 34 KiB of heap
    /// while it runs.
    pub const FIXED_BYTES: u64 = 88 << 10;

    /// An empty store, with a random seed for its checksums.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(std::hash::RandomState::new().hash_one(0))
    }

    /// An empty store with a given seed, for replays; otherwise the same.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self {
            seed,
            heap: Mutex::new(Rank::Store, Heap::new()),
            pool: Pool::new(),
        }
    }

    fn checksum(&self, domain: Domain, page: &PageBytes) -> u64 {
        let salt = u64::from(domain.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        XxHash3_64::oneshot_with_seed(self.seed ^ salt, page)
    }

    /// Shares the stored page with the same bytes, if there is one.
    fn put_twin(&self, (domain, page): (Domain, &PageBytes), put: &mut Put<'_>) -> Option<Stored> {
        let twin = {
            let mut heap = self.heap.lock();
            let twin = heap.find(domain, put.checksum)?;
            heap.copy(&twin, &mut put.scratch.copied)?;
            heap.hold(twin.id);
            twin
        };
        let equal = put.scratch.decode().is_some() && *put.scratch.page == *page;
        let mut heap = self.heap.lock();
        if equal {
            heap.share(twin.id);
        }
        heap.let_go(twin.id, put.ledger);
        equal.then(|| Name::of_object(twin.id, put.checksum))
    }

    /// Holds and decodes the page that `near` offers as a base into the scratch page.
    fn take_base(&self, domain: Domain, near: Stored, put: &mut Put<'_>) -> Option<u32> {
        let base = {
            let mut heap = self.heap.lock();
            let near = named(&heap, near)?;
            let base = heap.base(domain, &near)?;
            heap.copy(&base, &mut put.scratch.copied)?;
            heap.hold(base.id);
            base
        };
        let sound =
            put.scratch.decode().is_some() && self.checksum(domain, &put.scratch.page) == base.checksum;
        if !sound {
            self.heap.lock().let_go(base.id, put.ledger);
        }
        sound.then_some(base.id)
    }

    /// Stores the page as an object of its own; it takes over the hold on the base, or lets go of
    /// it.
    fn put_object(
        &self,
        (domain, page): (Domain, &PageBytes),
        base: Option<u32>,
        put: &mut Put<'_>,
    ) -> Result<Stored, StoreError> {
        let Scratch {
            page: base_page,
            bench,
            ..
        } = &mut *put.scratch;
        let found = codec::encode(page, base.map(|_| &**base_page), bench);
        let Found { kind, .. } = found;
        let delta_of = base.filter(|_| kind.is_delta());
        let link = delta_of.unwrap_or(domain.0);
        let fresh = Fresh {
            checksum: put.checksum,
            kind,
            body: bench.body(found),
            link,
        };
        let mut heap = self.heap.lock();
        let added = heap.add(&fresh, put.ledger);
        if let Some(base) = base.filter(|_| added.is_err() || delta_of.is_none()) {
            heap.let_go(base, put.ledger);
        }
        added.map(|id| Name::of_object(id, put.checksum))
    }
}

/// What the steps of one `put` pass on.
struct Put<'a> {
    checksum: u64,
    scratch: &'a mut Scratch,
    ledger: &'a dyn Ledger,
}

/// The object with this name, if it is still there.
fn named(heap: &Heap, name: Stored) -> Option<Header> {
    let Name::Object { id, tag } = Name::decode(name)? else {
        return None;
    };
    heap.header(id)
        .filter(|header| name::tag_of(header.checksum) == tag)
}

impl Default for CompressedStore {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CompressedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompressedStore")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Store for CompressedStore {
    /// As the trait says. A `near` that is no longer stored, or of another domain, is ignored.
    fn put(
        &self,
        domain: Domain,
        page: &PageBytes,
        near: Option<Stored>,
        ledger: &dyn Ledger,
    ) -> Result<Stored, StoreError> {
        let word = fill::word_of(page);
        if let Some(name) = word.and_then(Name::of_word) {
            self.heap.lock().add_inline();
            return Ok(name);
        }
        self.pool.with(|scratch| {
            let mut put = Put {
                checksum: self.checksum(domain, page),
                scratch,
                ledger,
            };
            if let Some(name) = self.put_twin((domain, page), &mut put) {
                return Ok(name);
            }
            // A repeated word is shorter than any difference.
            let near = near.filter(|_| word.is_none());
            let base = near.and_then(|near| self.take_base(domain, near, &mut put));
            self.put_object((domain, page), base, &mut put)
        })
    }

    /// As the trait says. A name that this store does not know is `Corrupt` as well.
    fn get(&self, id: Stored, out: &mut PageBytes) -> Result<(), StoreError> {
        if let Some(Name::Word(word)) = Name::decode(id) {
            fill::spread(word, out);
            return Ok(());
        }
        self.pool.with(|scratch| {
            let found = {
                let heap = self.heap.lock();
                named(&heap, id).and_then(|header| {
                    heap.copy(&header, &mut scratch.copied)?;
                    Some((header.checksum, scratch.copied.domain()?))
                })
            };
            let Some((expected, domain)) = found else {
                return Err(StoreError::Corrupt {
                    expected: id.0.get(),
                    found: 0,
                });
            };
            let decoded = scratch.decode_into(out);
            let found = self.checksum(domain, out);
            match decoded {
                Some(()) if found == expected => Ok(()),
                Some(()) => Err(StoreError::Corrupt { expected, found }),
                // A body that does not decode is no page, whatever `out` happens to hold.
                None => Err(StoreError::Corrupt {
                    expected,
                    found: !expected,
                }),
            }
        })
    }

    /// As the trait says.
    ///
    /// # Panics
    /// When the name is not stored (a page was freed twice), or its header has gone bad.
    fn free(&self, id: Stored, ledger: &dyn Ledger) {
        let mut heap = self.heap.lock();
        if let Some(Name::Word(_)) = Name::decode(id) {
            heap.remove_inline();
        } else {
            let header = named(&heap, id).expect("only what is stored can be freed");
            heap.unshare(header.id, ledger);
        }
    }

    /// As the trait says. An object that a call under way is looking at counts as shared.
    fn cost(&self, id: Stored) -> Cost {
        if let Some(Name::Word(_)) = Name::decode(id) {
            return Cost::default();
        }
        let heap = self.heap.lock();
        let gone = Cost {
            shared: true,
            ..Cost::default()
        };
        named(&heap, id).map_or(gone, |header| heap::cost(&header))
    }

    fn stats(&self) -> StoreStats {
        self.heap.lock().stats()
    }
}
