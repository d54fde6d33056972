//! Bases of a backing's entries: recorded, replaced, taken out again.
//!
//! An entry's base changes by compare-exchange under the backing's lock, so that each stored page
//! is freed once: by who replaced it, by the sweep that took it out, or by the last user of the
//! backing. Who only reads a base takes no part in that: the name may be gone a moment later, which
//! a store tolerates. A base is a cache: the sweep takes out those that nobody needs (Linux: a
//! shrinker). Whoever frees a stored page says where its base stands, or that it may stand
//! anywhere, and the sweep looks there only: in a full budget it comes by at each fault. As a mark
//! can be lost to a race, each round in [`FULL`] looks everywhere.

use super::entries::{Entries, Entry, mark, take_mark};
use super::{BackingNo, Backings, CHUNK};
use crate::addr::PageNo;
use crate::host::Stored;
use memfold_sync::Arc;
use memfold_sync::atomic::{AtomicU64, Ordering};
use std::num::NonZeroU64;

/// Of so many rounds of the sweep one looks at all bases.
const FULL: u64 = 64;

/// Backings that one step of the sweep looks at, at most.
const HOMES_STEP: u32 = 16;

/// What the stored versions are that a backing's entries name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Versions {
    /// Bases, to which pages may be differences: a cache.
    #[default]
    Bases,
    /// The pages themselves, of memory that spaces share.
    Pages,
}

/// Where the sweep through the bases is, and where it has to look. All of it is policy: two sweeps
/// may look at the same entries.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Where it goes on: the backing, and the chunk of its entries.
    cursor: AtomicU64,
    /// How often a base became idle, perhaps, of which nobody knows where it stands.
    anywhere: AtomicU64,
    /// What that was when the round began that is under way, and the last one that is over.
    began: AtomicU64,
    over: AtomicU64,
    /// Rounds that are over.
    rounds: AtomicU64,
}

impl Sweep {
    fn begin(&self) {
        // Relaxed: policy only, here and below.
        let now = self.anywhere.load(Ordering::Relaxed);
        self.began.store(now, Ordering::Relaxed);
    }

    /// Whether this round looks at all bases.
    fn is_full(&self) -> bool {
        // Relaxed: as above.
        self.began.load(Ordering::Relaxed) != self.over.load(Ordering::Relaxed)
            || self.rounds.load(Ordering::Relaxed) % FULL == FULL - 1
    }

    fn end(&self) {
        // Relaxed: as above.
        let began = self.began.load(Ordering::Relaxed);
        // Relaxed: as above.
        self.over.store(began, Ordering::Relaxed);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.cursor.store(0, Ordering::Relaxed);
    }
}

impl Backings {
    /// A stored page was freed that was a difference to the base of this place, perhaps.
    pub fn perhaps_idle(&self, backing: BackingNo, page: PageNo) {
        // Relaxed: a hint for the sweep.
        if self.bases.load(Ordering::Relaxed) == 0 {
            return;
        }
        let entries = self.backings.get(backing.0).0.lock().entries.clone();
        if let Some(chunk) = entries.as_ref().and_then(|entries| entries.chunk(page)) {
            mark(chunk);
        }
    }

