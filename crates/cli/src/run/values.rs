//! Values that people write for `--invoke`, and what is printed of results. Pure.

use super::function;
use std::fmt::Write;
use wasmparser::{FuncType, ValType};
use wasmtime::component::types::Type;
use wasmtime::{Val, component};

/// Why words are no values for a function.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValuesError {
    #[error("takes {wanted} value{}, and {found} follow `--`", if *wanted == 1 { "" } else { "s" })]
    Count { wanted: usize, found: usize },
    #[error("takes a value of the type {ty} where it is given {word:?}")]
    Type { word: String, ty: String },
}

/// The values for a function of this type.
pub(super) fn parse(ty: &FuncType, words: &[String]) -> Result<Vec<Val>, ValuesError> {
    let read = |ty: &ValType, word: &str| value(*ty, word);
    read_all(ty.params(), words, read, ValType::to_string)
}

/// The values for a component's function with these parameters.
pub(super) fn parse_all(params: &[Type], words: &[String]) -> Result<Vec<component::Val>, ValuesError> {
    let name = |ty: &Type| function::type_name(ty).to_owned();
    read_all(params, words, function::value, name)
}

/// A value for each type.
fn read_all<T, V>(
    types: &[T],
    words: &[String],
    read: impl Fn(&T, &str) -> Option<V>,
    name: impl Fn(&T) -> String,
) -> Result<Vec<V>, ValuesError> {
    if words.len() != types.len() {
        return Err(ValuesError::Count {
            wanted: types.len(),
            found: words.len(),
        });
    }
    let value = |(ty, word): (&T, &String)| {
        read(ty, word).ok_or_else(|| ValuesError::Type {
            word: word.clone(),
            ty: name(ty),
        })
    };
    types.iter().zip(words).map(value).collect()
}

/// Whether there is a way to write and print it.
pub(super) fn is_number(ty: &ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
}

/// Integers may be signed, unsigned or, behind `0x`, hexadecimal.
fn value(ty: ValType, word: &str) -> Option<Val> {
    Some(match ty {
        ValType::I32 => {
            let value = integer(word)?;
            let unsigned = u32::try_from(value).ok();
            Val::I32(i32::try_from(value).ok().or(unsigned.map(u32::cast_signed))?)
        }
        ValType::I64 => {
            let value = integer(word)?;
            let unsigned = u64::try_from(value).ok();
            Val::I64(i64::try_from(value).ok().or(unsigned.map(u64::cast_signed))?)
        }
        ValType::F32 => Val::F32(word.parse::<f32>().ok()?.to_bits()),
        ValType::F64 => Val::F64(word.parse::<f64>().ok()?.to_bits()),
        _ => return None,
    })
}

fn integer(word: &str) -> Option<i128> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(i128::from),
        None => word.parse().ok(),
    }
}

/// A line for each.
pub(super) fn lines(results: &[Val]) -> String {
    let mut lines = String::new();
    for result in results {
        let written = match *result {
            Val::I32(value) => writeln!(lines, "{value}"),
            Val::I64(value) => writeln!(lines, "{value}"),
            Val::F32(bits) => writeln!(lines, "{}", f32::from_bits(bits)),
            Val::F64(bits) => writeln!(lines, "{}", f64::from_bits(bits)),
            _ => Ok(()),
        };
        written.expect("text takes any more text");
    }
    lines
}

/// What a digest takes of a result.
pub(super) fn bits(result: &Val) -> i64 {
    match *result {
        Val::I32(value) => i64::from(value),
        Val::I64(value) => value,
        Val::F32(bits) => i64::from(bits),
        Val::F64(bits) => bits.cast_signed(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a value is read as its type says, or refused. Method: the ends of each range.
    use super::*;

    fn written(ty: ValType, word: &str) -> Option<String> {
        value(ty, word).map(|value| lines(&[value]))
    }

    #[test]
    fn numbers_are_read() {
        for (ty, word, found) in [
            (ValType::I32, "-2147483648", Some("-2147483648\n")),
            (ValType::I32, "4294967295", Some("-1\n")),
            (ValType::I32, "0xffffffff", Some("-1\n")),
            (ValType::I32, "4294967296", None),
            (ValType::I32, "-2147483649", None),
            (ValType::I32, "1.5", None),
            (ValType::I32, "", None),
            (ValType::I64, "18446744073709551615", Some("-1\n")),
            (ValType::I64, "18446744073709551616", None),
            (ValType::F32, "1.5", Some("1.5\n")),
            (ValType::F64, "-inf", Some("-inf\n")),
            (ValType::F64, "one", None),
            (ValType::V128, "1", None),
        ] {
            assert_eq!(written(ty, word).as_deref(), found, "{word}");
        }
    }
}
