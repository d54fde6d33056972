//! Splits Rust text into code and comments, line by line.
//!
//! In the code of a line every comment, and the inside of every string and
//! character, is blank; columns are kept. Tokens are then words
//! ([`Line::words`]) and single characters, which is all that the rules need.

use std::iter::Peekable;
use std::str::Chars;

/// A Rust file, scanned.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the workspace.
    pub(crate) file: String,
    /// Its lines, from the first.
    pub(crate) lines: Vec<Line>,
}

/// One line, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The text with comments and the insides of literals blanked.
    pub(crate) code: String,
    /// The text of its comments, with their slashes; empty when there is none.
    pub(crate) comment: String,
}

impl Line {
    /// The identifiers and keywords of the code, each with its column.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        words(&self.code)
    }

    /// Whether the line has a comment and no code.
    pub(crate) fn is_comment(&self) -> bool {
        self.code.trim().is_empty() && !self.comment.is_empty()
    }
}

/// The identifiers and keywords of a piece of code, each with its column.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let begin = rest + code[rest..].find(word)?;
        let end = code[begin..]
            .find(|c| !word(c))
            .map_or(code.len(), |length| begin + length);
        rest = end;
        Some((begin, &code[begin..end]))
    })
}

impl Source {
    /// Scans a file.
    pub(crate) fn new(file: &str, text: &str) -> Self {
        Source {
            file: file.to_owned(),
            lines: Scanner::new(text).scan(),
        }
    }

    /// Whether the file holds tests only: its size is then held to a wider limit.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.file.rsplit('/').next().unwrap_or_default();
        let folders = ["/tests/", "/races/", "/benches/"];
        ["tests.rs", "races.rs"].contains(&name)
            || name.ends_with("_tests.rs")
            || folders.iter().any(|folder| self.file.contains(folder))
    }

    /// Whether the file belongs to the package in the folder `room`.
    pub(crate) fn is_in(&self, room: &str) -> bool {
        self.file
            .strip_prefix(room)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The paths in the code that begin with one of these words, groups of imports spelled out,
    /// each with the line where it begins.
    pub(crate) fn paths(&self, roots: &[&str]) -> Vec<(Vec<String>, usize)> {
        let code = self.code();
        let mut found = Vec::new();
        for (at, word) in words(&code).filter(|(_, word)| roots.contains(word)) {
            let line = code[..at].matches('\n').count() + 1;
            let paths = tree(&[word.to_owned()], &code[at + word.len()..]);
            found.extend(paths.into_iter().map(|path| (path, line)));
        }
        found
    }

    /// The code of the whole file, line ends kept.
    pub(crate) fn code(&self) -> String {
        self.lines
            .iter()
            .flat_map(|line| [line.code.as_str(), "\n"])
            .collect()
    }
}

