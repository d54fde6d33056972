//! `memfold top`: what a memory holds and does, on a terminal; of a process that runs, or of a
//! record.
//!
//! ```text
//!  source/    where samples come from: a socket, a record        Source
//!  window     the sample that is looked at, and those before it  Source -> Window
//!  shares     cells and tenths that add up                       sizes -> shares
//!  rows       spaces as a tree: template, then its clones        Window -> Row
//!  app        what the user chose; keys change it                App
//!  screen/    all of it drawn                                    App, Window -> cells
//!  terminal   a terminal, or one screen as text
//! ```
//!
//! It knows records alone, not the manager: whatever it shows was measured by the process that is
//! looked at, and what a record does not say is shown as `?`.
#![forbid(unsafe_code)]

mod app;
mod rows;
mod screen;
mod shares;
mod source;
mod terminal;
mod window;

pub use source::SourceError;
pub use terminal::{Options, Size, TopError, What, once, watch};