    /// The same for pages of which the place is not known.
    pub fn perhaps_idle_anywhere(&self) {
        // Relaxed: a hint for the sweep.
        self.sweep.anywhere.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn base_at(entry: &Entry) -> Option<Stored> {
        // Acquire: the store's entry was made before it was recorded here.
        NonZeroU64::new(entry.base.load(Ordering::Acquire)).map(Stored)
    }

    /// The base of the page's entry.
    pub fn base(&self, backing: BackingNo, page: PageNo) -> Option<Stored> {
        let entries = self.backings.get(backing.0).0.lock().entries.clone()?;
        Self::base_at(entries.get(page)?)
    }

    /// Records a base in place of `old`, which the caller frees then. False when another stands
    /// there, or there is no room for the record: the caller frees its own.
    pub fn set_base(
        &self,
        backing: BackingNo,
        page: PageNo,
        old: Option<Stored>,
        base: Stored,
        charge: impl Fn(u64) -> bool,
    ) -> bool {
        let set = self.with_entry(backing, page, charge, |entry| {
            Self::exchange(entry, old, base.0.get())
        });
        let set = set == Some(true);
        if set {
            // Relaxed: a hint for the sweep.
            self.bases.fetch_add(u64::from(old.is_none()), Ordering::Relaxed);
            self.perhaps_idle(backing, page);
        }
        set
    }

    /// The one step that changes a base; the backing's lock is held.
    fn exchange(entry: &Entry, old: Option<Stored>, new: u64) -> bool {
        let old = old.map_or(0, |old| old.0.get());
        // Release: publishes the store's entry; who gets one out by name had it published before.
        // Relaxed: changes nothing.
        entry
            .base
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes out a base, which the caller frees then; false when another stands there by now.
    pub fn take_base(&self, backing: BackingNo, page: PageNo, base: Stored) -> bool {
        let state = self.backings.get(backing.0).0.lock();
        let entry = state.entries.as_ref().and_then(|entries| entries.get(page));
        let took = entry.is_some_and(|entry| Self::exchange(entry, Some(base), 0));
        drop(state);
        if took {
            self.forget_bases(1);
        }
        took
    }

    /// Runs `step` on the stored version that the page's entry names, which nobody frees meanwhile;
    /// the backing's lock is held.
    pub fn with_version<R>(
        &self,
        backing: BackingNo,
        page: PageNo,
        step: impl FnOnce(Stored) -> R,
    ) -> Option<R> {
        let state = self.backings.get(backing.0).0.lock();
        let entry = state.entries.as_ref()?.get(page)?;
        Self::base_at(entry).map(step)
    }

    /// Takes out the stored versions of the pages from `first` on; `free` gets each.
    pub fn take_versions(&self, backing: BackingNo, first: PageNo, mut free: impl FnMut(Stored)) {
        let state = self.backings.get(backing.0).0.lock();
        let Some(entries) = state.entries.clone() else {
            return;
        };
        drop(state);
        for (n, chunk) in entries.made() {
            let pages = (n * CHUNK..).map(PageNo).zip(chunk.iter());
            for (page, entry) in pages.filter(|&(page, _)| page >= first) {
                if let Some(version) = Self::base_at(entry)
                    && self.take_base(backing, page, version)
                {
                    free(version);
                }
            }
        }
    }

    pub(super) fn forget_bases(&self, count: usize) {
        // Relaxed: a hint for the sweep.
        self.bases.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// One bounded step through the bases, from where the last one ended: those of the next few
    /// backings, one chunk of entries at most, and in most rounds only such chunks as may have idle
    /// ones. Takes out such as `idle` says nobody needs, and all of a backing that has one user;
    /// `free` gets each. True when the last backing was reached, so that the next step begins anew.
    pub fn sweep_bases(&self, idle: impl Fn(Stored) -> bool, mut free: impl FnMut(Stored)) -> bool {
        // Relaxed: a hint; a base that is not seen now is seen the next time.
        if self.bases.load(Ordering::Relaxed) == 0 {
            return true;
        }
        // Relaxed: policy only.
        let cursor = self.sweep.cursor.load(Ordering::Relaxed);
        if cursor == 0 {
            self.sweep.begin();
        }
        let (mut backing, mut chunk) = (((cursor >> 32) as u32).max(1), cursor as u32);
        let end = self.backings.end();
        for _ in 0..HOMES_STEP {
            if backing >= end {
                self.sweep.end();
                return true;
            }
            let next = self.sweep_chunk(BackingNo(backing), chunk, &idle, &mut free);
            (backing, chunk) = next.map_or((backing + 1, 0), |next| (backing, next));
            if next.is_some() {
                break;
            }
        }
        let cursor = u64::from(backing) << 32 | u64::from(chunk);
        // Relaxed: policy only.
        self.sweep.cursor.store(cursor, Ordering::Relaxed);
        false
    }

    /// Looks at the first chunk of entries that was made and has to be looked at, from `from` on;
    /// which one is next, or none of this backing.
    fn sweep_chunk(
        &self,
        backing: BackingNo,
        from: u32,
        idle: &impl Fn(Stored) -> bool,
        free: &mut impl FnMut(Stored),
    ) -> Option<u32> {
        let (entries, users): (Arc<Entries>, u32) = {
            let state = self.backings.peek(backing.0)?.0.lock();
            if state.versions == Versions::Pages {
                return None;
            }
            (state.entries.clone()?, state.users)
        };
        let all = self.sweep.is_full();
        let (n, chunk) = entries
            .made()
            .find(|(n, chunk)| *n >= from && (take_mark(chunk) || all))?;
        for (page, entry) in (n * CHUNK..).map(PageNo).zip(chunk.iter()) {
            let Some(base) = Self::base_at(entry) else {
                continue;
            };
            if (users == 1 || idle(base)) && self.take_base(backing, page, base) {
                free(base);
            }
        }
        Some(n + 1)
    }
}
