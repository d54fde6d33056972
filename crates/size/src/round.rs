//! Any bytes as a size: what fuzzing calls, and the test that replays its corpus.
//!
//! Only in tests and with the feature `round`. No text panics, and what is shown is read as what it
//! was.

use crate::{Limit, parse, parse_limit, show};

/// Reads the text, if the bytes are one, and reads again what is shown for it.
///
/// # Panics
/// When that is another size: by more than what rounding takes.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let size = parse(text);
    match parse_limit(text) {
        Ok(Limit::None) => assert!(size.is_err(), "{text:?} is a size and no limit"),
        limit => assert_eq!(limit, size.clone().map(Limit::Bytes), "{text:?}"),
    }
    let Ok(bytes) = size else { return };
    assert_eq!(parse(&bytes.to_string()), Ok(bytes), "{text:?}");
    let shown = show(bytes);
    // What is shown has one digit behind the point of a number that is at least 1: it is off by a
    // twentieth at most.
    match parse(&shown) {
        Ok(read) => assert!(read.abs_diff(bytes) <= bytes / 20, "{bytes} is shown as {shown}"),
        // The last is rounded up to 2^64.
        Err(error) => assert!(
            bytes > u64::MAX - (1 << 60) / 16,
            "{bytes}, shown as {shown}: {error}"
        ),
    }
}

#[cfg(test)]
mod tests {
    /// Goal: sizes that fuzzing found stay found. Method: its corpus, without the fuzzer.
    #[test]
    fn the_corpus_is_read_and_shown() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/size");
        let files = std::fs::read_dir(folder).expect("the corpus is there");
        let mut texts = 0;
        for file in files {
            super::check(&std::fs::read(file.expect("a file").path()).expect("it can be read"));
            texts += 1;
        }
        assert!(texts >= 10, "a corpus of {texts} is none");
    }
}
