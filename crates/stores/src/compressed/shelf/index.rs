//! From a page's checksum to the objects that have it: a hash table that grows by one bucket at a time.
//!
//! Linear hashing: the heads of the chains are an array of words in a tenant of the arena, the chains run
//! through the objects' headers. With `n` buckets, a checksum belongs to bucket `checksum mod 2^k`, or
//! `mod 2^(k-1)` where that bucket does not exist yet. Every put splits at most one bucket and every
//! free joins at most two, so no call ever pays for a rehash. Under the store's lock; called by `shelf`.

use super::Shelf;
use super::arena::{FRAME, Tenant};
use super::class::CLASSES;
use super::object::{COUNT_MAX, Header};
use memfold_host::Domain;

/// Heads of chains in a frame, and the fewest that a table has.
const HEADS: u32 = (FRAME / 4) as u32;
/// A search for equal content gives up after this many objects; a chain this long is no accident.
const SEARCH_MAX: usize = 64;
/// The tenant of the heads.
pub(crate) const TENANT: Tenant = CLASSES + 1;

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

    /// The frames that [`Shelf::link`] will need: 0 or 1.
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

impl Shelf {
    /// An object of the domain with this checksum that may take one more reference.
    pub(crate) fn find(&self, domain: Domain, checksum: u64) -> Option<Header> {
        if self.index.buckets == 0 {
            return None;
        }
        let mut next = self.head(self.index.bucket(checksum));
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

    /// Adds the object to its chain. What [`Index::frames_to_link`] said is reserved.
    pub(super) fn link(&mut self, id: u32) {
        if self.index.buckets == 0 {
            self.push_heads();
            self.index.buckets = HEADS;
        } else if self.index.grows() {
            self.split();
        }
        let mut header = self.expect_header(id);
        let bucket = self.index.bucket(header.checksum);
        header.next = self.head(bucket);
        self.write_header(&header);
        self.set_head(bucket, id + 1);
        self.index.objects += 1;
    }

    /// Takes the object out of its chain.
    pub(super) fn unlink(&mut self, gone: &Header) {
        let bucket = self.index.bucket(gone.checksum);
        let first = self.head(bucket);
        if first == gone.id + 1 {
            self.set_head(bucket, gone.next);
        } else {
            let mut header = self.expect_header(first - 1);
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
        let mut next = self.head(old);
        self.index.buckets += 1;
        self.set_head(old, 0);
        self.set_head(new, 0);
        // Ends: a chain has an end.
        while let Some(id) = next.checked_sub(1) {
            let mut header = self.expect_header(id);
            next = header.next;
            let bucket = self.index.bucket(header.checksum);
            debug_assert!(bucket == old || bucket == new, "a split parts one bucket in two");
            header.next = self.head(bucket);
            self.write_header(&header);
            self.set_head(bucket, id + 1);
        }
    }

    /// One bucket less: its chain goes in front of that which it was split from.
    fn join(&mut self) {
        let gone = self.index.buckets - 1;
        let chain = self.head(gone);
        self.index.buckets = gone;
        if let Some(first) = chain.checked_sub(1) {
            let mut last = self.expect_header(first);
            let into = self.index.bucket(last.checksum);
            // Ends: a chain has an end.
            while let Some(id) = last.next.checked_sub(1) {
                last = self.expect_header(id);
            }
            last.next = self.head(into);
            self.write_header(&last);
            self.set_head(into, chain);
        }
        if gone.is_multiple_of(HEADS) {
            self.arena.pop_frame(TENANT);
        }
    }

    fn push_heads(&mut self) {
        let start = self.arena.frames(TENANT) as u32 * HEADS;
        self.arena.push_frame(TENANT);
        (start..start + HEADS).for_each(|bucket| self.set_head(bucket, 0));
    }

    fn head(&self, bucket: u32) -> u32 {
        self.arena.read_word(TENANT, bucket as usize)
    }

    fn set_head(&mut self, bucket: u32, head: u32) {
        self.arena.write_word(TENANT, bucket as usize, head);
    }
}
