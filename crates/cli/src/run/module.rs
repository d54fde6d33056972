//! Reads the module's file, which may be anything: a device without an end, a folder, text. Pure but for the reading.

use crate::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What a module of the binary format begins with.
const MAGIC: &[u8] = b"\0asm";

/// No engine takes a larger one.
const MOST_BYTES: u64 = 1 << 30;

/// Enough to see what a file is.
const BEGINNING: u64 = 4096;

/// The whole file. Of one that is no module only the beginning is read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let refused = |source| Error::read(path, source);
    let bytes = match File::open(path) {
        Ok(file) => whole(file),
        Err(error) => return Err(refused(error)),
    };
    match bytes.map_err(refused)? {
        Found::Module(bytes) => Ok(bytes),
        Found::Text => Err(Error::Text(path.to_owned())),
        Found::Other => Err(Error::NoModule(path.to_owned())),
        Found::TooLarge => Err(Error::TooLarge {
            path: path.to_owned(),
            most: MOST_BYTES,
        }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It begins like one.
    Module(Vec<u8>),
    /// WebAssembly's text format.
    Text,
    Other,
    TooLarge,
}

fn whole(mut file: impl Read) -> io::Result<Found> {
    let mut bytes = Vec::new();
    (&mut file).take(BEGINNING).read_to_end(&mut bytes)?;
    if !bytes.starts_with(MAGIC) {
        return Ok(if is_text(&bytes) {
            Found::Text
        } else {
            Found::Other
        });
    }
    // One more than is allowed, to see whether there is more.
    let rest = MOST_BYTES + 1 - bytes.len() as u64;
    file.take(rest).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Ok(Found::TooLarge);
    }
    Ok(Found::Module(bytes))
}

/// Whether its first word is a parenthesis or a comment of WebAssembly's text format.
fn is_text(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = bytes.trim_ascii_start();
    text.starts_with(b"(") || text.starts_with(b";;")
}

#[cfg(test)]
mod tests {
    //! Goal: any file is told apart from a module, and reading ends. Method: bytes and endless streams.
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
            assert_eq!(whole(text.as_bytes()).unwrap(), Found::Text, "{text}");
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
        assert_eq!(whole(io::repeat(b'(')).unwrap(), Found::Text);
        let endless = MAGIC.chain(io::repeat(0));
        assert_eq!(whole(endless).unwrap(), Found::TooLarge);
    }
}
