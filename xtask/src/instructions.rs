//! `cargo xtask instructions`: the manager's own instructions for each operation, counted by
//! callgrind and held to what is committed (`verify/instructions.json`).
//!
//! A count has no noise, so a step of the gate can ask it on any machine: an operation that takes 5
//! % more than was committed is a failure, and what it may cost is a line of the diff. The program
//! that is counted, and what counts as the manager's own, is `verify/src/bin/instructions.rs`.

use crate::shell::{self, Build};
use crate::table;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What an operation may take, in hundredths of what is committed.
const ROOM: u64 = 105;

/// Where the committed counts stand.
const COMMITTED: &str = "verify/instructions.json";

/// How callgrind is told what counts; the program has the functions.
const CALLGRIND: &str = "valgrind --tool=callgrind --quiet --collect-atstart=no \
    --toggle-collect=*count_from_here* --toggle-collect=*not_counted* --dump-after=*part_ends*";

/// Instructions for one operation, by its name.
type Counts = BTreeMap<String, u64>;

/// Counts, compares, and prints a table of both. With `--bless` what is counted is written down.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !shell::succeeds(shell::command("valgrind --version")) {
        shell::script("install", &["valgrind".to_owned()])?;
    }
    let build = "build --profile counted -p memfold-verify --bin instructions";
    shell::run(Build::Plain.cargo(build))?;
    let now = count(&shell::target().join("counted"))?;
    let file = shell::root().join(COMMITTED);
    if args == ["--bless"] {
        let text = serde_json::to_string_pretty(&now)? + "\n";
        std::fs::write(&file, text).with_context(|| format!("cannot write {COMMITTED}"))?;
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {COMMITTED}"))?;
    let committed: Counts =
        serde_json::from_str(&text).with_context(|| format!("{COMMITTED} is not what this writes"))?;
    let (rows, beyond) = compare(&committed, &now);
    print!("{}", table::render(&rows));
    ensure!(
        beyond.is_empty(),
        "more than 5 % above what is committed: {} (`cargo xtask instructions --bless` commits what is counted now)",
        beyond.join(", ")
    );
    Ok(())
}

/// Runs the program under callgrind; its files are gone afterwards.
fn count(built: &Path) -> Result<Counts> {
    let dir = built.join("callgrind");
    std::fs::create_dir_all(&dir)?;
    let out = dir.join("out");
    let mut valgrind = shell::command(CALLGRIND);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(built.join("instructions"));
    let said = shell::read(valgrind)?;
    let mut counts = Counts::new();
    for (part, line) in (1..).zip(said.lines()) {
        let (times, name) = line.split_once(' ').context("a line has a number and a name")?;
        let file = dir.join(format!("out.{part}"));
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("callgrind wrote no part {part}"))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: u64 = total.context("a part has its total")?.trim().parse()?;
        counts.insert(name.to_owned(), total / times.parse::<u64>()?.max(1));
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(counts)
}

/// One line for each operation; and those that take more than they may, or are on one side only.
fn compare(committed: &Counts, now: &Counts) -> (Vec<Vec<String>>, Vec<String>) {
    let names: BTreeSet<&String> = committed.keys().chain(now.keys()).collect();
    let heading = ["operation", "committed", "now", "ratio"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut beyond = Vec::new();
    for name in names {
        let (was, is) = (committed.get(name), now.get(name));
        let both = was.zip(is);
        if both.is_none_or(|(was, is)| is * 100 > was * ROOM) {
            beyond.push(name.clone());
        }
        let ratio = both.map(|(&was, &is)| format!("{:.3}", is as f64 / was.max(1) as f64));
        let text = |count: Option<&u64>| count.map_or("none".to_owned(), u64::to_string);
        rows.push(vec![name.clone(), text(was), text(is), ratio.unwrap_or_default()]);
    }
    (rows, beyond)
}

#[cfg(test)]
mod tests {
    //! Goal: what takes more is named, and so is what nobody committed. Method: by example.
    use super::*;

    fn counts(of: &[(&str, u64)]) -> Counts {
        of.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
    }

    #[test]
    fn five_in_a_hundred_are_the_room() {
        let committed = counts(&[("a", 1000), ("b", 1000), ("c", 1000), ("gone", 1)]);
        let now = counts(&[("a", 1050), ("b", 1051), ("c", 900), ("new", 1)]);
        assert_eq!(compare(&committed, &now).1, ["b", "gone", "new"]);
    }
}
