//! Texts as sizes: none panics, and what is shown is read as what it was.

use memfold_cli::size::{Limit, parse, parse_limit, show};

/// One text.
pub fn run(data: &[u8]) {
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
