//! Where samples come from: [`Source`].

mod live;
mod replay;

pub(crate) use live::Live;
pub(crate) use replay::Replay;

use crate::window::Window;
use memfold_record::{OpenError, PlaceError, RecordError, Schema};
use std::io;
use std::path::PathBuf;

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A record cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nobody listens at the socket.
    #[error("cannot connect to {}: {source}; is the process still there?", .path.display())]
    Connect {
        /// Which socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What comes from the socket is no record.
    #[error("{}: {source}", .path.display())]
    Record {
        /// Which socket.
        path: PathBuf,
        /// What is wrong.
        source: RecordError,
    },
    /// The process said nothing.
    #[error("{} says nothing; has its process been stopped?", .path.display())]
    Silent {
        /// Which socket.
        path: PathBuf,
    },
    /// No process of this user can be looked at.
    #[error(
        "no process of yours serves a socket in {}: start one, as `memfold run` does, name a socket, or look at a record with --replay FILE",
        .directory.display()
    )]
    Nobody {
        /// Where they would be.
        directory: PathBuf,
    },
    /// Several could be meant.
    #[error("several processes of yours can be looked at; name one of them:{}", lines(.sockets))]
    Several {
        /// Their sockets, each with the program's name.
        sockets: Vec<String>,
    },
    /// There is no directory for sockets.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

fn lines(sockets: &[String]) -> String {
    sockets
        .iter()
        .map(|socket| format!("\n  memfold top {socket}"))
        .collect()
}

/// Samples, the newest last.
pub(crate) trait Source {
    /// What their numbers are.
    fn schema(&self) -> &Schema;

    /// What they are of, for people.
    fn title(&self) -> String;

    /// Takes what is new; whether there was any.
    fn poll(&mut self) -> bool;

    /// How many there are, at least one.
    fn len(&self) -> usize;

    /// When a sample was taken, in microseconds since the record began.
    fn at_us(&self, sample: usize) -> u64;

    /// The sample, with so many before it as there is room for on a screen.
    fn window(&self, sample: usize) -> Window;

    /// What is to be known about the end, if that was reached.
    fn ending(&self) -> Option<String>;

    /// Whether more may come.
    fn is_live(&self) -> bool;
}

/// What a record is of, by its labels.
pub(crate) fn title(schema: &Schema) -> String {
    let program = schema.label("program").unwrap_or("a process");
    let title = match schema.label("pid") {
        Some(pid) => format!("{program} (process {pid})"),
        None => program.to_owned(),
    };
    // For terminals, to which a record must not say what to do.
    title.replace(char::is_control, " ")
}
