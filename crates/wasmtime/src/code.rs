//! Tells the host where compiled code lies, so that a fault there that cannot
//! be resolved (a page lost, the budget spent) becomes a Wasm trap.
//!
//! Immutable; shared by a template and every memory made of it. Faults outside
//! such ranges, in Wasmtime's own copying or in host functions, cannot trap:
//! the host lets them go on and marks the space, and `instance.rs` reports it.

use crate::error::Error;
use memfold::linux;
use wasmtime::Module;

/// While it lives, the module's code is known to be guest code.
#[derive(Debug)]
pub(crate) struct GuestCode {
    // Dropped in this order: the range is forgotten before it is unmapped.
    _registration: linux::GuestCode,
    _module: Module,
}

impl GuestCode {
    pub(crate) fn new(module: &Module) -> Result<Self, Error> {
        let image = module.image_range();
        Ok(GuestCode {
            _registration: linux::register_guest_code(image.start.addr()..image.end.addr())?,
            _module: module.clone(),
        })
    }
}
