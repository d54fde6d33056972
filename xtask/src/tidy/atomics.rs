//! Every memory ordering has a reason beside it, and none is `SeqCst` but a fence's.
//!
//! An ordering that no race model can see has a line more: `// No model: why`. `cargo xtask weaken`
//! holds it to that.

use super::source::{Source, has};

/// Those of `std::cmp` have other names.
const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
/// A reason stands on the line of the ordering, or on one of so many before it.
const LINES_BEFORE: usize = 3;
/// What the reason begins with why no model sees an ordering; it is a sentence.
const NO_MODEL: &str = "No model:";
const NO_MODEL_WORDS: usize = 4;

/// An ordering in the code of the product that is not relaxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strong {
    /// From 0.
    pub(crate) line: usize,
    /// Of its name, in bytes.
    pub(crate) column: usize,
    pub(crate) ordering: String,
    /// Why no model sees it, if that is written beside it.
    pub(crate) no_model: Option<String>,
}

/// The orderings of a file that are not relaxed, tests left out.
pub(crate) fn strong(source: &Source) -> Vec<Strong> {
    let of_tests = |code: &str| code.trim_start().starts_with("#[cfg") && code.contains("test");
    let product = source.lines.iter().take_while(|line| !of_tests(&line.code));
    let of_line = |line: usize, code| {
        let no_model = beside(source, line).find_map(|comment| comment.split_once(NO_MODEL));
        let no_model = no_model.map(|(_, why)| why.trim().to_owned());
        orderings(code).into_iter().map(move |(column, ordering)| Strong {
            line,
            column,
            ordering: ordering.to_owned(),
            no_model: no_model.clone(),
        })
    };
    let all = product
        .enumerate()
        .flat_map(|(line, text)| of_line(line, &text.code));
    all.filter(|at| at.ordering != "Relaxed").collect()
}

/// The orderings that a line names, each with its column.
fn orderings(code: &str) -> Vec<(usize, &str)> {
    let after = code.match_indices("Ordering::").map(|(at, name)| at + name.len());
    let named = |at| Some((at, *ORDERINGS.iter().find(|name| code[at..].starts_with(*name))?));
    after.filter_map(named).collect()
}

/// Whether the line imports the variants, after which a use would no longer show.
fn hides_orderings(code: &str) -> bool {
    let imports = ["Ordering::*", "Ordering::{"]
        .iter()
        .any(|group| code.contains(group))
        || (has(code, "use") && !orderings(code).is_empty());
    imports && !code.contains("cmp::Ordering")
}

/// The comments of a line and of those just above it.
fn beside(source: &Source, index: usize) -> impl Iterator<Item = &str> {
    let lines = &source.lines[index.saturating_sub(LINES_BEFORE)..=index];
    lines.iter().map(|line| line.comment.as_str())
}

/// The rule for one file.
pub(super) fn check(source: &Source) -> Vec<String> {
    let message = "an ordering needs a reason on this line or just above";
    let mut found = source.find("ordering-note", message, |index, line| {
        !orderings(&line.code).is_empty() && beside(source, index).all(str::is_empty)
    });
    let message = "write `Ordering::X` in full where it is used";
    found.extend(source.find("ordering-name", message, |_, line| hides_orderings(&line.code)));
    let message = "`SeqCst` stands only in a `fence`: elsewhere the models do not see it";
    found.extend(source.find("seqcst", message, |_, line| {
        line.code.contains("SeqCst") && !line.code.contains("fence")
    }));
    let message = "`No model:` says why, just above an ordering that is not relaxed";
    found.extend(source.find("no-model", message, |index, line| {
        let comment = line.comment.trim_start_matches('/').trim_start();
        let mut below = source.lines[index..].iter().take(LINES_BEFORE + 1);
        let strong = below.any(|line| orderings(&line.code).iter().any(|(_, name)| *name != "Relaxed"));
        let says = |why: &str| strong && why.split_whitespace().count() >= NO_MODEL_WORDS;
        comment.strip_prefix(NO_MODEL).is_some_and(|why| !says(why))
    }));
    found
}

#[cfg(test)]
mod tests {
    //! Goal: an ordering without a reason is found. Method: small bad and good snippets.
    use super::*;

    /// The line and the rule of each finding.
    fn rules(text: &str) -> Vec<String> {
        let found = check(&Source::new("a", text)).into_iter();
        found
            .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn each_breach_is_found_and_no_more() {
        let why = "// Acquire: x.\n// No model: the list's lock orders it as well.\n";
        for (text, found) in [
            ("a.load(Ordering::Acquire);\n", "a:1 ordering-note"),
            (
                "// far\n1;\n2;\n3;\na.load(Ordering::Relaxed);\n",
                "a:5 ordering-note",
            ),
            (
                "// Acquire: sees the owner.\na.swap(\n1,\natomic::Ordering::AcqRel);\n",
                "",
            ),
            ("a.load(Ordering::Relaxed); // a count\n", ""),
            ("match a.cmp(b) { Ordering::Less => {} }\n", ""),
            ("// No model: so.\na.load(Ordering::Acquire);\n", "a:1 no-model"),
            (&format!("{why}a.load(Ordering::Acquire);\n"), ""),
            (&format!("{why}a.load(Ordering::Relaxed);\n"), "a:2 no-model"),
            ("a.load(Ordering::SeqCst); // why\n", "a:1 seqcst"),
            ("fence(Ordering::SeqCst); // store buffering\n", ""),
            ("use sync::Ordering::*;", "a:1 ordering-name"),
            ("use sync::Ordering::{Acquire}; // x", "a:1 ordering-name"),
            ("pub use Ordering::Acquire; // x", "a:1 ordering-name"),
            ("use std::cmp::Ordering::*;\n", ""),
        ] {
            assert_eq!(rules(text).join(" "), found, "{text}");
        }
    }

    #[test]
    fn those_that_are_weakened_are_the_product_s() {
        let text = [
            "// x\n// No model: a lock orders it.\na.load(Ordering::Acquire);\n",
            "b(Ordering::Relaxed)\n#[cfg(all(test, loom))]\nmod t { f(Ordering::Release) }\n",
        ];
        let found = strong(&Source::new("a.rs", &text.concat()));
        assert_eq!((found.len(), found[0].line, found[0].column), (1, 2, 17));
        assert_eq!(found[0].no_model.as_deref(), Some("a lock orders it."));
    }
}
