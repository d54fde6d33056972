//! A Rust file, line by line: code on one side, comments on the other.
//!
//! rustc's own lexer takes it apart. In the code of a line every comment, and the inside of every
//! string and character, is blank; columns are kept. The rest is words ([`words`]) and single
//! characters, which is all that the rules need: what a macro makes is not seen.

use ra_ap_rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

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
    /// The text with comments and the insides of literals blanked, byte by byte.
    pub(crate) code: String,
    /// The text of its comments, with their slashes; empty when there is none.
    pub(crate) comment: String,
}

impl Line {
    /// Whether the line has a comment and no code.
    pub(crate) fn is_comment(&self) -> bool {
        self.code.trim().is_empty() && !self.comment.is_empty()
    }

    /// Whether the code has this identifier or keyword.
    pub(crate) fn has(&self, word: &str) -> bool {
        words(&self.code).any(|(_, found)| found == word)
    }
}

/// The identifiers and keywords of a piece of code, each with its column.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let begin = rest + code[rest..].find(word)?;
        rest = code[begin..]
            .find(|c| !word(c))
            .map_or(code.len(), |length| begin + length);
        Some((begin, &code[begin..rest]))
    })
}

impl Source {
    /// Scans a file.
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let mut lines = vec![Line::default()];
        let mut at = 0;
        for token in tokenize(text, FrontmatterAllowed::No) {
            let piece = &text[at..at + token.len as usize];
            at += piece.len();
            let is_comment = matches!(
                token.kind,
                TokenKind::LineComment { .. } | TokenKind::BlockComment { .. }
            );
            let is_blank = match token.kind {
                TokenKind::Literal { kind, .. } => {
                    !matches!(kind, LiteralKind::Int { .. } | LiteralKind::Float { .. })
                }
                _ => is_comment,
            };
            for (n, part) in piece.split('\n').enumerate() {
                if n > 0 {
                    lines.push(Line::default());
                }
                let line = lines.last_mut().expect("there is a line from the start");
                match is_blank {
                    true => line.code.extend(std::iter::repeat_n(' ', part.len())),
                    false => line.code.push_str(part),
                }
                if is_comment {
                    line.comment.push_str(part);
                }
            }
        }
        lines.pop_if(|line| line.code.is_empty());
        let file = file.to_owned();
        Source { file, lines }
    }

    /// Whether the file holds tests only: its size is then held to a wider limit.
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

    /// The paths in the code that begin with one of these words, groups of imports spelled out,
    /// each with the line where it begins.
    pub(crate) fn paths(&self, roots: &[&str]) -> Vec<(Vec<String>, usize)> {
        let code: String = self.lines.iter().flat_map(|line| [&line.code, "\n"]).collect();
        let mut found = Vec::new();
        for (at, word) in words(&code).filter(|(_, word)| roots.contains(word)) {
            let line = code[..at].matches('\n').count() + 1;
            let paths = tree(&[word.to_owned()], &code[at + word.len()..]);
            found.extend(paths.into_iter().map(|path| (path, line)));
        }
        found
    }
}

/// All paths of a use-tree that begins with `::`, below a base.
fn tree(base: &[String], text: &str) -> Vec<Vec<String>> {
    let Some(text) = text.strip_prefix("::") else {
        return Vec::new();
    };
    if let Some(inside) = text.strip_prefix('{') {
        let below = branches(inside).into_iter();
        return below
            .flat_map(|branch| tree(base, &format!("::{branch}")))
            .collect();
    }
    let (_, word) = words(text).next().filter(|&(at, _)| at == 0).unwrap_or_default();
    let path = [base, &[word.to_owned()]].concat();
    let below = tree(&path, &text[word.len()..]);
    if below.is_empty() { vec![path] } else { below }
}

/// What stands between the commas of a group, up to its end.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                found.push(group[begin..at].trim());
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    //! Goal: no rule is misled by a comment or a literal. Method: the awkward cases.
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_columns_are_kept() {
        let text =
            "let a = \"é // b\\\"\"; // unsafe\n/* x /* y */ fn\n z */ b('\"', r#\"c \" d\"#)\nf::<'a>(1)\n";
        let source = Source::new("a.rs", text);
        let words = |line: usize| {
            words(&source.lines[line].code)
                .map(|(_, word)| word)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (words(0), words(1), words(2)),
            (vec!["let", "a"], vec![], vec!["b"])
        );
        assert_eq!(words(3), ["f", "a", "1"]);
        assert_eq!(source.lines[0].comment, "// unsafe");
        assert!(source.lines[1].is_comment() && source.lines.len() == 4);
        let same = |(line, text): (&Line, &str)| line.code.len() == text.len();
        assert!(source.lines.iter().zip(text.lines()).all(same));
    }
}
