//! What ends the command early, and the exit status of every end. Plain values.

use crate::run::entry::{EntryError, Exports};
use crate::run::room::Narrow;
use memfold::SpaceError;
use memfold::linux::OpenError;
use memfold_wasmtime::{NotForkable, Reason};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How the command ended; documented in `memfold --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every clone answered every call; the machine will do; every race is as it should be.
    Fine,
    /// The program failed, in some clone or before there were any; or a race is not as it should
    /// be.
    Failed,
    /// Bad usage, a bad module, or a budget that cannot work.
    Input,
    /// The machine cannot: permission, kernel, limits.
    Machine,
    /// SIGINT.
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Input => 2,
            Exit::Machine => 3,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The module's file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is WebAssembly's text format, with a mistake.
    #[error("cannot run {}: {message} (line {line}, column {column})", path.display())]
    Text {
        path: PathBuf,
        message: String,
        line: usize,
        column: usize,
    },
    /// It begins like a module and is none.
    #[error("cannot run {}: it is not a valid module: {reason}", path.display())]
    Invalid {
        path: PathBuf,
        reason: wasmparser::BinaryReaderError,
    },
    /// What `--dir` names is none.
    #[error("cannot give the program the folder {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// What `--stdin` names has no end, perhaps.
    #[error("cannot give the program {} as its input: it has more than {most} bytes", path.display())]
    LongInput { path: PathBuf, most: u64 },
    /// What `--map` names cannot be mapped there.
    #[error("cannot map {}: {why}", path.display())]
    Map { path: PathBuf, why: String },
    /// What was stored to a shared file is not in it.
    #[error("what was stored to {} may be lost: {source}", path.display())]
    Sync { path: PathBuf, source: memfold::Error },
    /// Nothing can be recorded.
    #[error(transparent)]
    Record(memfold::RecordingError),
    /// The record ends before the run.
    #[error("the record is not whole: {0}")]
    RecordEnd(memfold::RecordingError),
    /// Metrics cannot be served.
    #[error("cannot serve metrics at {address}: {source}")]
    Metrics {
        address: std::net::SocketAddr,
        source: io::Error,
    },
    /// A record cannot be opened.
    #[error(transparent)]
    Open(#[from] memfold::record::OpenError),
    /// The page cannot be written.
    #[error("cannot write the page {}: {source}", path.display())]
    Page { path: PathBuf, source: io::Error },
    /// There is nothing to look at, or no terminal.
    #[error(transparent)]
    Top(#[from] memfold_top::TopError),
    /// It is something else.
    #[error("cannot run {}: it is not a valid module, which would begin with the bytes `\\0asm`", .0.display())]
    NoModule(PathBuf),
    /// Perhaps it has no end.
    #[error("cannot run {}: it has more than {most} bytes, and no module may", path.display())]
    TooLarge { path: PathBuf, most: u64 },
    /// The module's state is more than a fork copies.
    #[error("{}", Reasons(.0))]
    NotForkable(#[from] NotForkable),
    /// The engine does not take the module.
    #[error("not a module that can be run: {0:#}")]
    Module(wasmtime::Error),
    /// Imports that are not WASI's.
    #[error("the module imports what nobody provides (only WASI preview 1 is; --stub-imports tries it without functions):{}", Lines(.0))]
    Imports(Vec<String>),
    /// What a component imports is not there, or not as it wants it.
    #[error(
        "the component imports what nobody provides (only WASI 0.2 is; `--stub-imports trap` tries it without the rest): {0:#}"
    )]
    Link(wasmtime::Error),
    /// Imports of which there is no stub.
    #[error("the module imports what is no function, and what no instance can have for itself:{}", Lines(.0))]
    Unstubbed(Vec<String>),
    /// An export is not there, or not of a type that can be called.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// There is nothing to do.
    #[error("nothing to run: the program is no WASI command (it has no `_start`, no `wasi:cli/run`), so name what to call with --call, --invoke or --warm{}", Exports(.0))]
    NothingToRun(Vec<String>),
    /// The instance that is to be forked could not be made or warmed up.
    #[error("the program failed while it was warmed up: {0}")]
    Warm(String),
    /// As before, because the budget is too small.
    #[error("the budget is too small to warm up even one instance: {0}")]
    WarmBudget(String),
    /// As before, because the machine has no room.
    #[error("the machine has no room to warm up even one instance: {0}")]
    WarmMachine(String),
    /// A limit of the machine that is known before the first clone.
    #[error(
        "{clones} clone{} cannot be made on this machine: {}",
        if *clones == 1 { "" } else { "s" },
        Semicolons(narrow)
    )]
    NoRoom { clones: u32, narrow: Vec<Narrow> },
    /// A setting that is for modules.
    #[error("{0} is for core modules, and the program is a component")]
    ForModules(&'static str),
    /// Too few descriptors.
    #[error(
        "the process may not open enough files: RLIMIT_NOFILE is {}, and memfold needs about 10; \
         `ulimit -n 64` is plenty", OrUnlimited(*limit)
    )]
    Descriptors { limit: Option<u64> },
    /// `memfold peak` without one.
    #[error("there is no command to run")]
    NoCommand,
    /// It cannot be run.
    #[error("{} cannot be started: {source}", program.display())]
    Start { program: OsString, source: io::Error },
    /// The program that explores is nowhere.
    #[error(
        "`memfold explain` needs memfold-explain, which does not stand beside memfold; in a checkout of memfold: \
         RUSTFLAGS=\"--cfg loom\" cargo install --path crates/explain --features explored"
    )]
    NoExplain,
    /// It could not be built.
    #[error("memfold-explain could not be built ({0})")]
    ExplainBuild(String),
    /// The manager, or the glue to the engine.
    #[error(transparent)]
    Memory(memfold::Error),
    /// The glue to the engine.
    #[error(transparent)]
    Glue(memfold_wasmtime::Error),
    /// The system refused something that every Linux gives.
    #[error("the system refused {what}: {source}")]
    System { what: &'static str, source: io::Error },
}

/// `EMFILE`: the process has as many descriptors as it may.
const TOO_MANY_OPEN_FILES: i32 = 24;

impl Error {
    /// The module's file cannot be read.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        if source.raw_os_error() == Some(TOO_MANY_OPEN_FILES) {
            return Error::descriptors();
        }
        let path = path.to_owned();
        Error::Read { path, source }
    }

    /// The folder cannot be opened.
    pub(crate) fn folder(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Error::Folder { path, source }
    }

    /// The system refused to do `what`.
    pub(crate) fn system(what: &'static str, source: io::Error) -> Self {
        if source.raw_os_error() == Some(TOO_MANY_OPEN_FILES) {
            return Error::descriptors();
        }
        Error::System { what, source }
    }

    fn descriptors() -> Self {
        Error::Descriptors {
            limit: memfold::linux::probe().descriptor_limit,
        }
    }

    /// The exit status that says it to programs.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Error::Warm(_) | Error::Sync { .. } | Error::RecordEnd(_) => Exit::Failed,
            Error::System { .. }
            | Error::NoExplain
            | Error::ExplainBuild(_)
            | Error::NoRoom { .. }
            | Error::Descriptors { .. }
            | Error::WarmMachine(_) => Exit::Machine,
            Error::Memory(error) | Error::Glue(memfold_wasmtime::Error::Memory(error)) => memory_exit(error),
            _ => Exit::Input,
        }
    }
}

impl From<memfold::Error> for Error {
    fn from(error: memfold::Error) -> Self {
        use OpenError::{NoPagemapScan, NoUserfaultfd, Resources, UserModeRefused};
        match error {
            memfold::Error::Machine(
                NoPagemapScan {
                    errno: TOO_MANY_OPEN_FILES,
                }
                | NoUserfaultfd {
                    errno: TOO_MANY_OPEN_FILES,
                }
                | UserModeRefused {
                    errno: TOO_MANY_OPEN_FILES,
                }
                | Resources {
                    errno: TOO_MANY_OPEN_FILES,
                    ..
                },
            ) => Error::descriptors(),
            other => Error::Memory(other),
        }
    }
}

impl From<memfold_wasmtime::Error> for Error {
    fn from(error: memfold_wasmtime::Error) -> Self {
        match error {
            memfold_wasmtime::Error::Memory(error) => Error::from(error),
            other => Error::Glue(other),
        }
    }
}

/// A refusal of the machine, or a budget that cannot work.
fn memory_exit(error: &memfold::Error) -> Exit {
    match error {
        memfold::Error::Machine(_) | memfold::Error::Space(SpaceError::Host(_)) => Exit::Machine,
        _ => Exit::Input,
    }
}

/// All reasons, one on each line, and what can be done.
struct Reasons<'a>(&'a NotForkable);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the module cannot be forked:")?;
        for reason in &self.0.reasons {
            write!(f, "\n  - {reason}")?;
        }
        if !self.0.reasons.iter().any(invalid) {
            f.write_str("\n(--stock runs it on plain Wasmtime, one warm-up for each instance)")?;
        }
        Ok(())
    }
}

fn invalid(reason: &Reason) -> bool {
    matches!(reason, Reason::Invalid { .. })
}

/// Clauses of one sentence.
struct Semicolons<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Semicolons<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, clause) in self.0.iter().enumerate() {
            let before = if number == 0 { "" } else { "; " };
            write!(f, "{before}{clause}")?;
        }
        Ok(())
    }
}

struct OrUnlimited(Option<u64>);

impl fmt::Display for OrUnlimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("unlimited"),
        }
    }
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  - {line}"))
    }
}
