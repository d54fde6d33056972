//! Every memory ordering has a reason beside it, and none is `SeqCst` but a fence's.
//!
//! An ordering that no race model can see has a line more: `// No model: why`. `cargo xtask weaken`
//! holds it to that.

use super::Finding;
use super::scan::{Source, words};

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
/// A reason stands on the line of the ordering, or on one of so many before it.
const LINES_BEFORE: usize = 3;

/// What the reason begins with why no model sees an ordering.
const NO_MODEL: &str = "No model:";
/// Such a reason is a sentence.
const NO_MODEL_WORDS: usize = 4;

/// An ordering in the code of the product that is not relaxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strong {
    /// From 0.
    pub(crate) line: usize,
    /// Of its name, in characters.
    pub(crate) column: usize,
    pub(crate) ordering: String,
    /// Why no model sees it, if that is written beside it.
    pub(crate) no_model: Option<String>,
}

/// The orderings of a file that are not relaxed, tests left out.
pub(crate) fn strong(source: &Source) -> Vec<Strong> {
    let mut found = Vec::new();
    let tests =
        |line: &super::scan::Line| line.code.trim_start().starts_with("#[cfg") && line.code.contains("test");
    let end = source.lines.iter().position(tests).unwrap_or(source.lines.len());
    for (index, line) in source.lines[..end].iter().enumerate() {
        for (column, word) in ordering_words(&line.code) {
            if word == "Relaxed" {
                continue;
            }
            found.push(Strong {
                line: index,
                column,
                ordering: word.to_owned(),
                no_model: reason(source, index),
            });
        }
    }
    found
}

/// What stands after `No model:` on the line or just above it.
fn reason(source: &Source, index: usize) -> Option<String> {
    let first = index.saturating_sub(LINES_BEFORE);
    let mut lines = source.lines[first..=index].iter();
    let after = |line: &super::scan::Line| Some(line.comment.split_once(NO_MODEL)?.1.trim().to_owned());
    lines.find_map(after)
}

/// The rule for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = no_model_lines(source);
    let mut find = |index: usize, rule, message: String| {
        findings.push(Finding::new(&source.file, index + 1, rule, message));
    };
    for (index, line) in source.lines.iter().enumerate() {
        if hides_orderings(&line.code) {
            find(
                index,
                "ordering-name",
                "write `Ordering::X` in full where it is used".to_owned(),
            );
        }
        for ordering in orderings(&line.code) {
            let first = index.saturating_sub(LINES_BEFORE);
            if source.lines[first..=index]
                .iter()
                .all(|line| line.comment.is_empty())
            {
                find(
                    index,
                    "ordering-note",
                    format!("`{ordering}` needs a reason on this line or just above"),
                );
            }
        }
        let in_fence = line.words().any(|(_, word)| word == "fence");
        if line.words().any(|(_, word)| word == "SeqCst") && !in_fence {
            find(
                index,
                "seqcst",
                "`SeqCst` stands only in a `fence`: elsewhere the models do not see it".to_owned(),
            );
        }
    }
    findings
}

/// A line that says why no model sees an ordering stands beside one that is not relaxed, and does
/// say why.
fn no_model_lines(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        let comment = line.comment.trim_start_matches('/').trim_start();
        let Some(why) = comment.strip_prefix(NO_MODEL) else {
            continue;
        };
        let last = (index + LINES_BEFORE).min(source.lines.len() - 1);
        let mut below = source.lines[index..=last].iter();
        let strong = below.any(|line| orderings(&line.code).any(|word| word != "Relaxed"));
        if !strong || why.split_whitespace().count() < NO_MODEL_WORDS {
            let message = "`No model:` says why, just above an ordering that is not relaxed".to_owned();
            findings.push(Finding::new(&source.file, index + 1, "no-model", message));
        }
    }
    findings
}

