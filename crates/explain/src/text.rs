//! A [`Report`] for people: each failed execution as a timeline with a column for each thread.
//! Pure.
//!
//! ```text
//!      write fault         | walker              |
//!   1  writes the word     |                     | file:line
//!   2                      | reads the word      | file:line
//! ```
//! Lines are at most as long as [`Look`] says, but never shorter than what 60 columns take.

use crate::report::{DefectTold, FailureTold, Report, RuleTold};
use std::fmt::Write;

/// How it is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The columns that a line may take.
    pub width: usize,
    /// Whether what matters is in colour.
    pub colour: Colour,
}

/// Colour, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// By the escape sequences that every terminal knows.
    Ansi,
    /// Plain text.
    None,
}

/// What a piece of text is.
#[derive(Clone, Copy)]
enum Role {
    Heading,
    Good,
    Bad,
    Aside,
}

const PREFACE: &str = "These are executions of memfold's own sources, of just now, under loom, which takes the threads \
                       through every order of their accesses to words, locks and plain data, and a load through every \
                       value that it may return. Each defect is put back and explored until something breaks; then \
                       comes the same as memfold has it.";
/// Number and space before the columns.
const GUTTER: usize = 5;
/// Between two columns.
const RULE: &str = " │ ";
const LEAST_WIDTH: usize = 60;

/// The whole text, with a line break at its end.
#[must_use]
pub fn render(report: &Report, look: Look) -> String {
    let width = look.width.max(LEAST_WIDTH);
    let mut page = Page {
        text: String::new(),
        look: Look { width, ..look },
    };
    page.paragraph("", PREFACE);
    page.text.push('\n');
    for chapter in &report.chapters {
        page.line(Role::Heading, chapter.title);
        page.line(Role::Heading, &"=".repeat(chapter.title.len()));
        page.paragraph("", chapter.about);
        page.text.push('\n');
        for rule in &chapter.rules {
            rule.defects.iter().for_each(|defect| page.defect(defect));
            page.rule(rule);
        }
    }
    page.verdict(report);
    page.text
}

struct Page {
    text: String,
    look: Look,
}

