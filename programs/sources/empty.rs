//! Empty on purpose: this package only pins sources.
