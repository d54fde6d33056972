//! Every memory ordering has a reason beside it, and none is `SeqCst` but a fence's.
//!
//! An ordering that no race model can see has a line more: `// No model: why`. `cargo xtask weaken`
//! holds it to that.

use super::source::{Source, words};

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
    let mut found = Vec::new();
    let of_tests = |code: &str| code.trim_start().starts_with("#[cfg") && code.contains("test");
    let product = source.lines.iter().take_while(|line| !of_tests(&line.code));
    for (line, text) in product.enumerate() {
        let no_model = beside(source, line).find_map(|comment| comment.split_once(NO_MODEL));
        let no_model = no_model.map(|(_, why)| why.trim().to_owned());
        found.extend(
            orderings(&text.code)
                .filter(|at| at.1 != "Relaxed")
                .map(|(column, word)| Strong {
                    line,
                    column,
                    ordering: word.to_owned(),
                    no_model: no_model.clone(),
                }),
        );
    }
    found
}

/// The comments of a line and of those just above it.
fn beside(source: &Source, index: usize) -> impl Iterator<Item = &str> {
    source.lines[index.saturating_sub(LINES_BEFORE)..=index]
        .iter()
        .map(|line| line.comment.as_str())
}

/// The rule for one file.
pub(super) fn check(source: &Source) -> Vec<String> {
    let message = "an ordering needs a reason on this line or just above";
    let mut found = source.find("ordering-note", message, |index, line| {
        orderings(&line.code).next().is_some() && beside(source, index).all(str::is_empty)
    });
    let message = "write `Ordering::X` in full where it is used";
    found.extend(source.find("ordering-name", message, |_, line| hides_orderings(&line.code)));
    let message = "`SeqCst` stands only in a `fence`: elsewhere the models do not see it";
    found.extend(source.find("seqcst", message, |_, line| {
        line.has("SeqCst") && !line.has("fence")
    }));
    let message = "`No model:` says why, just above an ordering that is not relaxed";
    found.extend(source.find("no-model", message, |index, line| {
        let comment = line.comment.trim_start_matches('/').trim_start();
        let mut below = source.lines[index..].iter().take(LINES_BEFORE + 1);
        let strong = below.any(|line| orderings(&line.code).any(|(_, word)| word != "Relaxed"));
        let says = |why: &str| strong && why.split_whitespace().count() >= NO_MODEL_WORDS;
        comment.strip_prefix(NO_MODEL).is_some_and(|why| !says(why))
    }));
    found
}

/// The orderings that a line names, each with its column; those of `std::cmp` have other names.
fn orderings(code: &str) -> impl Iterator<Item = (usize, &str)> {
    words(code).filter(|&(at, word)| code[..at].ends_with("Ordering::") && ORDERINGS.contains(&word))
}

/// Whether the line imports the variants, after which a use would no longer show.
fn hides_orderings(code: &str) -> bool {
    let import = code.trim_start().trim_start_matches("pub ").starts_with("use ");
    let after = code
        .match_indices("Ordering::")
        .filter(|(at, _)| !code[..*at].ends_with("cmp::"));
    after
        .map(|(at, text)| code[at + text.len()..].trim_start())
        .any(|rest| {
            let first = words(rest).next().map_or("", |(_, word)| word);
            rest.starts_with('*') || (import && (rest.starts_with('{') || ORDERINGS.contains(&first)))
        })
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
    fn an_ordering_has_a_reason() {
        assert_eq!(rules("a.load(Ordering::Acquire);\n"), ["a:1 ordering-note"]);
        assert_eq!(
            rules("// far\n1;\n2;\n3;\na.load(Ordering::Relaxed);\n"),
            ["a:5 ordering-note"]
        );
        assert!(rules("// Acquire: sees the owner.\na.swap(\n1,\natomic::Ordering::AcqRel);\n").is_empty());
        assert!(rules("a.load(Ordering::Relaxed); // a count\n").is_empty());
        assert!(rules("match a.cmp(b) { Ordering::Less => {} }\n").is_empty());
    }

    #[test]
    fn why_no_model_sees_an_ordering_is_said_beside_it() {
        let why = "// Acquire: x.\n// No model: the list's lock orders it as well.\n";
        let text = format!("{why}a.load(Ordering::Acquire);\n");
        assert!(rules(&text).is_empty());
        let found = strong(&Source::new("a.rs", &text));
        assert_eq!((found.len(), found[0].line, found[0].column), (1, 2, 17));
        assert_eq!(
            found[0].no_model.as_deref(),
            Some("the list's lock orders it as well.")
        );
        assert_eq!(
            rules("// No model: so.\na.load(Ordering::Acquire);\n"),
            ["a:1 no-model"]
        );
        assert_eq!(
            rules(&format!("{why}a.load(Ordering::Relaxed);\n")),
            ["a:2 no-model"]
        );
    }

    #[test]
    fn orderings_of_tests_are_not_the_product_s() {
        let text =
            "a.load(Ordering::Acquire); // x\n#[cfg(all(test, loom))]\nmod t { f(Ordering::Release) }\n";
        assert_eq!(strong(&Source::new("a.rs", text)).len(), 1);
    }

    #[test]
    fn seqcst_is_for_fences() {
        assert_eq!(rules("a.load(Ordering::SeqCst); // why\n"), ["a:1 seqcst"]);
        assert!(rules("fence(Ordering::SeqCst); // store buffering\n").is_empty());
    }

    #[test]
    fn the_variants_are_not_imported() {
        for bad in [
            "use sync::Ordering::*;",
            "use sync::Ordering::{Acquire}; // x",
            "pub use Ordering::Acquire; // x",
        ] {
            assert_eq!(rules(bad)[0], "a:1 ordering-name", "{bad}");
        }
        assert!(rules("use std::cmp::Ordering::*;\n").is_empty());
    }
}
