//! `unsafe` stands in two rooms (and where tests and benchmarks use memory by pointer), and every use says why it is sound.
//!
//! A block, an `impl` or an `extern` block needs `SAFETY:` in a comment on its
//! line or above it; between comment and keyword may stand attributes and the
//! first lines of the same statement. A function or a trait states its terms
//! under `# Safety` (or `SAFETY:`) in the comment above it.

use super::Finding;
use super::scan::Source;

/// Where `unsafe` may stand; in the Wasmtime client, in one file. The last two use spaces as a program does, by pointer.
const ROOMS: [&str; 5] = [
    "crates/linux",
    "crates/sync",
    ONE_FILE_ROOM,
    "crates/memfold/tests",
    "benches/benches",
];
const ONE_FILE_ROOM: &str = "crates/wasmtime";
/// How many lines of code may stand between a note and the keyword.
const CODE_BETWEEN_MAX: usize = 3;

/// The rule for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = forbidden(source);
    let allowed = ROOMS.iter().any(|room| source.is_in(room));
    for (index, kind) in uses(source) {
        if !allowed {
            let message =
                "`unsafe` stands only in the Linux host, the facade, and one file of the Wasmtime client";
            findings.push(Finding::new(&source.file, index + 1, "unsafe-room", message));
        } else if !noted(source, index, kind) {
            let message = format!("needs a {} note that says why it is sound", kind.note());
            findings.push(Finding::new(&source.file, index + 1, "unsafe-note", message));
        }
    }
    findings
}

/// Of the Wasmtime client, one file at most has `unsafe`.
pub(super) fn one_file(sources: &[Source]) -> Vec<Finding> {
    let in_room = sources.iter().filter(|source| source.is_in(ONE_FILE_ROOM));
    let users = in_room.filter_map(|source| Some((source, uses(source).first()?.0)));
    let message = "the client has `unsafe` in another file already; keep it in one";
    users
        .skip(1)
        .map(|(source, line)| Finding::new(&source.file, line + 1, "unsafe-room", message))
        .collect()
}

/// The root of a package outside the rooms forbids `unsafe` to the compiler, too.
fn forbidden(source: &Source) -> Vec<Finding> {
    let is_root = ["src/lib.rs", "src/main.rs"]
        .iter()
        .any(|root| source.file.ends_with(root));
    let room = ROOMS.iter().any(|room| source.is_in(room));
    if !is_root
        || room
        || source
            .lines
            .iter()
            .any(|line| line.code.contains("#![forbid(unsafe_code)]"))
    {
        return Vec::new();
    }
    vec![Finding::new(
        &source.file,
        1,
        "unsafe-room",
        "this package says `#![forbid(unsafe_code)]`",
    )]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A block, an `impl`, an `extern` block, an attribute: somebody answers for it here.
    Claim,
    /// A function or a trait: somebody else will have to.
    Terms,
}

impl Kind {
    fn note(self) -> &'static str {
        match self {
            Kind::Claim => "`// SAFETY:`",
            Kind::Terms => "`# Safety`",
        }
    }
}

/// Every use, by line; function types are none.
fn uses(source: &Source) -> Vec<(usize, Kind)> {
    let mut found = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        for (column, word) in line.words() {
            if word != "unsafe" {
                continue;
            }
            let next = source.lines.get(index + 1).map_or("", |line| line.code.as_str());
            let rest = format!("{} {next}", &line.code[column + word.len()..]);
            found.extend(kind(&rest).map(|kind| (index, kind)));
        }
    }
    found
}

/// What follows the keyword decides.
fn kind(rest: &str) -> Option<Kind> {
    let mut words = rest
        .split(|c: char| c.is_whitespace() || c == '"')
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let word = match first {
        "extern" => words
            .find(|word| *word != "C" && *word != "system")
            .unwrap_or_default(),
        _ => first,
    };
    match word {
        "fn" => Some(Kind::Terms),
        "trait" | "auto" => Some(Kind::Terms),
        _ if word.starts_with("fn(") => None,
        _ => Some(Kind::Claim),
    }
}

