//! Race models of the whole manager on the smallest machine there is.
//!
//! Goal: for each pair of operations that can meet at one page: no byte is lost, no translation
//! outlives its frame, no two calls of the host concern one page at once, and every invariant of
//! `harness` holds afterwards. Method: one or two spaces of two pages; two threads, each in front
//! once; loom interrupts them at every access that matters, within a bound. The host and the store
//! are the simulator's, `programs.rs` has the programs; the models stand in `writes.rs` (faults,
//! forks, drops), `evictions.rs` (what reclaim meets) and `merges.rs`. `rules` is the list of what
//! `memfold explain` tells, from here and from the models of single words.

#[cfg(test)]
mod evictions;
mod merges;
mod programs;
#[cfg(test)]
mod writes;

/// The rules that can be told, each with its defects.
#[cfg(feature = "explored")]
pub mod rules {
    use memfold_sync::model::Rule;

    /// The race that memfold was born from: one word, moved in one step, read in one.
    #[must_use]
    pub fn of_the_mapping_word() -> Vec<Rule> {
        use crate::frame::word::races::reuse::reuse_rule;
        use crate::frame::word::races::seed_rule;
        use crate::frame::word::races::walks::{file_rule, leaf_rule, walk_rule};
        vec![seed_rule(), file_rule(), leaf_rule(), walk_rule(), reuse_rule()]
    }

    /// What it means to hold a frame.
    #[must_use]
    pub fn of_the_counts() -> Vec<Rule> {
        use crate::frame::count::races::{freeze_rule, get_rule, pin_rule};
        vec![
            freeze_rule(),
            get_rule(),
            crate::reclaim::replacer::races::putback_rule(),
            pin_rule(),
        ]
    }

    /// The same discipline for other words that are read without a lock, or under the wrong one.
    #[must_use]
    pub fn of_other_words() -> Vec<Rule> {
        let [alone, path] = crate::table::races::alone_rules();
        vec![
            alone,
            path,
            crate::swap::races::count_rule(),
            crate::budget::races::limit_rule(),
        ]
    }

    /// The whole manager, on a machine of two pages.
    #[must_use]
    pub fn of_the_manager() -> Vec<Rule> {
        super::merges::eviction_rules()
    }
}
