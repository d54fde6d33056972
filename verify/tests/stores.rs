//! Goal: the simulator's store keeps the rules of the seam that a manager on it relies on, costs
//! above all. Method: the conformance suite of `memfold-stores`, but for pages that are named as
//! similar across domains, which this store refuses with a panic, since no manager should do that.
#![cfg(not(shuttle))]

use memfold_sim::SimStore;
use memfold_stores::conformance;

#[test]
fn the_simulators_store_conforms() {
    conformance::every_sort_comes_back(&SimStore::new(1));
    conformance::bases_outlive_their_names(&SimStore::new(1));
    conformance::refusal_changes_nothing(&SimStore::new(1));
    conformance::costs_add_up(&SimStore::new(1));
    conformance::bases_are_known_to_be_needed(&SimStore::new(1));
}