/// Whether the note is there.
fn noted(source: &Source, index: usize, kind: Kind) -> bool {
    let says = |line: usize| {
        let comment = &source.lines[line].comment;
        comment.contains("SAFETY:") || (kind == Kind::Terms && comment.contains("# Safety"))
    };
    if says(index) {
        return true;
    }
    let mut code_between = 0;
    for above in (0..index).rev() {
        let line = &source.lines[above];
        if says(above) {
            return true;
        }
        if line.is_comment() || line.is_attribute() {
            continue;
        }
        code_between += 1;
        let ends = line.code.trim().is_empty()
            || (line.code.trim_end().ends_with([';', '}']) && kind == Kind::Claim);
        if ends || kind == Kind::Terms || code_between > CODE_BETWEEN_MAX {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    //! Goal: no `unsafe` without a reason, none in the wrong room. Method: small bad and good snippets.
    use super::*;

    fn rules(file: &str, text: &str) -> Vec<(usize, &'static str)> {
        check(&Source::new(file, text))
            .iter()
            .map(|finding| (finding.line, finding.rule))
            .collect()
    }

    #[test]
    fn the_manager_has_none() {
        let text = "// SAFETY: a good reason\nunsafe { f() }\n";
        assert_eq!(rules("crates/mm/src/a.rs", text), [(2, "unsafe-room")]);
        assert!(rules("crates/linux/src/a.rs", text).is_empty());
        assert!(
            rules(
                "crates/mm/src/a.rs",
                "// unsafe\nlet a = \"unsafe\"; #![forbid(unsafe_code)]\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_block_says_why() {
        let file = "crates/linux/src/a.rs";
        assert_eq!(
            rules(file, "let a =\n    unsafe { f() };\n"),
            [(2, "unsafe-note")]
        );
        assert_eq!(
            rules(
                file,
                "// SAFETY: of the other\nunsafe { f() };\nunsafe { g() };\n"
            ),
            [(3, "unsafe-note")]
        );
        assert_eq!(
            rules(file, "// SAFETY: far\n\nunsafe { f() };\n"),
            [(3, "unsafe-note")]
        );
        assert_eq!(rules(file, "unsafe impl Send for A {}\n"), [(1, "unsafe-note")]);
        assert_eq!(rules(file, "unsafe extern \"C\" {\n}\n"), [(1, "unsafe-note")]);
        assert!(rules(file, "// SAFETY: near\nlet a =\n    b(c,\n    unsafe { f() });\n").is_empty());
        assert!(rules(file, "unsafe { f() } // SAFETY: here\n").is_empty());
    }

    #[test]
    fn a_function_states_its_terms() {
        let file = "crates/sync/src/a.rs";
        assert_eq!(rules(file, "/// Does.\nunsafe fn f() {}\n"), [(2, "unsafe-note")]);
        assert_eq!(
            rules(file, "/// Does.\npub unsafe extern \"C\" fn f() {}\n"),
            [(2, "unsafe-note")]
        );
        assert!(
            rules(
                file,
                "/// # Safety\n/// Terms.\n#[inline]\npub unsafe fn f() {}\n"
            )
            .is_empty()
        );
        assert!(
            rules(
                file,
                "type F = unsafe extern \"C\" fn(u8);\ntype G = unsafe fn(u8);\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_package_outside_the_rooms_forbids_it() {
        assert_eq!(rules("crates/mm/src/lib.rs", "//! x\n"), [(1, "unsafe-room")]);
        assert!(rules("crates/mm/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n").is_empty());
        assert!(rules("crates/linux/src/lib.rs", "//! x\n").is_empty());
    }

    #[test]
    fn the_wasmtime_client_keeps_it_in_one_file() {
        let source = |name: &str| {
            Source::new(
                &format!("crates/wasmtime/src/{name}.rs"),
                "// SAFETY: x\nunsafe { f() }\n",
            )
        };
        assert!(one_file(&[source("a")]).is_empty());
        assert_eq!(
            one_file(&[source("a"), source("b")])[0].file,
            "crates/wasmtime/src/b.rs"
        );
    }
}
