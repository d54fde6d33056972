//! What the parts printed, counted: numbers by name, and failures with what is needed to see them
//! again.
//!
//! Long runs of ours print `campaign: name=number ...` and `campaign failure: ...`; the race
//! models, the test harness and shuttle have lines of their own. Whatever else stands in a log is
//! not looked at.

use std::collections::BTreeMap;

/// Failures that are kept; the log has them all.
const FAILURES_MAX: usize = 10;

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Numbers by name.
    pub(crate) sums: BTreeMap<String, u64>,
    /// What failed, in the order of the log.
    pub(crate) failures: Vec<String>,
    /// What was not there.
    pub(crate) skipped: Option<String>,
    /// Panics: some tests want them, so they explain a failure and are none.
    pub(crate) panics: Vec<String>,
}

impl Counts {
    /// Reads a log.
    pub(crate) fn read(log: &str) -> Self {
        let mut counts = Counts::default();
        let mut lines = log.lines().peekable();
        while let Some(line) = lines.next() {
            let next = lines.peek().copied().unwrap_or_default();
            counts.line(line, next);
        }
        counts
    }

    /// Adds to a number.
    pub(crate) fn add(&mut self, name: &str, more: u64) {
        *self.sums.entry(name.to_owned()).or_default() += more;
    }

    /// Adds another log's.
    pub(crate) fn join(&mut self, other: Counts) {
        other.sums.iter().for_each(|(name, &sum)| self.add(name, sum));
        self.skipped = self.skipped.take().or(other.skipped);
        other.failures.into_iter().for_each(|failure| self.fail(failure));
        self.panics.extend(other.panics);
        self.panics.truncate(FAILURES_MAX);
    }

    /// Keeps a failure.
    pub(crate) fn fail(&mut self, failure: String) {
        if self.failures.len() < FAILURES_MAX && !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    fn line(&mut self, line: &str, next: &str) {
        // The harness leaves `test x ... ` at the beginning of the line.
        if let Some((_, words)) = line.split_once("campaign: ") {
            self.named(words);
        } else if let Some((_, failure)) = line.split_once("campaign failure: ") {
            self.fail(failure.to_owned());
        } else if let Some((_, model)) = line.split_once("model ") {
            self.model(model);
        } else if let Some(passed) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        {
            let (number, _) = passed.1.split_once(' ').unwrap_or_default();
            self.add("tests_passed", number.parse().unwrap_or(0));
        } else if let Some((_, file)) = line.split_once("failing schedule persisted to file: ") {
            self.fail(format!("the schedule in {file}"));
        } else if let (true, Some(test)) = (line.ends_with("... FAILED"), line.strip_prefix("test ")) {
            self.fail(format!("test {}", test.trim_end_matches(" ... FAILED")));
        } else if line.contains("panicked at ") && self.panics.len() < FAILURES_MAX {
            self.panics
                .push(format!("{}: {next}", line.trim_end_matches(':')));
        } else if line.starts_with("caught   ") || line.starts_with("TIMEOUT  ") {
            self.add("mutants_caught", 1);
        } else if line.starts_with("MISSED   ") {
            // Whether the survivor is explained is for `mutants` to judge.
            self.add("mutants_survived", 1);
        } else if let Some(inputs) = line.strip_prefix("stat::number_of_executed_units:") {
            self.add("fuzz_inputs", inputs.trim().parse().unwrap_or(0));
        } else if let Some((_, hint)) = line.split_once("SKIPPED") {
            self.skipped = Some(hint.trim_matches([' ', ':', '(', ')']).to_owned());
        } else if line.contains("Sanitizer: ") {
            self.fail(line.to_owned());
        }
    }

    fn named(&mut self, words: &str) {
        for word in words.split_whitespace() {
            if let Some((name, number)) = word.split_once('=')
                && let Ok(number) = number.parse()
            {
                self.add(name, number);
            }
        }
    }

    /// `title: bound, 12 executions, 0.01 s`, or `caught at execution 3`.
    fn model(&mut self, text: &str) {
        let words: Vec<&str> = text.split([' ', ',', '\n']).collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
        for (n, &word) in words.iter().enumerate() {
            match word {
                "executions" => {
                    self.add("models", 1);
                    self.add("executions", number(n.wrapping_sub(1)).unwrap_or(0));
                    self.add("models_cut", u64::from(text.contains("not explored to the end")));
                }
                "execution" if text.contains("caught at execution") => {
                    self.add("models_of_defects", 1);
                    self.add("executions", number(n + 1).unwrap_or(0));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what was printed is counted, and nothing else. Method: lines as they stand in logs.
    use super::*;

    #[test]
    fn numbers_of_a_name_add_up() {
        let counts = Counts::read(
            "test deep ... campaign: schedules=500 scenarios=1\nok\ncampaign: schedules=7 x=y\nschedules=9\n",
        );
        let sums: Vec<(&str, u64)> = counts
            .sums
            .iter()
            .map(|(name, &sum)| (name.as_str(), sum))
            .collect();
        assert_eq!(sums, [("scenarios", 1), ("schedules", 507)]);
        assert!(counts.failures.is_empty());
    }

    #[test]
    fn models_and_tests_are_counted() {
        let counts = Counts::read(
            "model a: b: up to 2 preemptions, 12 executions, 0.10 s\n\
             test x ... model c: every interleaving, 5 executions, not explored to the end, 9.00 s\n\
             model d: every interleaving, caught at execution 3, 0.00 s\n\
             test result: ok. 4 passed; 0 failed; 0 ignored\n",
        );
        for (name, sum) in [
            ("models", 2),
            ("executions", 20),
            ("models_cut", 1),
            ("models_of_defects", 1),
            ("tests_passed", 4),
        ] {
            assert_eq!(counts.sums.get(name), Some(&sum), "{name}");
        }
    }

    #[test]
    fn failures_are_kept_with_what_shows_them_again() {
        let counts = Counts::read(
            "thread 'a' panicked at verify/src/x.rs:1:2:\nbyte 3 differs\ncampaign failure: simulate --seed 4\n\
             failing schedule persisted to file: /t/schedule000.txt\ntest a ... FAILED\n",
        );
        assert_eq!(
            counts.panics,
            ["thread 'a' panicked at verify/src/x.rs:1:2: byte 3 differs"]
        );
        assert_eq!(
            counts.failures,
            [
                "simulate --seed 4",
                "the schedule in /t/schedule000.txt",
                "test a"
            ]
        );
    }
}
