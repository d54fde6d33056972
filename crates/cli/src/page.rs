//! `memfold report`: a record as a page for a browser.
//!
//! The page is made by `memfold-page`; here it is written.

use crate::args::ReportOptions;
use crate::error::{Error, Exit};
use memfold::record::Recording;
use std::path::Path;

/// Makes the page.
pub(crate) fn page(options: &ReportOptions) -> Result<Exit, Error> {
    write(&options.record, &options.output)?;
    Ok(Exit::Fine)
}

/// Writes the page of a record to a file, whole or not at all.
pub(crate) fn write(record: &Path, to: &Path) -> Result<(), Error> {
    let recording = Recording::open(record)?;
    let unreadable = |source| memfold::record::OpenError::Record {
        path: record.to_owned(),
        source,
    };
    let page = memfold_page::render(&recording).map_err(unreadable)?;
    let cannot = |source| Error::Page {
        path: to.to_owned(),
        source,
    };
    let mut beside = to.to_owned().into_os_string();
    beside.push(".part");
    std::fs::write(&beside, page).map_err(cannot)?;
    let placed = std::fs::rename(&beside, to);
    if placed.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    placed.map_err(cannot)
}