impl Page {
    fn paint(&self, role: Role, text: &str) -> String {
        let code = match role {
            Role::Heading => "1",
            Role::Good => "32",
            Role::Bad => "31",
            Role::Aside => "2",
        };
        match self.look.colour {
            Colour::Ansi if !text.trim().is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    fn line(&mut self, role: Role, text: &str) {
        let text = self.paint(role, text);
        self.text.push_str(&text);
        self.text.push('\n');
    }

    /// A paragraph with something before its first line, under which the others are indented.
    fn paragraph(&mut self, before: &str, text: &str) {
        let indent = before.chars().count();
        for (n, line) in wrap(text, self.look.width - indent).iter().enumerate() {
            let before = if n == 0 { before } else { "" };
            // Writing to a text cannot fail.
            let _ = writeln!(self.text, "{before:indent$}{line}");
        }
    }

    fn defect(&mut self, defect: &DefectTold) {
        let caught = if defect.caught { "" } else { "NOT CAUGHT: " };
        let role = if defect.caught { Role::Heading } else { Role::Bad };
        self.line(role, &format!("{caught}{}: {}", defect.name, defect.title));
        match &defect.failure {
            Some(failure) => {
                let which = format!("caught at interleaving {}", group(defect.executions));
                self.line(Role::Aside, &which);
                self.text.push('\n');
                self.timeline(failure);
            }
            None => {
                let all = format!("no failure in {} interleavings", group(defect.executions));
                self.line(Role::Bad, &all);
            }
        }
        self.text.push('\n');
        self.paragraph("  Wrong: ", defect.wrong);
        self.text.push('\n');
    }

    fn rule(&mut self, rule: &RuleTold) {
        let mark = if rule.holds { "ok" } else { "FAILED" };
        let role = if rule.holds { Role::Good } else { Role::Bad };
        let mark = self.paint(role, mark);
        let _ = writeln!(self.text, "{mark}  as memfold has it: {}", rule.title);
        let said = match rule.holds {
            true => "explored, without a failure",
            false => "explored until one failed",
        };
        let executions = group(rule.executions);
        let (bound, seconds) = (&rule.bound, rule.seconds);
        self.paragraph(
            "    ",
            &format!("{executions} interleavings {said} ({bound}), in {seconds:.2} s"),
        );
        if let Some(failure) = &rule.failure {
            self.timeline(failure);
        }
        self.text.push('\n');
    }

    fn timeline(&mut self, failure: &FailureTold) {
        let sheet = Sheet::new(failure, self.look.width);
        let names: Vec<_> = sheet.columns.iter().map(|&n| failure.threads[n]).collect();
        self.row("", &names, "where", Role::Heading, &sheet);
        let mut line = "─".repeat(GUTTER);
        for _ in &sheet.columns {
            line += &format!("{}─┼─", "─".repeat(sheet.width));
        }
        line += &"─".repeat(sheet.place);
        self.line(Role::Aside, line.trim_end());
        for (n, step) in failure.steps.iter().enumerate() {
            if n == failure.failed_after {
                self.failure(failure, &sheet);
            }
            // What the model looks at after the race is no step of it.
            if let Some(thread) = step.thread {
                let role = if step.kind == "note" {
                    Role::Heading
                } else {
                    Role::Aside
                };
                self.cell(
                    &format!("{:>3}  ", n + 1),
                    thread,
                    &step.text,
                    &step.at,
                    role,
                    &sheet,
                );
            }
        }
        if failure.failed_after == failure.steps.len() {
            self.failure(failure, &sheet);
        }
    }

    fn failure(&mut self, failure: &FailureTold, sheet: &Sheet) {
        let what = format!("WRONG: {}", failure.message);
        match failure.thread {
            Some(thread) => self.cell("", thread, &what, &failure.at, Role::Bad, sheet),
            None => {
                let what = self.paint(Role::Bad, &format!("{what} ({})", short(&failure.at)));
                self.paragraph("     afterwards: ", &what);
            }
        }
    }

    /// A row in which one column says something.
    fn cell(&mut self, number: &str, thread: usize, text: &str, at: &str, role: Role, sheet: &Sheet) {
        let cells: Vec<_> = sheet
            .columns
            .iter()
            .map(|&column| if column == thread { text } else { "" })
            .collect();
        self.row(number, &cells, &short(at), role, sheet);
    }

    /// A row of cells, each as many lines as it takes.
    fn row(&mut self, number: &str, cells: &[&str], at: &str, role: Role, sheet: &Sheet) {
        let cells: Vec<_> = cells.iter().map(|text| wrap(text, sheet.width)).collect();
        let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
        for n in 0..lines {
            let number = if n == 0 { number } else { "" };
            let mut line = format!("{number:GUTTER$}");
            for cell in &cells {
                let text = cell.get(n).map_or("", String::as_str);
                let text = format!("{text:width$}", width = sheet.width);
                // A plain step is plain: the eye is to find what was decided.
                let plain = matches!(role, Role::Aside);
                line += &if plain { text } else { self.paint(role, &text) };
                line += &self.paint(Role::Aside, RULE);
            }
            let at = if n == 0 { at } else { "" };
            line += &self.paint(Role::Aside, at);
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    fn verdict(&mut self, report: &Report) {
        let rules = || report.chapters.iter().flat_map(|chapter| &chapter.rules);
        let defects = || rules().flat_map(|rule| &rule.defects);
        let caught = defects().filter(|defect| defect.caught).count();
        let failed = rules().filter(|rule| !rule.holds).count();
        let executions: u64 = rules().map(|rule| rule.executions).sum();
        let failed = match failed {
            0 => "none".to_owned(),
            failed => failed.to_string(),
        };
        let lines = [
            format!("{caught} of {} defects caught.", defects().count()),
            format!(
                "As memfold has it: {} interleavings; {failed} of {} rules failed. {:.1} s.",
                group(executions),
                rules().count(),
                report.seconds
            ),
        ];
        let role = if report.ok { Role::Good } else { Role::Bad };
        lines.iter().for_each(|line| self.line(role, line));
    }
}

/// How the columns of one timeline are cut.
struct Sheet {
    /// The threads that have one: those that did something.
    columns: Vec<usize>,
    /// Of each.
    width: usize,
    /// Of the last column, which says where.
    place: usize,
}

impl Sheet {
    fn new(failure: &FailureTold, width: usize) -> Self {
        let acts =
            |&n: &usize| failure.thread == Some(n) || failure.steps.iter().any(|s| s.thread == Some(n));
        let columns: Vec<_> = (0..failure.threads.len()).filter(acts).collect();
        let places = failure.steps.iter().map(|step| short(&step.at).len());
        let place = places.chain([short(&failure.at).len()]).max().unwrap_or(0);
        let taken = GUTTER + place + columns.len() * RULE.chars().count();
        let width = width.saturating_sub(taken) / columns.len().max(1);
        Self {
            columns,
            width: width.max(12),
            place,
        }
    }
}

/// A place without the folders above its room.
fn short(at: &str) -> String {
    let inside = at.split_once("/src/").map_or(at, |(_, inside)| inside);
    inside.to_owned()
}

/// Lines of at most `width` columns; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        let length = line.chars().count() + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if length < width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Thousands apart: `12,345`.
fn group(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
