//! Reads the module's file, which may be anything: a device without an end, a folder, text, which
//! is made a module of. Pure but for the reading.

use crate::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What a module of the binary format begins with.
const MAGIC: &[u8] = b"\0asm";

/// No engine takes a larger one.
const MOST_BYTES: u64 = 1 << 30;
/// The same of text, of which a tree is made in memory first.
const MOST_TEXT: u64 = 256 << 20;

/// Enough to see what a file is.
const BEGINNING: u64 = 4096;

/// The whole file. Of one that is no module only the beginning is read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let refused = |source| Error::read(path, source);
    let bytes = match File::open(path) {
        Ok(file) => whole(file),
        Err(error) => return Err(refused(error)),
    };
    match bytes.map_err(refused)? {
        Found::Module(bytes) => Ok(bytes),
        Found::Text(bytes) => assembled(path, &bytes),
        Found::Other => Err(Error::NoModule(path.to_owned())),
        Found::TooLarge { most } => Err(Error::TooLarge {
            path: path.to_owned(),
            most,
        }),
    }
}

/// The module that a text means.
fn assembled(path: &Path, text: &[u8]) -> Result<Vec<u8>, Error> {
    match wat::parse_bytes(text) {
        Ok(module) => Ok(module.into_owned()),
        Err(error) => {
            let said = error.to_string();
            let (message, line, column) = place(&said);
            Err(Error::Text {
                path: path.to_owned(),
                message: message.to_owned(),
                line,
                column,
            })
        }
    }
}

/// What is wrong, and where: the library says both, and shows the line, which may be long.
fn place(said: &str) -> (&str, usize, usize) {
    let message = said.lines().next().unwrap_or("it cannot be read");
    let arrow = said
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("--> "));
    let mut numbers = arrow.unwrap_or_default().rsplit(':').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(column)), Some(Ok(line))) => (message, line, column),
        _ => (message, 1, 1),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It begins like one.
    Module(Vec<u8>),
    /// It begins like WebAssembly's text format.
    Text(Vec<u8>),
    Other,
    TooLarge {
        most: u64,
    },
}

fn whole(mut file: impl Read) -> io::Result<Found> {
    let mut bytes = Vec::new();
    (&mut file).take(BEGINNING).read_to_end(&mut bytes)?;
    let (most, found): (u64, fn(Vec<u8>) -> Found) = if bytes.starts_with(MAGIC) {
        (MOST_BYTES, Found::Module)
    } else if is_text(&bytes) {
        (MOST_TEXT, Found::Text)
    } else {
        return Ok(Found::Other);
    };
    // One more than is allowed, to see whether there is more.
    let rest = most + 1 - bytes.len() as u64;
    file.take(rest).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Ok(Found::TooLarge { most });
    }
    Ok(found(bytes))
}

/// Whether its first word is a parenthesis or a comment of WebAssembly's text format.
fn is_text(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = bytes.trim_ascii_start();
    text.starts_with(b"(") || text.starts_with(b";;")
}

#[cfg(test)]
mod tests {
    //! Goal: any file is told apart from a module, and reading ends. Method: bytes and endless
    //! streams.
    use super::*;

    #[test]
    fn what_a_file_is() {
        for text in [
            "(module)",
            " \n\t(module",
            ";; a comment",
            "(; another ;)(module)",
            "\u{feff}(module)",
        ] {
            let found = Found::Text(text.as_bytes().to_vec());
            assert_eq!(whole(text.as_bytes()).unwrap(), found, "{text}");
        }
        for other in ["", "\0as", "\0ASM", "asm", "#!/bin/sh", "{}", "\u{7f}ELF"] {
            assert_eq!(whole(other.as_bytes()).unwrap(), Found::Other, "{other}");
        }
        let module = [b"\0asm".as_slice(), &[7; 10_000]].concat();
        assert_eq!(whole(&module[..]).unwrap(), Found::Module(module.clone()));
    }

    #[test]
    fn reading_ends() {
        assert_eq!(whole(io::repeat(0)).unwrap(), Found::Other);
        let most = MOST_TEXT;
        assert_eq!(whole(io::repeat(b'(')).unwrap(), Found::TooLarge { most });
        let endless = MAGIC.chain(io::repeat(0));
        let most = MOST_BYTES;
        assert_eq!(whole(endless).unwrap(), Found::TooLarge { most });
    }
}