/// All paths of a use-tree that begins with `::`, below a base.
fn tree(base: &[String], text: &str) -> Vec<Vec<String>> {
    let Some(text) = text.strip_prefix("::") else {
        return Vec::new();
    };
    if let Some(inside) = text.strip_prefix('{') {
        let branches = branches(inside).into_iter();
        return branches
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

/// Where the scanner stands.
#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    /// How deep.
    BlockComment(u32),
    Text,
    /// How many `#` end it.
    RawText(usize),
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    state: State,
    lines: Vec<Line>,
    line: Line,
    /// The word before the current character: `r`, `br` or `cr` open raw strings.
    word: String,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Scanner {
            rest: text.chars().peekable(),
            state: State::Code,
            lines: Vec::new(),
            line: Line::default(),
            word: String::new(),
        }
    }

    fn scan(mut self) -> Vec<Line> {
        while let Some(c) = self.rest.next() {
            if c == '\n' {
                self.end_line();
                continue;
            }
            match self.state {
                State::Code => self.code(c),
                State::LineComment => self.line.comment.push(c),
                State::BlockComment(depth) => self.block_comment(c, depth),
                State::Text => self.text(c),
                State::RawText(hashes) => self.raw_text(c, hashes),
            }
        }
        if !self.line.code.is_empty() || !self.line.comment.is_empty() {
            self.end_line();
        }
        self.lines
    }

    fn end_line(&mut self) {
        if let State::LineComment = self.state {
            self.state = State::Code;
        }
        self.word.clear();
        self.lines.push(std::mem::take(&mut self.line));
    }

    fn code(&mut self, c: char) {
        match (c, self.rest.peek().copied()) {
            ('/', Some('/')) => self.open_comment(State::LineComment, "//"),
            ('/', Some('*')) => self.open_comment(State::BlockComment(1), "/*"),
            ('"', _) => {
                self.line.code.push('"');
                self.state = if self.opens_raw() {
                    State::RawText(0)
                } else {
                    State::Text
                };
            }
            ('#', Some('#' | '"')) if self.opens_raw() => self.open_raw(),
            ('\'', _) => self.character(),
            _ => self.line.code.push(c),
        }
        if c.is_alphanumeric() || c == '_' {
            self.word.push(c)
        } else {
            self.word.clear()
        };
    }

    fn opens_raw(&self) -> bool {
        ["r", "br", "cr"].contains(&self.word.as_str())
    }

    fn open_comment(&mut self, state: State, mark: &str) {
        self.rest.next();
        self.state = state;
        self.line.comment.push_str(mark);
    }

    fn open_raw(&mut self) {
        let mut hashes = 1;
        while self.rest.next_if_eq(&'#').is_some() {
            hashes += 1;
        }
        self.line.code.extend(std::iter::repeat_n(' ', hashes));
        if self.rest.next_if_eq(&'"').is_some() {
            self.line.code.push('"');
            self.state = State::RawText(hashes);
        }
    }

    /// A character literal is blanked; a lifetime or a label is code.
    fn character(&mut self) {
        self.line.code.push('\'');
        let mut ahead = self.rest.clone();
        let (first, second) = (ahead.next(), ahead.next());
        let length = match (first, second) {
            (Some('\\'), _) => 2 + ahead.take_while(|&c| c != '\'' && c != '\n').count(),
            (Some(_), Some('\'')) => 1,
            _ => return,
        };
        self.rest.nth(length - 1);
        self.rest.next_if_eq(&'\'');
        self.line.code.extend(std::iter::repeat_n(' ', length));
        self.line.code.push('\'');
    }

    fn block_comment(&mut self, c: char, depth: u32) {
        self.line.comment.push(c);
        let closes = c == '*' && self.rest.peek() == Some(&'/');
        let opens = c == '/' && self.rest.peek() == Some(&'*');
        if closes || opens {
            self.line.comment.extend(self.rest.next());
        }
        self.state = match depth {
            1 if closes => State::Code,
            _ if closes => State::BlockComment(depth - 1),
            _ if opens => State::BlockComment(depth + 1),
            _ => self.state,
        };
    }

    fn text(&mut self, c: char) {
        match c {
            '\\' if self.rest.peek() != Some(&'\n') => {
                self.rest.next();
                self.line.code.push_str("  ");
            }
            '"' => {
                self.line.code.push('"');
                self.state = State::Code;
            }
            _ => self.line.code.push(' '),
        }
    }

    fn raw_text(&mut self, c: char, hashes: usize) {
        let ends = c == '"' && self.rest.clone().take(hashes).filter(|&c| c == '#').count() == hashes;
        if !ends {
            self.line.code.push(' ');
            return;
        }
        self.line.code.push('"');
        for _ in 0..hashes {
            self.rest.next();
            self.line.code.push(' ');
        }
        self.state = State::Code;
    }
}

#[cfg(test)]
mod tests {
    //! Goal: no rule is misled by a comment or a literal. Method: scan the awkward cases of the
    //! lexer.
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs", text).code()
    }

    #[test]
    fn comments_are_taken_out_of_the_code() {
        let source = Source::new("a.rs", "let a = 1; // unsafe\n/* x /* y */ fn\n z */ b");
        assert_eq!(source.lines[0].code, "let a = 1; ");
        assert_eq!(source.lines[0].comment, "// unsafe");
        assert!(source.lines[1].is_comment() && source.lines[1].comment.contains("fn"));
        assert_eq!(source.lines[2].code, " b");
    }

    #[test]
    fn the_inside_of_a_literal_is_blank() {
        assert_eq!(code(r#"f("a // b\"", c);"#), "f(\"        \", c);\n");
        assert_eq!(
            code("r#\"a \" b\"# + r\"\\\" + b'{' + '\\'' + '\"'"),
            "r \"     \"  + r\" \" + b' ' + '  ' + ' '\n"
        );
        assert_eq!(code("\"one\n{ two\" }"), "\"   \n     \" }\n");
    }

    #[test]
    fn lifetimes_are_code() {
        assert_eq!(
            code("fn f<'a>(x: &'a str) { 'l: loop {} }"),
            "fn f<'a>(x: &'a str) { 'l: loop {} }\n"
        );
        assert_eq!(code("'\\u{7b}' x"), "'      ' x\n");
    }

    #[test]
    fn words_have_their_columns() {
        assert_eq!(
            words("a::b_2 (c)").collect::<Vec<_>>(),
            [(0, "a"), (3, "b_2"), (8, "c")]
        );
    }
}
