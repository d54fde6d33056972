//! Tells the host where compiled code lies, so that a fault there that cannot
//! be resolved (a page lost, the budget spent) becomes a Wasm trap.
//!
//! Immutable; shared by a template and every memory made of it. Faults outside
//! such ranges, in Wasmtime's own copying or in host functions, cannot trap:
//! the host lets them go on and marks the space, and `instance.rs` reports it.

use crate::error::Error;
use memfold::linux;
use std::any::Any;
use std::ops::Range;
use wasmtime::Module;

/// While it lives, the code of a module or a component is known to be guest code.
#[derive(Debug)]
pub(crate) struct GuestCode {
    // Dropped in this order: the range is forgotten before it is unmapped.
    _registration: linux::GuestCode,
    _compiled: Box<dyn Any + Send + Sync>,
}

impl GuestCode {
    pub(crate) fn new(module: &Module) -> Result<Self, Error> {
        GuestCode::of(module.image_range(), module.clone())
    }

    /// The code of a component, all of its modules' among it.
    #[cfg(feature = "component")]
    pub(crate) fn of_component(component: &wasmtime::component::Component) -> Result<Self, Error> {
        GuestCode::of(component.image_range(), component.clone())
    }

    /// This range, which stays mapped as long as `compiled` lives.
    fn of(image: Range<*const u8>, compiled: impl Any + Send + Sync) -> Result<Self, Error> {
        Ok(GuestCode {
            _registration: linux::register_guest_code(image.start.addr()..image.end.addr())?,
            _compiled: Box::new(compiled),
        })
    }
}
