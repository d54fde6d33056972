//! Every package that we build is under a licence that lets people use memfold
//! under MIT or Apache-2.0, and we know which packages we build twice.

use super::Finding;
use super::packages::Package;
use std::collections::BTreeMap;

/// Licences (and exceptions to one) that are accepted.
const ALLOWED: [&str; 12] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "0BSD",
];

/// The rule: each licence expression can be met with [`ALLOWED`] ones.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let expression = package.license.as_deref().unwrap_or("none stated");
        if !acceptable(expression) {
            let message = format!("{} {}: {expression}", package.name, package.version);
            findings.push(Finding::new("Cargo.lock", 1, "licence", message));
        }
    }
    findings
}

/// Packages in more than one version: not wrong, but worth knowing.
pub(super) fn duplicates(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
        .iter()
        .map(|(name, versions)| format!("{name} {}", versions.join(" and ")))
        .collect()
}

/// Whether an SPDX expression can be met: one side of each `OR`, both of each `AND`.
fn acceptable(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words };
    parser.any() && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
}

impl Parser<'_> {
    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.take("OR") {
            met |= self.all();
        }
        met
    }

    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.take("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let met = self.any();
            return self.take(")") && met;
        }
        let Some((name, rest)) = self.words.split_first() else {
            return false;
        };
        self.words = rest;
        if !self.take("WITH") {
            return ALLOWED.contains(name);
        }
        let Some((exception, rest)) = self.words.split_first() else {
            return false;
        };
        self.words = rest;
        ALLOWED.contains(&format!("{name} WITH {exception}").as_str())
    }

    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: an expression is accepted exactly when it can be met. Method: expressions seen in the
    //! wild.
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        let good = [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR GPL-3.0-only",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ];
        let bad = [
            "",
            "none stated",
            "GPL-2.0-only",
            "MIT AND GPL-3.0-only",
            "MIT WITH X",
            "MIT MIT",
            "(MIT",
        ];
        assert!(good.iter().all(|expression| acceptable(expression)));
        assert!(bad.iter().all(|expression| !acceptable(expression)));
    }
}
