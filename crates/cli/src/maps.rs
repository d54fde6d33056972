//! Files that a program finds in its memory: [`FileMap`], as `--map` says it. Plain values of the
//! command line; `run/mapping.rs` maps them.

use memfold::PAGE_SIZE;
use std::path::PathBuf;

/// A file, and where its first byte is to stand in the program's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileMap {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) stores: Stores,
}

/// What becomes of stores to the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    /// They trap.
    Refused,
    /// The clone that stores has them, and its forks.
    Private,
    /// All clones have them, and the file at the end of the run.
    Shared,
}

/// Reads `FILE@OFFSET[:ro|:private|:shared]`. The file's name may have any of the signs: the last
/// ones count.
pub(crate) fn parse(text: &str) -> Result<FileMap, String> {
    let form =
        || "a file and its place in the memory: FILE@OFFSET, FILE@OFFSET:private or :shared".to_owned();
    let (path, place) = text.rsplit_once('@').ok_or_else(form)?;
    let (offset, stores) = match place.split_once(':') {
        None => (place, Stores::Refused),
        Some((offset, "ro")) => (offset, Stores::Refused),
        Some((offset, "private")) => (offset, Stores::Private),
        Some((offset, "shared")) => (offset, Stores::Shared),
        Some((_, other)) => return Err(format!("{other:?} is none of ro, private and shared")),
    };
    if path.is_empty() {
        return Err(form());
    }
    let offset = match offset.strip_prefix("0x") {
        Some(digits) => {
            u64::from_str_radix(digits, 16).map_err(|_| format!("{offset} is no hexadecimal number"))
        }
        None => memfold_size::parse(offset).map_err(|error| error.to_string()),
    }?;
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(format!(
            "the offset {offset} is no multiple of a page ({PAGE_SIZE} bytes)"
        ));
    }
    Ok(FileMap {
        path: PathBuf::from(path),
        offset,
        stores,
    })
}

#[cfg(test)]
mod tests {
    //! Goal: files and places are read as people write them. Method: each form, and what is none.
    use super::*;

    #[test]
    fn files_and_places() {
        let map = |path: &str, offset, stores| {
            let path = PathBuf::from(path);
            Ok(FileMap { path, offset, stores })
        };
        assert_eq!(parse("a@64MiB"), map("a", 64 << 20, Stores::Refused));
        assert_eq!(parse("a@0x10000:ro"), map("a", 65536, Stores::Refused));
        assert_eq!(parse("/a@b:c@8KiB:private"), map("/a@b:c", 8192, Stores::Private));
        assert_eq!(parse("a@4096:shared"), map("a", 4096, Stores::Shared));
        for none in [
            "a",
            "@4096",
            "a@",
            "a@1",
            "a@4096:rw",
            "a@0xz",
            "a@4096:",
            "a@x:ro",
        ] {
            assert!(parse(none).is_err(), "{none}");
        }
    }
}
