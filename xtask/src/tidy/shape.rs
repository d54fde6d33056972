//! The shape of a file: it opens with a paragraph, it is short, its functions
//! are short, and it is finished.

use super::Finding;
use super::scan::Source;

/// Lines of a file of the product.
const FILE_MAX: usize = 400;
/// Lines of a file of tests: tables of cases may be long.
const TEST_FILE_MAX: usize = 600;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_MAX: usize = 60;

/// A file begins with a `//!` header.
pub(super) fn header(source: &Source) -> Vec<Finding> {
    let first = source.lines.first().map_or("", |line| line.comment.as_str());
    if first.starts_with("//!") && first.len() > "//! ".len() {
        return Vec::new();
    }
    vec![Finding::new(
        &source.file,
        1,
        "header",
        "a file begins with a `//!` paragraph: what lives here, and why",
    )]
}

/// A file is at most [`FILE_MAX`] lines long, one of tests [`TEST_FILE_MAX`].
pub(super) fn file_length(source: &Source) -> Vec<Finding> {
    let limit = if source.is_test() { TEST_FILE_MAX } else { FILE_MAX };
    let length = source.lines.len();
    if length <= limit {
        return Vec::new();
    }
    vec![Finding::new(
        &source.file,
        limit + 1,
        "file-length",
        format!("{length} lines; at most {limit}"),
    )]
}

/// A function is at most [`FUNCTION_MAX`] lines long.
pub(super) fn function_length(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for function in functions(source) {
        if function.length > FUNCTION_MAX {
            let message = format!(
                "`{}` has {} lines; at most {FUNCTION_MAX}",
                function.name, function.length
            );
            findings.push(Finding::new(
                &source.file,
                function.line,
                "function-length",
                message,
            ));
        }
    }
    findings
}

struct Function {
    name: String,
    line: usize,
    length: usize,
}

/// The functions that have a body, nested ones too.
fn functions(source: &Source) -> Vec<Function> {
    let mut found = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        for (column, word) in line.words() {
            // The type `fn(u8)` has no name.
            let name = line.code[column + word.len()..].trim_start();
            let name: String = name
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if word == "fn" && !name.is_empty() {
                found.extend(body_end(source, index, column).map(|end| Function {
                    name,
                    line: index + 1,
                    length: end - index + 1,
                }));
            }
        }
    }
    found
}

/// The line of the brace that closes the function that begins here; `None` when it has no body.
fn body_end(source: &Source, line: usize, column: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (index, text) in source.lines.iter().enumerate().skip(line) {
        let from = if index == line { column } else { 0 };
        for c in text.code[from..].chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if braces == 0 && brackets == 0 => return None,
                // A brace in a signature (`[u8; { N }]`) stands inside brackets.
                '{' if brackets == 0 || braces > 0 => braces += 1,
                '}' if braces > 0 => {
                    braces -= 1;
                    if braces == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

/// No unfinished work, and no words that announce it.
pub(super) fn unfinished(source: &Source) -> Vec<Finding> {
    const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
    const MARKS: [&str; 3] = ["FIXME", "TODO", "XXX"];
    let mut findings = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        for (column, word) in line.words() {
            if MACROS.contains(&word) && line.code[column + word.len()..].starts_with('!') {
                let message = format!("`{word}!` is unfinished work");
                findings.push(Finding::new(&source.file, index + 1, "unfinished", message));
            }
        }
        for (_, word) in super::scan::words(&line.comment) {
            if MARKS.contains(&word) {
                let message = format!("`{word}`: do it, or open an issue");
                findings.push(Finding::new(&source.file, index + 1, "unfinished", message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    //! Goal: each rule finds its breach, and only that. Method: a bad and a good snippet each.
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/mm/src/a.rs", text)
    }

    #[test]
    fn a_file_needs_a_header() {
        assert!(header(&source("//! What lives here.\n")).is_empty());
        for bad in [
            "",
            "use a;\n//! Late.\n",
            "// Not a doc comment\n",
            "//!\n//! Late\n",
        ] {
            assert_eq!(header(&source(bad)).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn a_file_is_short() {
        let long = "//! x\n".repeat(401);
        assert_eq!(file_length(&source(&long))[0].line, 401);
        assert!(file_length(&Source::new("crates/mm/src/lru/tests.rs", &long)).is_empty());
        assert_eq!(
            file_length(&Source::new("crates/mm/tests/a.rs", &"x\n".repeat(601))).len(),
            1
        );
    }

    #[test]
    fn a_function_is_short() {
        let body = |lines: usize| {
            format!(
                "impl A {{\n  fn f(a: [u8; 2])\n  where A: B,\n  {{\n{}  }}\n}}\n",
                "x(\"}\");\n".repeat(lines)
            )
        };
        assert!(function_length(&source(&body(56))).is_empty());
        let found = function_length(&source(&body(57)));
        assert_eq!((found.len(), found[0].line), (1, 2));
        assert!(
            found[0].message.contains("`f` has 61 lines"),
            "{}",
            found[0].message
        );
    }

    #[test]
    fn a_function_without_a_body_has_no_length() {
        let text = format!(
            "trait A {{\n fn f(a: [u8; 2]);\n}}\ntype F = fn(u8);\nmod m {{\n{}}}\n",
            "const A: u8 = 1;\n".repeat(99)
        );
        assert!(function_length(&source(&text)).is_empty());
    }

    #[test]
    fn unfinished_work_is_found() {
        let bad = "fn f() { todo!() }\nfn g() { dbg!(1); unimplemented!() }\n// TODO: later\n/* FIXME */\n";
        let lines: Vec<usize> = unfinished(&source(bad))
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [1, 2, 2, 3, 4]);
        assert!(unfinished(&source("let todo = \"TODO\"; // todos\n")).is_empty());
    }
}
