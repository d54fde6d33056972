//! Sizes as people write them: `64MiB`, `1.5 GiB`, `512KiB`, plain bytes; and numbers as they read
//! them. Pure functions.
//!
//! `KiB`, `MiB`, `GiB`, `TiB`, `PiB`, `EiB` and the short `K`, `M`, `G`, `T`, `P`, `E` are powers
//! of 1024; `KB`, `MB`, `GB`, `TB`, `PB`, `EB` are powers of 1000. Upper and lower case are the
//! same. What the command line of `memfold` reads and shows.
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "round"))]
pub mod round;

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// It does not begin with a number.
    #[error("a size is a number with an optional unit, such as 64MiB or 1.5GiB")]
    NoNumber,
    /// The unit is none that is known.
    #[error("{0:?} is not a unit: use B, KiB, MiB, GiB, TiB (or KB, MB, GB, TB for powers of 1000)")]
    Unit(String),
    /// The number is beyond what 64 bits can count.
    #[error("that is more bytes than 64 bits can count")]
    TooLarge,
}

/// Reads a size; parts of a byte are dropped.
///
/// ```
/// assert_eq!(memfold_size::parse("64MiB"), Ok(64 << 20));
/// ```
///
/// # Errors
/// [`SizeError`] says what is wrong.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit_bytes(unit.trim())?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.contains('.') {
        return Err(SizeError::NoNumber);
    }
    let whole: u64 = whole.parse().map_err(|_| SizeError::TooLarge)?;
    let bytes = u128::from(whole) * u128::from(unit) + u128::from(fraction(part, unit));
    u64::try_from(bytes).map_err(|_| SizeError::TooLarge)
}

/// A number as people read it: a comma before each three digits.
///
/// ```
/// assert_eq!(memfold_size::grouped(1234567), "1,234,567");
/// ```
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size, or `none`: no limit.
///
/// # Errors
/// [`SizeError`] says what is wrong.
pub fn parse_limit(text: &str) -> Result<Limit, SizeError> {
    if text.trim().eq_ignore_ascii_case("none") {
        return Ok(Limit::None);
    }
    parse(text).map(Limit::Bytes)
}

/// A number of bytes that may be held, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As many as it takes.
    None,
    /// No more than these.
    Bytes(u64),
}

impl Limit {
    /// The number, if there is one.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        match self {
            Limit::None => None,
            Limit::Bytes(bytes) => Some(bytes),
        }
    }
}

/// `0.part` of a unit. Digits beyond the 18th cannot change a byte.
fn fraction(part: &str, unit: u64) -> u64 {
    let digits = &part[..part.len().min(18)];
    let (mut value, mut scale) = (0u128, 1u128);
    for digit in digits.bytes() {
        value = value * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(value * u128::from(unit) / scale).unwrap_or(unit)
}

fn unit_bytes(unit: &str) -> Result<u64, SizeError> {
    Ok(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "p" | "pib" => 1 << 50,
        "e" | "eib" => 1 << 60,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "pb" => 1_000_000_000_000_000,
        "eb" => 1_000_000_000_000_000_000,
        _ if unit.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            return Err(SizeError::Unit(unit.to_owned()));
        }
        _ => return Err(SizeError::NoNumber),
    })
}

/// Writes a size for people: three digits that count, in powers of 1024.
#[must_use]
pub fn show(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // Ends at the last unit. 1023.95 would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    //! Goal: every way to write a size means what it says, and nothing else is one. Method:
    //! examples and any text.
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_mean_what_they_say() {
        let good = [
            ("0", 0),
            ("4096", 4096),
            ("512KiB", 512 << 10),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("64M", 64 << 20),
            ("1GiB", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("2TiB", 2 << 40),
            ("64MB", 64_000_000),
            ("0.5k", 512),
            ("7b", 7),
            (" 1. K ", 1024),
            ("0.99999999999999999999K", 1023),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in good {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        use SizeError::{NoNumber, TooLarge};
        let unit = |text: &str| SizeError::Unit(text.to_owned());
        let bad = [
            ("", NoNumber),
            ("MiB", NoNumber),
            (".5MiB", NoNumber),
            ("1.2.3", NoNumber),
            ("-1", NoNumber),
            ("1 %", NoNumber),
            ("\u{661}", NoNumber),
            ("5XiB", unit("XiB")),
            ("5 MiB x", unit("MiB x")),
            ("18446744073709551616", TooLarge),
            ("99999999999TiB", TooLarge),
            ("16777216TiB", TooLarge),
        ];
        for (text, error) in bad {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn none_is_a_limit() {
        assert_eq!(parse_limit("None").map(Limit::bytes), Ok(None));
        assert_eq!(parse_limit("1K").map(Limit::bytes), Ok(Some(1024)));
        assert!(parse_limit("nothing").is_err());
    }

    #[test]
    fn sizes_are_shown_short() {
        let sizes = [0, 1023, 1024, 1536, (1 << 20) - 1, 1 << 30, u64::MAX];
        let shown = [
            "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB",
        ];
        assert_eq!(sizes.map(show), shown);
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_not(text in "\\PC{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn plain_bytes_are_themselves(bytes: u64) {
            prop_assert_eq!(parse(&bytes.to_string()), Ok(bytes));
            prop_assert_eq!(parse(&format!("{bytes} B")), Ok(bytes));
        }

        #[test]
        fn units_multiply(count in 0u64..1 << 22, unit in 0usize..4) {
            let (name, bytes) = [("KiB", 1u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)][unit];
            prop_assert_eq!(parse(&format!("{count}{name}")), Ok(count * bytes));
            prop_assert_eq!(parse(&format!("{count}.5{name}")), Ok(count * bytes + bytes / 2));
        }
    }
}
