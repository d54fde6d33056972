//! memfold's races, explored when they are asked for and told step by step.
//!
//! The rules are the manager's own race models on the manager's own sources, built with loom's
//! atomics (`--cfg loom`), as the gate builds them: what it explores is what is told here. Each
//! defect of a rule is put back and explored until it breaks something; that execution is its
//! timeline. Then the rule is explored as memfold has it, to the end of its bound. Nothing is
//! recorded beforehand. Without `--cfg loom` this library is [`options`] alone.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `chapters` | what is told, in which order, with what words around it |
//! | `report` | what came of it, as plain values |
//! | `text` | the same for people: timelines with a column for each thread |
//! | [`options`] | what can be asked for |
//! | `command` | the command line, progress, and the exit status |
//!
//! Explorations run on the calling thread, one at a time.
#![forbid(unsafe_code)]

#[cfg(all(feature = "explored", not(loom)))]
compile_error!("the feature `explored` needs RUSTFLAGS=\"--cfg loom\"");

#[cfg(all(loom, feature = "explored"))]
pub mod chapters;
#[cfg(all(loom, feature = "explored"))]
pub mod command;
pub mod options;
#[cfg(all(loom, feature = "explored"))]
pub mod report;
#[cfg(all(loom, feature = "explored"))]
pub mod text;

#[cfg(all(test, loom, feature = "explored"))]
mod tests;
