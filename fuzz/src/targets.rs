//! The targets. Each module is a file that a test of the workspace includes, too, and names only
//! what both have.

pub mod bodies;
pub mod ops;
pub mod prepare;
pub mod size;
