//! `memfold report`: a record as one page for a browser.
//!
//! The page is text and pictures that are drawn here (SVG): no script, no font, nothing from a
//! network, so that it can be kept beside a run and read years later, printed, and read aloud. Each
//! picture has a table with its numbers. What the record does not say is shown as `?`.
//!
//! ```text
//!  history   what of the record is shown, from its beginning to its end
//!  saved     what the spaces would take if each had its own pages
//!  chart     lines and areas over time        pages   what the pages of a space were
//!  tables    numbers                          page    all of it, in order
//! ```
#![forbid(unsafe_code)]

mod chart;
mod history;
mod page;
mod pages;
mod saved;
mod tables;
mod text;

pub use page::render;

#[cfg(test)]
mod tests;
