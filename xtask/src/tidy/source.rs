//! A Rust file, line by line: code on one side, comments on the other.
//!
//! A line is taken apart by itself: what begins with `//` is its comment, and strings in its code
//! are blank; columns are kept. The lines of a string that has several count as code, which is to
//! be known when the rules' findings are read. What a macro makes is not seen.

/// A Rust file, scanned.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the workspace.
    pub(crate) file: String,
    /// Its lines, from the first.
    pub(crate) lines: Vec<Line>,
}

/// One line, taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// The text with comments and literals blanked.
    pub(crate) code: String,
    /// The text of its comments, with their slashes; empty when there is none.
    pub(crate) comment: String,
}

impl Line {
    fn new(text: &str) -> Self {
        let (mut quoted, mut before) = (false, ' ');
        let mut code = String::new();
        for (at, c) in text.char_indices() {
            match c {
                '/' if !quoted && text[at..].starts_with("//") => {
                    let comment = text[at..].to_owned();
                    return Line { code, comment };
                }
                '"' if before != '\\' && before != '\'' => {
                    quoted = !quoted;
                    code.push(c);
                }
                _ if quoted => code.extend(std::iter::repeat_n(' ', c.len_utf8())),
                _ => code.push(c),
            }
            before = if before == '\\' { ' ' } else { c };
        }
        Line {
            code,
            comment: String::new(),
        }
    }
}

impl Source {
    /// Scans a file.
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let lines = text.lines().map(Line::new).collect();
        let file = file.to_owned();
        Source { file, lines }
    }

    /// All of the code.
    pub(super) fn code(&self) -> String {
        self.lines.iter().flat_map(|line| [&line.code, "\n"]).collect()
    }

    /// Whether the file holds tests only.
    pub(crate) fn is_test(&self) -> bool {
        let ends = ["/tests.rs", "/races.rs", "_tests.rs"];
        let folders = ["/tests/", "/races/", "/benches/"];
        ends.iter().any(|end| self.file.ends_with(end))
            || folders.iter().any(|folder| self.file.contains(folder))
    }

    /// Whether the file is one of these, or below one of these folders.
    pub(crate) fn is_in(&self, rooms: &[&str]) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with('/');
        rooms
            .iter()
            .any(|room| self.file.strip_prefix(room).is_some_and(inside))
    }

    /// What to say of each line that breaks a rule.
    pub(crate) fn find(
        &self,
        rule: &str,
        message: &str,
        is_bad: impl Fn(usize, &Line) -> bool,
    ) -> Vec<String> {
        let bad = self
            .lines
            .iter()
            .enumerate()
            .filter(|(index, line)| is_bad(*index, line));
        bad.map(|(index, _)| super::finding(&self.file, index + 1, rule, message))
            .collect()
    }
}

/// Whether the text has this word, or these words in a row, and no longer word that has it in it.
pub(super) fn has(text: &str, words: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let goes_on = |rest: &str| words.ends_with(is_word) && rest.starts_with(is_word);
    let mut found = text.match_indices(words);
    found.any(|(at, _)| !text[..at].ends_with(is_word) && !goes_on(&text[at + words.len()..]))
}

#[cfg(test)]
mod tests {
    //! Goal: no rule is misled by a comment or a literal. Method: the awkward cases.
    use super::*;

    #[test]
    fn strings_are_blank_comments_apart_and_columns_kept() {
        for (text, code, comment) in [
            ("a(\"é // b\\\"\"); // unsafe", "a(\"         \"); ", "// unsafe"),
            ("b('\"', r\"c\"); f::<'a>(1)", "b('\"', r\" \"); f::<'a>(1)", ""),
            ("c(\"\\\\\"); //", "c(\"  \"); ", "//"),
        ] {
            let line = Line::new(text);
            assert_eq!((line.code.as_str(), line.comment.as_str()), (code, comment));
        }
        assert!(has("x::unsafe{", "unsafe") && !has("unsafe_code", "unsafe"));
    }
}
