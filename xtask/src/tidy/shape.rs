//! The shape of a file: it opens with a paragraph, it is short, its comments are narrow, and it is
//! finished. Long functions and `todo!()` are clippy's to find (`too_many_lines`, `todo`).

use super::Finding;
use super::scan::Source;

/// Lines of a file of the product.
const FILE_MAX: usize = 400;
/// Lines of a file of tests: tables of cases may be long.
const TEST_FILE_MAX: usize = 600;
/// Columns of a line that is a comment.
const COMMENT_MAX: usize = 100;

/// A file begins with a `//!` header.
pub(super) fn header(source: &Source) -> Vec<Finding> {
    let first = source.lines.first().map_or("", |line| line.comment.as_str());
    if first.starts_with("//!") && first.len() > "//! ".len() {
        return Vec::new();
    }
    let message = "a file begins with a `//!` paragraph: what lives here, and why";
    vec![Finding::new(&source.file, 1, "header", message)]
}

/// A file is at most [`FILE_MAX`] lines long, one of tests [`TEST_FILE_MAX`].
pub(super) fn file_length(source: &Source) -> Vec<Finding> {
    let limit = if source.is_test() { TEST_FILE_MAX } else { FILE_MAX };
    let length = source.lines.len();
    if length <= limit {
        return Vec::new();
    }
    let message = format!("{length} lines; at most {limit}");
    vec![Finding::new(&source.file, limit + 1, "file-length", message)]
}

/// A line that is a comment has at most [`COMMENT_MAX`] columns; a table's row, or a word that
/// cannot be broken, may be longer.
pub(super) fn comment_width(source: &Source) -> Vec<Finding> {
    let breaks = |text: &str| {
        let text = text.trim_start_matches(['/', '!', ' ']);
        !text.starts_with('|') && text.contains(' ')
    };
    let wide = |line: &super::scan::Line| {
        let columns = line.code.len() + line.comment.chars().count();
        line.is_comment() && columns > COMMENT_MAX && breaks(&line.comment)
    };
    let lines = (1..).zip(&source.lines).filter(|(_, line)| wide(line));
    let message = format!("a comment has at most {COMMENT_MAX} columns");
    lines
        .map(|(number, _)| Finding::new(&source.file, number, "comment-width", message.clone()))
        .collect()
}

/// No words that announce unfinished work.
pub(super) fn unfinished(source: &Source) -> Vec<Finding> {
    const MARKS: [&str; 3] = ["FIXME", "TODO", "XXX"];
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(&source.lines) {
        for (_, word) in super::scan::words(&line.comment).filter(|(_, word)| MARKS.contains(word)) {
            let message = format!("`{word}`: do it, or open an issue");
            findings.push(Finding::new(&source.file, number, "unfinished", message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    //! Goal: each rule finds its breach, and only that. Method: a bad and a good snippet each.
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("verify/src/a.rs", text)
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
        let tests = Source::new("crates/mm/tests/a.rs", &"x\n".repeat(601));
        assert_eq!(file_length(&tests).len(), 1);
    }

    #[test]
    fn a_comment_is_narrow() {
        let line =
            |mark: &str, columns: usize| format!("    {mark} a {}\n", "b".repeat(columns - mark.len() - 7));
        assert!(comment_width(&source(&line("//", 100))).is_empty());
        assert_eq!(comment_width(&source(&line("///", 101))).len(), 1);
        let table = format!(
            "//! | a | {} |\n// {}\nf(); // {}\n",
            "b ".repeat(60),
            "c".repeat(120),
            "d ".repeat(60)
        );
        assert!(comment_width(&source(&table)).is_empty());
    }

    #[test]
    fn unfinished_work_is_found() {
        let bad = "// TODO: later\n/* FIXME */\n";
        let lines: Vec<usize> = unfinished(&source(bad)).iter().map(|found| found.line).collect();
        assert_eq!(lines, [1, 2]);
        assert!(unfinished(&source("let todo = \"TODO\"; // todos\n")).is_empty());
    }
}
