//! Prints what a command has to say: the report, once, at its end; and what went wrong.

use crate::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes to stdout. That whoever reads it has gone is no error: then nobody is there to be told.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => {
            Err(Error::system("to write the report", source))
        }
        _ => Ok(()),
    }
}

/// Writes a line to stderr. If that is full or gone, the exit status says what it can.
pub(crate) fn complain(what: &dyn Display) {
    let _ = writeln!(io::stderr(), "memfold: {what}");
}

/// Writes text to stderr, beside what somebody else prints on stdout. If that is full or gone, so
/// is the text.
pub(crate) fn remark(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
