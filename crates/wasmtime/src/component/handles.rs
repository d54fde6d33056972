//! Whether a store has component handles: [`any`].
//!
//! Handles (resources owned or borrowed, and whatever else a component names by numbers) live in
//! tables of the store that nobody sees from outside. But Wasmtime counts them, over all tables of
//! a store, against a limit: where no more than one is allowed, one more can be made just when
//! there is none.

use wasmtime::Store;
use wasmtime::component::Resource;

/// A kind of resource that no component has.
struct Probe;

/// Whether there is a handle in the store, of any instance in it or of the host.
pub(super) fn any<T>(store: &mut Store<T>) -> bool {
    let limit = store.max_component_handles();
    store.set_max_component_handles(1);
    let probe = Resource::<Probe>::new_own(0).try_into_resource_any(&mut *store);
    store.set_max_component_handles(limit);
    match probe {
        Ok(probe) => {
            let taken_back = Resource::<Probe>::try_from_resource_any(probe, store);
            taken_back.expect("nobody else has it");
            false
        }
        Err(_) => true,
    }
}
