//! What can be asked for, once: for `memfold explain race`, which passes it on, and for
//! `memfold-explain`, which reads it.

use clap::Args;

/// What is wanted of the races.
#[derive(Args, Debug)]
pub struct RaceOptions {
    /// Only this defect
    #[arg(long, value_name = "NAME")]
    pub defect: Option<String>,
    /// Also words that have nothing to do with that race: tables, swap slots, the budget
    #[arg(long, conflicts_with_all = ["defect", "list"])]
    pub all: bool,
    /// Only list the defects, with their names
    #[arg(long, conflicts_with_all = ["defect", "json"])]
    pub list: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl RaceOptions {
    /// The options as words again, behind the name of what they are for.
    #[must_use]
    pub fn words(&self) -> Vec<&str> {
        let flags = [(self.all, "--all"), (self.list, "--list"), (self.json, "--json")];
        let mut words = vec!["race"];
        words.extend(self.defect.iter().flat_map(|name| ["--defect", name]));
        words.extend(flags.iter().filter(|(on, _)| *on).map(|(_, word)| word));
        words
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what was asked for is passed on. Method: options by hand.
    use super::*;

    #[test]
    fn options_are_words_again() {
        let mut options = RaceOptions {
            defect: Some("x".to_owned()),
            all: false,
            list: false,
            json: true,
        };
        assert_eq!(options.words(), ["race", "--defect", "x", "--json"]);
        options.defect = None;
        options.all = true;
        assert_eq!(options.words(), ["race", "--all", "--json"]);
        options = RaceOptions {
            list: true,
            all: false,
            json: false,
            ..options
        };
        assert_eq!(options.words(), ["race", "--list"]);
    }
}
