//! Text in HTML, and numbers for people. Pure.

use memfold_size::show;

/// The text, so that nothing in it is taken for HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

/// Bytes for people, with the exact number beside them for programs.
pub(crate) fn bytes(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("<data value=\"{bytes}\">{}</data>", show(bytes)),
        None => "?".to_owned(),
    }
}

/// A number with a comma before each three digits, and the bare number beside it for programs.
pub(crate) fn grouped(number: Option<u64>) -> String {
    match number {
        Some(number) => format!(
            "<data value=\"{number}\">{}</data>",
            memfold_size::grouped(number)
        ),
        None => "?".to_owned(),
    }
}

/// A duration for people.
pub(crate) fn time(ns: Option<u64>) -> String {
    match ns {
        None => "-".to_owned(),
        Some(ns @ 0..1_000) => format!("{ns} ns"),
        Some(ns @ 1_000..1_000_000) => format!("{}.{} \u{b5}s", ns / 1_000, ns / 100 % 10),
        Some(ns @ 1_000_000..1_000_000_000) => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
        Some(ns) => format!("{}.{} s", ns / 1_000_000_000, ns / 100_000_000 % 10),
    }
}

/// A moment of the record.
pub(crate) fn moment(at_us: u64) -> String {
    format!("{}.{} s", at_us / 1_000_000, at_us / 100_000 % 10)
}
