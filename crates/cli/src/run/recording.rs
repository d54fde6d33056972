//! What a run holds and does, for who looks on: to a file, as a page, and at a socket for
//! `memfold top`.

use super::program::Program;
use crate::args::RunOptions;
use crate::error::Error;
use crate::page;
use memfold::{Memory, Recorder, RecorderBuilder, RecordingError};
use std::path::PathBuf;

/// Begins to record, if there is anything to record: stock instances are not memfold's. That there
/// can be no socket is no reason not to run, when nobody has asked for one.
pub(super) fn begin(program: &Program, options: &RunOptions) -> Result<Option<Recorder>, Error> {
    let Some(memory) = program.memory() else {
        return Ok(None);
    };
    let recorder = to_file(memory, program, options);
    if !options.no_socket {
        match recorder.clone().own_socket().start() {
            Err(RecordingError::Place(_) | RecordingError::Socket { .. }) => (),
            started => return started.map(Some).map_err(Error::Record),
        }
    }
    match record_path(options) {
        Some(_) => recorder.start().map(Some).map_err(Error::Record),
        None => Ok(None),
    }
}

fn to_file(memory: &Memory, program: &Program, options: &RunOptions) -> RecorderBuilder {
    let clones = options.clones.to_string();
    let recorder = memory.recorder().label("program", program.name());
    let recorder = recorder.label("clones", &clones);
    match record_path(options) {
        Some(path) => recorder.file(path),
        None => recorder,
    }
}

/// Where the record is: a page that nobody wants a record of has one beside it, until it is made.
fn record_path(options: &RunOptions) -> Option<PathBuf> {
    let beside = |page: &PathBuf| {
        let mut path = page.clone().into_os_string();
        path.push(".record");
        PathBuf::from(path)
    };
    options
        .record
        .clone()
        .or_else(|| options.report.as_ref().map(beside))
}

/// The record has ended: makes the page, if one is wanted.
pub(super) fn write_page(options: &RunOptions) -> Result<(), Error> {
    let (Some(page), Some(record)) = (&options.report, record_path(options)) else {
        return Ok(());
    };
    let written = page::write(&record, page);
    if options.record.is_none() {
        let _ = std::fs::remove_file(record);
    }
    written
}
