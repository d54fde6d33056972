//! What a part printed, counted: numbers by name, and failures.

use std::collections::BTreeMap;

/// Failures that a report shows; the log has them all.
const FAILURES_MAX: usize = 10;

/// Lines that are counted by what stands in them; and those where a number follows.
const ONE_EACH: [(&str, &str); 5] = [
    (": caught", "caught"),
    ("not explored to the end", "models_cut"),
    ("caught   ", "mutants_caught"),
    ("TIMEOUT  ", "mutants_caught"),
    ("MISSED   ", "mutants_survived"),
];
const NUMBERS: [(&str, &str); 3] = [
    ("test result: ok. ", "tests_passed"),
    ("stat::number_of_executed_units: ", "fuzz_inputs"),
    ("caught at execution ", "executions"),
];
/// What a line says that is about a failure.
const FAILURES: [&str; 4] = [
    "campaign failure: ",
    "failing schedule persisted to file: ",
    "... FAILED",
    "Sanitizer: ",
];

/// What a log says.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sums: BTreeMap<String, u64>,
    pub(super) failures: Vec<String>,
    pub(super) skipped: bool,
}

/// Reads a log: lines of ours (`campaign: name=number`), of the race models, the test harness,
/// shuttle, and the tools. Whatever else stands there is not looked at.
pub(super) fn read(log: &str) -> Counts {
    let mut counts = Counts::default();
    let mut add = |name: &str, more: u64| *counts.sums.entry(name.to_owned()).or_default() += more;
    let number = |text: &str| text.split([' ', ',']).next().and_then(|word| word.parse().ok());
    for line in log.lines() {
        let pairs = line.split_once("campaign: ").map_or("", |(_, pairs)| pairs);
        for (name, text) in pairs.split(' ').filter_map(|pair| pair.split_once('=')) {
            add(name, text.parse().unwrap_or(0));
        }
        for (mark, name) in ONE_EACH.iter().filter(|(mark, _)| line.contains(mark)) {
            // `caught` is the word of a mutant at a line's beginning alone.
            if !mark.ends_with("  ") || line.starts_with(mark) {
                add(name, 1);
            }
        }
        for (mark, name) in NUMBERS {
            let found = line.split_once(mark).and_then(|(_, rest)| number(rest));
            found.into_iter().for_each(|found| add(name, found));
        }
        let executions = line
            .split_once(" executions")
            .and_then(|(text, _)| text.rsplit(' ').next()?.parse().ok());
        executions.into_iter().for_each(|found| add("executions", found));
        if FAILURES.iter().any(|mark| line.contains(mark)) && counts.failures.len() < FAILURES_MAX {
            counts.failures.push(line.to_owned());
        }
        counts.skipped |= line.contains("SKIPPED");
    }
    counts.sums.retain(|_, sum| *sum > 0);
    counts
}

#[cfg(test)]
mod tests {
    //! Goal: what was printed is counted, and nothing else. Method: lines as they stand in logs.
    use super::*;

    #[test]
    fn what_was_printed_is_counted() {
        let counts = read(
            "test deep ... campaign: schedules=500 refused_calls=1\ncampaign: schedules=7 x=y\nschedules=9\n\
             model a: b: up to 2 preemptions, 12 executions, 0.10 s\n\
             test x ... model c: every interleaving, 5 executions, not explored to the end, 9.00 s\n\
             model d: every interleaving, caught at execution 3, 0.00 s\n\
             test result: ok. 4 passed; 0 failed; 0 ignored\n  2/8  R07-x: caught, 3.0 s\n\
             caught   crates/mm/src/a.rs:1:1: delete ! in 3s\n",
        );
        for (name, sum) in [
            ("schedules", 507),
            ("refused_calls", 1),
            ("executions", 20),
            ("models_cut", 1),
            ("tests_passed", 4),
            ("caught", 1),
            ("mutants_caught", 1),
        ] {
            assert_eq!(counts.sums.get(name), Some(&sum), "{name}");
        }
        assert!(counts.failures.is_empty() && !counts.sums.contains_key("x"));
    }
}
