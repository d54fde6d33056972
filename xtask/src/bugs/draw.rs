//! The short form, for the gate: which defects it tries at a commit; the same for the same commit,
//! others at the next.
//!
//! Each defect gets a number from the commit's name and its own, and those with the least numbers
//! are tried; so a defect's chances do not depend on what others there are. A kind of build has its
//! share of the dozen by what a try costs: a defect that the manager's own tests catch takes
//! seconds, one that a race model or a scenario catches needs another build of everything.

use super::{Defect, folder, headings, lanes, read};
use crate::shell::{self, Build};
use crate::table;
use anyhow::{Context, Result, ensure};
use std::process::Command;
use std::time::Instant;

/// How many of each build are tried.
const SHARES: [(Build, usize); 3] = [(Build::Plain, 8), (Build::Loom, 3), (Build::Shuttle, 1)];

/// The short form, for the gate: all headings, and a dozen defects tried, drawn by the commit. That
/// their checkers pass without them is what the steps before this one have just found out.
pub(crate) fn short() -> Result<()> {
    let defects = read(&folder(), &[])?;
    headings(&defects)?;
    let mut git = shell::clean(Command::new("git"));
    git.args(["rev-parse", "HEAD"]);
    let commit = shell::read(git).context("the commit draws the defects to try")?;
    let drawn = by_commit(commit.trim(), &defects);
    println!(
        "{} of them are tried, drawn by commit {}",
        drawn.len(),
        commit.trim()
    );
    let begin = Instant::now();
    let tally = lanes(drawn, false, None)?;
    println!(
        "{} defects caught in {}",
        tally.caught,
        table::time(begin.elapsed())
    );
    ensure!(
        tally.red.is_empty(),
        "not caught:\n{}\n(alone: cargo xtask bugs NAME)",
        tally.red.join("\n")
    );
    Ok(())
}

/// The defects to try at a commit.
fn by_commit(commit: &str, defects: &[Defect]) -> Vec<Defect> {
    let mut drawn = Vec::new();
    for (build, share) in SHARES {
        let mut of_build: Vec<&Defect> = defects.iter().filter(|d| d.checker.build == build).collect();
        of_build.sort_by_key(|defect| number(&[commit, &defect.name]));
        drawn.extend(of_build.into_iter().take(share).cloned());
    }
    drawn
}

/// A number that looks random and is the same everywhere (FNV-1a, and the last step of SplitMix64).
fn number(words: &[&str]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    let mut sum = bytes.fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    sum = (sum ^ sum >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    sum = (sum ^ sum >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    sum ^ sum >> 31
}

#[cfg(test)]
mod tests {
    //! Goal: a commit draws the same dozen each time, and a month's commits draw every defect there
    //! is. Method: the defects of the checkout, and 200 made-up commits.
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_defect_comes_up() {
        let defects = read(&folder(), &[]).unwrap();
        let mut seen = BTreeSet::new();
        for commit in 0..200 {
            let commit = format!("{commit:040x}");
            let drawn = by_commit(&commit, &defects);
            assert_eq!(drawn, by_commit(&commit, &defects));
            let names: BTreeSet<String> = drawn.iter().map(|defect| defect.name.clone()).collect();
            assert_eq!(names.len(), drawn.len(), "one is drawn twice");
            assert!((11..=12).contains(&drawn.len()), "{names:?}");
            seen.extend(names);
        }
        let all = defects.iter().map(|defect| &defect.name);
        let missing: Vec<_> = all.filter(|name| !seen.contains(*name)).collect();
        assert!(missing.is_empty(), "never drawn: {missing:?}");
    }
}
