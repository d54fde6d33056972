//! Prints what a command has to say. Called once, at its end.

use crate::error::Error;
use std::io::{self, ErrorKind, Write};

/// Writes to stdout. That whoever reads it has gone is no error: then nobody is there to be told.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(Error::System {
            what: "to write the report",
            source,
        }),
        _ => Ok(()),
    }
}
