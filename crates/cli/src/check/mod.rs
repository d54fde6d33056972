//! `memfold check`: whether this machine can run memfold, line by line, and whether it does.
//!
//! `machine.rs` judges what the probe of the Linux host and a few settings say; `trial.rs` runs a
//! small program on memfold's memory and knows every answer beforehand. Nothing is changed on the
//! machine.

mod machine;
mod trial;

use crate::args::CheckOptions;
use crate::error::{Error, Exit};
use crate::output;
use serde::Serialize;

/// What a line comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, but less well, or less far.
    Warning,
    /// It does not work.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    name: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it, if it is not well.
    advice: Option<String>,
}

impl Line {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Line {
            name,
            verdict: Verdict::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Line {
            verdict: Verdict::Warning,
            advice: Some(advice.into()),
            ..Line::ok(name, found)
        }
    }

    fn missing(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Line {
            verdict: Verdict::Missing,
            ..Line::warning(name, found, advice)
        }
    }
}

#[derive(Debug, Serialize)]
struct Findings {
    /// The worst of all lines.
    verdict: Verdict,
    lines: Vec<Line>,
}

/// Looks, tries, and prints what was found.
pub(crate) fn check(options: &CheckOptions) -> Result<Exit, Error> {
    let mut lines = machine::lines();
    lines.extend(trial::lines());
    let worst = lines.iter().map(|line| line.verdict).max();
    let findings = Findings {
        verdict: worst.unwrap_or(Verdict::Ok),
        lines,
    };
    let text = if options.json {
        // Names and texts: there is nothing that could fail.
        serde_json::to_string(&findings).unwrap_or_default() + "\n"
    } else {
        findings.text()
    };
    output::print(&text)?;
    Ok(match findings.verdict {
        Verdict::Ok | Verdict::Warning => Exit::Fine,
        Verdict::Missing => Exit::Machine,
    })
}

impl Findings {
    fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let mark = match line.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Missing => "MISSING",
            };
            text += &format!("{mark}  {:<22} {}\n", line.name, line.found);
            if let Some(advice) = &line.advice {
                text += &format!("{:33}-> {advice}\n", "");
            }
        }
        text += match self.verdict {
            Verdict::Ok => "\nThis machine can run memfold.\n",
            Verdict::Warning => "\nThis machine can run memfold, with the limits above.\n",
            Verdict::Missing => "\nThis machine cannot run memfold as it is.\n",
        };
        text
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the worst line decides, and what to do stands below its line. Method: lines by hand.
    use super::*;

    #[test]
    fn advice_is_printed() {
        let lines = vec![Line::ok("a", "1"), Line::missing("b", "none", "buy one")];
        let findings = Findings {
            verdict: Verdict::Missing,
            lines,
        };
        let text = findings.text();
        assert!(text.contains("ok       a "), "{text}");
        assert!(text.contains("MISSING  b                      none\n"), "{text}");
        assert!(text.contains("-> buy one\n\nThis machine cannot"), "{text}");
        assert!(Verdict::Missing > Verdict::Warning && Verdict::Warning > Verdict::Ok);
    }
}
