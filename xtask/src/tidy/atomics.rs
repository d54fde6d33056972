//! Every memory ordering has a reason beside it, and none is `SeqCst` but a fence's.

use super::Finding;
use super::scan::{Source, words};

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
/// A reason stands on the line of the ordering, or on one of so many before it.
const LINES_BEFORE: usize = 3;

/// The rule for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
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

/// The orderings that a line names; those of `std::cmp` have other names.
fn orderings(code: &str) -> impl Iterator<Item = &str> {
    let after = |&(column, _): &(usize, &str)| code[..column].ends_with("Ordering::");
    words(code)
        .filter(after)
        .map(|(_, word)| word)
        .filter(|word| ORDERINGS.contains(word))
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
