//! memfold's races, explored when they are asked for and told step by step.
//!
//! The rules are the manager's own race models, on the manager's own sources, which `memfold-mm-explored` compiles a second
//! time on loom's atomics: what the gate explores is what is told here. Each defect of a rule is put back and explored until
//! it breaks something; that execution is its timeline. Then the rule is explored as memfold has it, to the end of its bound.
//! Nothing is recorded beforehand.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`chapters`] | what is told, in which order, with what words around it |
//! | [`report`] | what came of it, as plain values |
//! | [`text`] | the same for people: timelines with a column for each thread |
//!
//! Explorations run on the calling thread, one at a time.
#![forbid(unsafe_code)]

pub mod chapters;
pub mod report;
pub mod text;

#[cfg(test)]
mod tests;
