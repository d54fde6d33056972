//! `memfold top`: what a process or a record holds and does, on the terminal.
//!
//! All of it is in `memfold-top`, which links no engine.

use crate::args::TopOptions;
use crate::error::{Error, Exit};
use crate::output;
use memfold_top::{Options, What};

/// Shows it until the user quits; or prints one screen.
pub(crate) fn top(options: &TopOptions) -> Result<Exit, Error> {
    let what = match (&options.socket, &options.replay) {
        (Some(socket), _) => What::Socket(socket.clone()),
        (None, Some(record)) => What::Record(record.clone()),
        (None, None) => What::Own,
    };
    let no_colour = options.no_color;
    let look = Options { what, no_colour };
    match options.once {
        Some(size) => output::print(&memfold_top::once(&look, size)?)?,
        None => memfold_top::watch(&look)?,
    }
    Ok(Exit::Fine)
}
