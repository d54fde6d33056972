//! What a program is given: its arguments, variables, folders, input and mapped files
//! ([`Surroundings`]), and what stands in for imports that nobody provides ([`Stub`]). Plain values
//! of the command line; `run/environment.rs` makes stores of them.

use crate::maps::{self, FileMap};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
pub(crate) struct Surroundings {
    /// Give the program a folder: HOST::GUEST, or one path for both. Each clone opens it for itself
    #[arg(long = "dir", value_name = "HOST::GUEST", value_parser = folder)]
    pub(crate) folders: Vec<Folder>,
    /// Give the program a variable of the environment; it has no others
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// What the program reads as its standard input; each clone reads it from its beginning
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<PathBuf>,
    /// Map a file into the memory of each clone, from OFFSET on, which must lie behind the memory
    /// that the module begins with: FILE@OFFSET[:ro|:private|:shared], ro when it is left out. The
    /// memory grows by it. Its pages are read when they are touched, and held once for all clones;
    /// stores trap (ro), stay in the clone (private), or are everybody's and the file's (shared)
    #[arg(long = "map", value_name = "FILE@OFFSET", value_parser = maps::parse)]
    pub(crate) maps: Vec<FileMap>,
    /// What stands in for functions that the module imports and nobody provides
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) stub_imports: Option<Stub>,
    /// What follows `--`: the program's arguments, or with --invoke the function's
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
}

/// How a function that nobody provides behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stub {
    /// A call of it traps
    Trap,
    /// A call of it does nothing, and its results are zero or null
    Zero,
}

/// A folder of this machine, and what the program calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
}

fn folder(text: &str) -> Result<Folder, String> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err("a folder of this machine and what the program calls it: HOST::GUEST".to_owned());
    }
    Ok(Folder {
        host: PathBuf::from(host),
        guest: guest.to_owned(),
    })
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a name and its value: NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: folders and variables are read as people write them. Method: each form, and what is
    //! none.
    use super::*;

    #[test]
    fn folders_and_variables() {
        let both = folder("/tmp").unwrap();
        assert_eq!((both.host.to_str(), both.guest.as_str()), (Some("/tmp"), "/tmp"));
        let two = folder("a:b::/data").unwrap();
        assert_eq!((two.host.to_str(), two.guest.as_str()), (Some("a:b"), "/data"));
        for none in ["", "::", "a::", "::b"] {
            assert!(folder(none).is_err(), "{none}");
        }
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(variable("A="), Ok(("A".into(), String::new())));
        for none in ["", "A", "=b"] {
            assert!(variable(none).is_err(), "{none}");
        }
    }
}
