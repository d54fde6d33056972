//! What was done so far, counted at the commit points. Atomic numbers for people; no decision hangs
//! on them.

use memfold_sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters, as numbers; since the manager was built.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Frames that proved useful, by the replacement policy, now (Linux: the active list).
            pub active_frames: u32,
            /// Frames on probation, by the replacement policy, now (Linux: the inactive list).
            pub inactive_frames: u32,
            /// Of the active frames, those of pages that go to files.
            pub active_file_frames: u32,
            /// Of the inactive frames, those of pages that go to files.
            pub inactive_file_frames: u32,
            /// Frames that cannot go as they are, now: locked, pinned, or such as would hold as
            /// much in the store.
            pub unevictable_frames: u32,
            /// Pages of spaces that are locked, now.
            pub locked_pages: u64,
            /// Standby pages that stand in for a page, now. They are charged from the start, with
            /// the tables.
            pub standby_pages: u32,
        }

        impl Stats {
            /// What was counted since the manager was built, each with its name; not what there is
            /// now.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub $name: Counter,)*
        }

        impl Counters {
            pub fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* active_frames: 0, inactive_frames: 0, active_file_frames: 0, inactive_file_frames: 0, unevictable_frames: 0, locked_pages: 0, standby_pages: 0 }
            }
        }
    };
}

counters! {
    /// Faults, of all kinds.
    faults,
    /// Reads of pages never written: shown as zeros, without memory.
    zero_shown,
    /// Pages written for the first time.
    new_pages,
    /// Reads that showed a shared frame (each shows up to 16 neighbours).
    shown,
    /// Writes to a shared frame that copied it.
    copied,
    /// Writes to a frame that nobody shared any more: taken over in place.
    reused,
    /// Writes to a page that was only protected to see whether it is used.
    unprotected,
    /// Reads that could not show a shared frame at its place and copied it.
    copied_on_read,
    /// Pages that came back from the store for one space.
    swapped_in,
    /// Pages that came back from the store for all their sharers.
    swapped_in_shared,
    /// Pages that came back with a neighbour, before anybody asked for them.
    read_ahead,
    /// Of pages that were asked for, those that came back so soon that they should not have gone.
    refaults,
    /// Private pages that moved to the pool because somebody shares them.
    promoted,
    /// Accesses for which a standby page stood in, because the budget had no room.
    stood_in,
    /// Pages of files that were read.
    file_reads,
    /// Of pages of files that were asked for, those that came back so soon that they should not
    /// have gone.
    file_refaults,
    /// Pages of files that were written out.
    file_writes,
    /// Writes of pages of files that failed.
    file_write_errors,
    /// Pages of files that nobody refers to any more and that could not be written out.
    file_pages_lost,
    /// Pages of files that left memory because room was needed.
    file_evictions,
    /// Stores to pages of files that others see.
    file_stores,
    /// Stores before which the thread wrote pages of files out, since too many waited.
    file_stores_held,
    /// Frames that went to the store.
    evictions,
    /// Evictions that needed no new bytes in the store.
    evictions_clean,
    /// Evictions given up: the frame was in use, pinned, or the store had no room.
    evictions_failed,
    /// Of these, frames whose bytes do not compress.
    incompressible,
    /// Pages on loan that did not compress and were given up, since another space needed the room.
    called_in,
    /// Forks whose window the machine serves by itself, as far as it can.
    native_forks,
    /// Of these, such as the manager took over again.
    native_ended,
    /// Pages that the machine had copied until then.
    native_copied,
    /// Stored versions that nothing was a difference to any more, freed because room was needed.
    bases_freed,
    /// Pages that their spaces gave up, to go when room is needed.
    given_up,
    /// Of these, pages that went, without being stored.
    given_up_dropped,
    /// Of these, pages that were stored to before.
    given_up_kept,
    /// Looks at frames, to see whether they can go.
    scanned,
    /// Frames that proved useful once, found idle, and put on probation.
    deactivated,
    /// Frames that were to go, and were found to be used.
    activated,
    /// Pages that the merge scanner looked at.
    merge_scanned,
    /// Pages that became one with an equal page of a sibling.
    merged,
    /// Pages of zeros that hold no memory any more.
    merge_zeroed,
    /// Pages that were not merged: somebody was using the frame at that moment,
    merge_busy,
    /// they are pinned,
    merge_pinned,
    /// somebody held a reference: the counts could not be frozen,
    merge_held,
    /// they were new or keep changing and rest for some rounds,
    merge_resting,
    /// another version stands at their place,
    merge_differ,
    /// they changed before they could be compared,
    merge_changed,
    /// or the machine or the budget refused.
    merge_refused,
    /// Shared pages of which a space was given its own copy again.
    unmerged,
    /// Page tables of idle windows that were given back.
    tables_freed,
    /// Spaces that were made, copies among them, and such as nobody was told of.
    spaces_made,
    /// Forks.
    forks,
    /// Spaces that were made again what a relative is.
    resets,
    /// Bytes of tables that were not in use and were freed.
    arrays_freed,
    /// Times a thread reclaimed because of a fault or an operation of its own.
    direct_reclaims,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        // Relaxed: a number for people.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn one(&self) {
        self.add(1);
    }

    /// Counts one more, and says the how many-th it is.
    pub fn next(&self) -> u64 {
        // Relaxed: a number on its own.
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn get(&self) -> u64 {
        // Relaxed: a number for people.
        self.0.load(Ordering::Relaxed)
    }
}
