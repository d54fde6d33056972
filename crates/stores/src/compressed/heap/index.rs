//! From a page's checksum to the objects that have it: a hash table that grows by one bucket at a
//! time.
//!
//! Linear hashing: the heads of the chains are an array of words in a region of the arena, the
//! chains run through the objects' headers. A head says the first object of its chain, and has a
//! small filter of what is in it: most pages are nobody's twin, and are known for it without a look
//! at a header, which is seldom in the processor's cache. With `n` buckets, a checksum belongs to
//! bucket `checksum mod 2^k`, or `mod 2^(k-1)` where that bucket does not exist yet. Every put
//! splits at most one bucket and every free joins at most two, so no call ever pays for a rehash.
//! Under the store's lock; called by `heap`.

use super::Heap;
use super::arena::{FRAME, Region};
use super::class::CLASSES;
use super::ids::ID_BITS;
use super::object::{COUNT_MAX, Header};
use memfold_host::Domain;

/// Heads of chains in a frame, and the fewest that a table has.
const HEADS: u32 = (FRAME / 4) as u32;
/// A search for equal content gives up after this many objects; a chain this long is no accident.
const SEARCH_MAX: usize = 64;
/// Bits of a head that are its filter: each object of the chain sets one; some may be set by
/// objects that are gone.
const FILTER_BITS: u32 = u32::BITS - ID_BITS;
/// The region of the heads.
pub(crate) const TENANT: Region = CLASSES + 1;

/// The start of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    /// The first object, plus one; 0: there is none.
    first: u32,
    filter: u32,
}

impl Head {
    fn from_word(word: u32) -> Self {
        Self {
            first: word & ((1 << ID_BITS) - 1),
            filter: word >> ID_BITS,
        }
    }

    fn to_word(self) -> u32 {
        let filter = if self.first == 0 { 0 } else { self.filter };
        filter << ID_BITS | self.first
    }

    /// The bit of the filter that an object with this checksum sets.
    fn bit(checksum: u64) -> u32 {
        // Of bits that do not choose the bucket.
        let part = (checksum >> 32) as u32 & 0x3ff;
        1 << ((part * FILTER_BITS) >> 10)
    }

    /// The chain with one more in front.
    fn with(self, id: u32, checksum: u64) -> Self {
        Self {
            first: id + 1,
            filter: self.filter | Self::bit(checksum),
        }
    }
}

/// The size of the table; its heads and chains are in the arena.
#[derive(Default)]
pub(crate) struct Index {
    buckets: u32,
    objects: u32,
}

impl Index {
    fn bucket(&self, checksum: u64) -> u32 {
        let mask = self.buckets.next_power_of_two() - 1;
        let bucket = checksum as u32 & mask;
        if bucket < self.buckets {
            bucket
        } else {
            bucket & (mask >> 1)
        }
    }

    /// The frames that [`Heap::link`] will need: 0 or 1.
    pub(crate) fn frames_to_link(&self) -> usize {
        usize::from(self.buckets == 0 || self.grows() && self.buckets.is_multiple_of(HEADS))
    }

    fn grows(&self) -> bool {
        self.objects >= self.buckets
    }

    fn shrinks(&self) -> bool {
        self.buckets > HEADS && self.objects < self.buckets / 4 * 3
    }
}

impl Heap {
    /// An object of the domain with this checksum that may take one more reference.
    pub(crate) fn find(&self, domain: Domain, checksum: u64) -> Option<Header> {
        if self.index.buckets == 0 {
            return None;
        }
        let head = self.head(self.index.bucket(checksum));
        if head.filter & Head::bit(checksum) == 0 {
            return None;
        }
        let mut next = head.first;
        for _ in 0..SEARCH_MAX {
            let header = self.header(next.checked_sub(1)?)?;
            if header.checksum == checksum && header.refs < COUNT_MAX && self.domain(&header) == Some(domain)
            {
                return Some(header);
            }
            next = header.next;
        }
        None
    }

    /// Puts the object in front of its chain; the answer is what its header says comes after it.
    /// What [`Index::frames_to_link`] said is reserved.
    pub(super) fn link(&mut self, new: &Header) -> u32 {
        if self.index.buckets == 0 {
            self.push_heads();
            self.index.buckets = HEADS;
        } else if self.index.grows() {
            self.split();
        }
        let bucket = self.index.bucket(new.checksum);
        let head = self.head(bucket);
        self.set_head(bucket, head.with(new.id, new.checksum));
        self.index.objects += 1;
        head.first
    }

    /// Takes the object out of its chain.
    pub(super) fn unlink(&mut self, gone: &Header) {
        let bucket = self.index.bucket(gone.checksum);
        let head = self.head(bucket);
        if head.first == gone.id + 1 {
            let first = gone.next;
            self.set_head(bucket, Head { first, ..head });
        } else {
            let mut header = self.expect_header(head.first - 1);
            // Ends: a chain has an end, and the object is in it.
            while header.next != gone.id + 1 {
                header = self.expect_header(header.next - 1);
            }
            header.next = gone.next;
            self.write_header(&header);
        }
        self.index.objects -= 1;
        for _ in 0..2 {
            if self.index.shrinks() {
                self.join();
            }
        }
        if self.index.objects == 0 && self.index.buckets == HEADS {
            self.arena.pop_frame(TENANT);
            self.index.buckets = 0;
        }
    }

    /// One bucket more: it takes its share of the chain that it splits from.
    fn split(&mut self) {
        let new = self.index.buckets;
        if new.is_multiple_of(HEADS) {
            self.push_heads();
        }
        let old = new - (1 << new.ilog2());
        let mut next = self.head(old).first;
        self.index.buckets += 1;
        self.set_head(old, Head::default());
        self.set_head(new, Head::default());
        // Ends: a chain has an end.
        while let Some(id) = next.checked_sub(1) {
            let mut header = self.expect_header(id);
            next = header.next;
            let bucket = self.index.bucket(header.checksum);
            debug_assert!(bucket == old || bucket == new, "a split parts one bucket in two");
            let head = self.head(bucket);
            header.next = head.first;
            self.write_header(&header);
            self.set_head(bucket, head.with(id, header.checksum));
        }
    }

    /// One bucket less: its chain goes in front of that which it was split from.
    fn join(&mut self) {
        let gone = self.index.buckets - 1;
        let chain = self.head(gone);
        self.index.buckets = gone;
        if let Some(first) = chain.first.checked_sub(1) {
            let mut last = self.expect_header(first);
            let into = self.index.bucket(last.checksum);
            // Ends: a chain has an end.
            while let Some(id) = last.next.checked_sub(1) {
                last = self.expect_header(id);
            }
            let head = self.head(into);
            last.next = head.first;
            self.write_header(&last);
            let filter = chain.filter | head.filter;
            self.set_head(into, Head { filter, ..chain });
        }
        if gone.is_multiple_of(HEADS) {
            self.arena.pop_frame(TENANT);
        }
    }

    fn push_heads(&mut self) {
        let start = self.arena.frames(TENANT) as u32 * HEADS;
        self.arena.push_frame(TENANT);
        (start..start + HEADS).for_each(|bucket| self.set_head(bucket, Head::default()));
    }

    fn head(&self, bucket: u32) -> Head {
        Head::from_word(self.arena.read_word(TENANT, bucket as usize))
    }

    fn set_head(&mut self, bucket: u32, head: Head) {
        self.arena.write_word(TENANT, bucket as usize, head.to_word());
    }
}
