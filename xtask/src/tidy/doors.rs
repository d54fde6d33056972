//! How many doors the manager has: what belongs to a room is a method of the room's object, or a
//! function that takes the manager.

use super::finding;
use super::source::{Source, has};

/// Methods of `Mm` in all files of the manager, tests left out.
const MOST: usize = 40;

/// The rule.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let is_counted = |source: &&Source| {
        source.is_in(&["crates/mm/src"]) && !source.is_test() && !source.file.ends_with("/rig.rs")
    };
    let count: usize = sources.iter().filter(is_counted).map(methods).sum();
    let message = format!("`Mm` has {count} methods, at most {MOST}: give the new ones to their room");
    let found = (count > MOST).then(|| finding("crates/mm/src/mm.rs", 1, "doors", &message));
    found.into_iter().collect()
}

/// The methods in a file's `impl` blocks of the manager. rustfmt has put each at its column.
fn methods(source: &Source) -> usize {
    let (mut inside, mut count) = (false, 0);
    for code in source.lines.iter().map(|line| line.code.as_str()) {
        if code.starts_with("impl") {
            inside = code.contains("> Mm<") && !code.contains(" for ");
        }
        inside &= !code.starts_with('}');
        let is_member = code.starts_with("    ") && !code.starts_with("     ");
        count += usize::from(inside && is_member && has(code, "fn"));
    }
    count
}

#[cfg(test)]
mod tests {
    //! Goal: methods of the manager are counted, and nothing else is. Method: a small file, again
    //! and again.
    use super::*;

    const FILE: &str = "impl<H: Host, S: Store> Mm<H, S> {
    /// A fn.
    pub fn a(&self) {
        fn inner() {}
    }

    pub(crate) fn b(&self, f: impl Fn()) {}
}
impl<H, S> Drop for Mm<H, S> {
    fn drop(&mut self) {}
}
impl<'m, H, S> Room<'m, H, S> {
    fn of(mm: &'m Mm<H, S>) -> Self {}
}
fn c<H, S>(mm: &Mm<H, S>) {}
";

    #[test]
    fn methods_of_the_manager_are_counted() {
        let file = |n: usize| Source::new(&format!("crates/mm/src/f{n}.rs"), FILE);
        assert_eq!(methods(&file(0)), 2);
        let mut all: Vec<Source> = (0..20).map(file).collect();
        all.push(Source::new("crates/mm/src/f/tests.rs", FILE));
        all.push(Source::new("crates/sim/src/f.rs", FILE));
        assert_eq!(check(&all), Vec::<String>::new());
        all.push(file(20));
        assert_eq!(check(&all).len(), 1);
    }
}