/// The orderings that a line names; those of `std::cmp` have other names.
fn orderings(code: &str) -> impl Iterator<Item = &str> {
    ordering_words(code).map(|(_, word)| word)
}

fn ordering_words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let after = |&(column, _): &(usize, &str)| code[..column].ends_with("Ordering::");
    words(code)
        .filter(after)
        .filter(|(_, word)| ORDERINGS.contains(word))
}

/// Whether the line imports the variants, after which a use would no longer show.
fn hides_orderings(code: &str) -> bool {
    let groups = code
        .match_indices("Ordering::")
        .filter(|(at, _)| !code[..*at].ends_with("cmp::"));
    let import = code.trim_start().trim_start_matches("pub ").starts_with("use ");
    groups
        .map(|(at, text)| code[at + text.len()..].trim_start())
        .any(|rest| {
            let named = words(rest)
                .next()
                .is_some_and(|(_, word)| ORDERINGS.contains(&word));
            rest.starts_with('*') || (import && (rest.starts_with('{') || named))
        })
}

#[cfg(test)]
mod tests {
    //! Goal: an ordering without a reason is found. Method: small bad and good snippets.
    use super::*;

    fn rules(text: &str) -> Vec<(usize, &'static str)> {
        check(&Source::new("crates/mm/src/a.rs", text))
            .iter()
            .map(|finding| (finding.line, finding.rule))
            .collect()
    }

    #[test]
    fn an_ordering_has_a_reason() {
        assert_eq!(rules("a.load(Ordering::Acquire);\n"), [(1, "ordering-note")]);
        assert_eq!(
            rules("// far\n1;\n2;\n3;\na.load(Ordering::Relaxed);\n"),
            [(5, "ordering-note")]
        );
        assert!(rules("// Acquire: sees the owner.\na.swap(\n1,\natomic::Ordering::AcqRel);\n").is_empty());
        assert!(rules("a.load(Ordering::Relaxed); // a count\n").is_empty());
        assert!(rules("match a.cmp(b) { Ordering::Less => {} }\n").is_empty());
    }

    #[test]
    fn why_no_model_sees_an_ordering_is_said_beside_it() {
        let text =
            "// Acquire: x.\n// No model: the list's lock orders it as well.\na.load(Ordering::Acquire);\n";
        assert!(rules(text).is_empty());
        let found = strong(&Source::new("a.rs", text));
        assert_eq!((found.len(), found[0].line, found[0].column), (1, 2, 17));
        assert_eq!(
            found[0].no_model.as_deref(),
            Some("the list's lock orders it as well.")
        );
        for bad in [
            "// No model: so.\na.load(Ordering::Acquire);\n",
            "// No model: the list's lock orders it as well.\na.load(Ordering::Relaxed);\n",
        ] {
            assert_eq!(rules(bad), [(1, "no-model")], "{bad}");
        }
    }

    #[test]
    fn orderings_of_tests_are_not_the_product_s() {
        let text =
            "a.load(Ordering::Acquire); // x\n#[cfg(all(test, loom))]\nmod t { f(Ordering::Release) }\n";
        assert_eq!(strong(&Source::new("a.rs", text)).len(), 1);
    }

    #[test]
    fn seqcst_is_for_fences() {
        assert_eq!(rules("a.load(Ordering::SeqCst); // why\n"), [(1, "seqcst")]);
        assert!(rules("fence(Ordering::SeqCst); // store buffering\n").is_empty());
    }

    #[test]
    fn the_variants_are_not_imported() {
        assert_eq!(rules("use sync::Ordering::*;\n"), [(1, "ordering-name")]);
        assert_eq!(
            rules("use sync::Ordering::{Acquire, Release}; // x\n"),
            [(1, "ordering-name")]
        );
        assert_eq!(
            rules("pub use sync::Ordering::Acquire; // x\n"),
            [(1, "ordering-name")]
        );
        assert!(rules("use std::cmp::Ordering::*;\n").is_empty());
    }
}
