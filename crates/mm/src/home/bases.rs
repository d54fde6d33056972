//! Bases of a home's places: recorded, replaced, taken out again.
//!
//! A place's base changes by compare-exchange under the home's lock, so that each stored page is
//! freed once: by who replaced it, by the sweep that took it out, or by the last user of the home.
//! Who only reads a base takes no part in that: the name may be gone a moment later, which a store
//! tolerates. A base is a cache: the sweep takes out those that nobody needs (Linux: a shrinker).

use super::places::{Place, Places};
use super::{CHUNK, HomeNo, Homes};
use crate::addr::PageNo;
use crate::host::Stored;
use memfold_sync::Arc;
use memfold_sync::atomic::Ordering;
use std::num::NonZeroU64;

/// Homes that one step of the sweep looks at, at most.
const HOMES_STEP: u32 = 16;

impl Homes {
    pub(super) fn base_at(place: &Place) -> Option<Stored> {
        // Acquire: the store's entry was made before it was recorded here.
        NonZeroU64::new(place.base.load(Ordering::Acquire)).map(Stored)
    }

    /// The base of the page's place.
    pub fn base(&self, home: HomeNo, page: PageNo) -> Option<Stored> {
        let places = self.homes.get(home.0).0.lock().places.clone()?;
        Self::base_at(places.get(page)?)
    }

    /// Records a base in place of `old`, which the caller frees then. False when another stands
    /// there, or there is no room for the record: the caller frees its own.
    pub fn set_base(
        &self,
        home: HomeNo,
        page: PageNo,
        old: Option<Stored>,
        base: Stored,
        charge: impl Fn(u64) -> bool,
    ) -> bool {
        let set = self.with_place(home, page, charge, |place| {
            Self::exchange(place, old, base.0.get())
        });
        let set = set == Some(true);
        if set && old.is_none() {
            // Relaxed: a hint for the sweep.
            self.bases.fetch_add(1, Ordering::Relaxed);
        }
        set
    }

    /// The one step that changes a base; the home's lock is held.
    fn exchange(place: &Place, old: Option<Stored>, new: u64) -> bool {
        let old = old.map_or(0, |old| old.0.get());
        // Release: publishes the store's entry; who gets one out by name had it published before.
        // Relaxed: changes nothing.
        place
            .base
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes out a base, which the caller frees then; false when another stands there by now.
    fn take_base(&self, home: HomeNo, page: PageNo, base: Stored) -> bool {
        let state = self.homes.get(home.0).0.lock();
        let place = state.places.as_ref().and_then(|places| places.get(page));
        let took = place.is_some_and(|place| Self::exchange(place, Some(base), 0));
        drop(state);
        if took {
            self.forget_bases(1);
        }
        took
    }

    pub(super) fn forget_bases(&self, count: usize) {
        // Relaxed: a hint for the sweep.
        self.bases.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// One bounded step through all bases, from where the last one ended: those of the next few
    /// homes, one chunk of places at most. Takes out such as `idle` says nobody needs, and all of a
    /// home that has one user; `free` gets each. True when the last home was reached, so that the
    /// next step begins anew.
    pub fn sweep_bases(&self, idle: impl Fn(Stored) -> bool, mut free: impl FnMut(Stored)) -> bool {
        // Relaxed: a hint; a base that is not seen now is seen the next time.
        if self.bases.load(Ordering::Relaxed) == 0 {
            return true;
        }
        // Relaxed: policy only; two sweeps may look at the same places.
        let cursor = self.cursor.load(Ordering::Relaxed);
        let (mut home, mut chunk) = (((cursor >> 32) as u32).max(1), cursor as u32);
        let end = self.homes.end();
        for _ in 0..HOMES_STEP {
            if home >= end {
                // Relaxed: policy only.
                self.cursor.store(0, Ordering::Relaxed);
                return true;
            }
            let next = self.sweep_chunk(HomeNo(home), chunk, &idle, &mut free);
            (home, chunk) = next.map_or((home + 1, 0), |next| (home, next));
            if next.is_some() {
                break;
            }
        }
        let cursor = u64::from(home) << 32 | u64::from(chunk);
        // Relaxed: policy only.
        self.cursor.store(cursor, Ordering::Relaxed);
        false
    }

    /// Looks at the first chunk of places that was made, from `from` on; which one is next, or none
    /// of this home.
    fn sweep_chunk(
        &self,
        home: HomeNo,
        from: u32,
        idle: &impl Fn(Stored) -> bool,
        free: &mut impl FnMut(Stored),
    ) -> Option<u32> {
        let (places, users): (Arc<Places>, u32) = {
            let state = self.homes.peek(home.0)?.0.lock();
            (state.places.clone()?, state.users)
        };
        let (n, chunk) = places.made().find(|&(n, _)| n >= from)?;
        for (page, place) in (n * CHUNK..).map(PageNo).zip(chunk.iter()) {
            let Some(base) = Self::base_at(place) else {
                continue;
            };
            if (users == 1 || idle(base)) && self.take_base(home, page, base) {
                free(base);
            }
        }
        Some(n + 1)
    }
}
