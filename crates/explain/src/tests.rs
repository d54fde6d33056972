//! What is told is true: every defect is caught and told with its threads and its decision, every
//! rule holds. The explorations are real ones, so one test makes them all and looks at everything.

use crate::chapters::{Extent, chapters, defects, only};
use crate::report::{DefectTold, Report, tell};
use crate::text::{Colour, Look, render};

fn all() -> (Report, Vec<String>) {
    let mut heard = Vec::new();
    let report = tell(&chapters(Extent::All), |next| heard.push(next.to_owned()));
    (report, heard)
}

fn told(report: &Report) -> impl Iterator<Item = &DefectTold> {
    let rules = report.chapters.iter().flat_map(|chapter| &chapter.rules);
    rules.flat_map(|rule| &rule.defects)
}

/// Goal: every defect is caught, with a timeline in which two threads act and that says where it
/// went wrong, and every rule holds in more than no interleavings. Method: all of it, once.
#[test]
fn everything_is_told() {
    let (report, heard) = all();
    assert!(report.ok, "{report:?}");
    let names: Vec<_> = told(&report).map(|defect| defect.name).collect();
    let listed: Vec<_> = defects().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, listed);
    assert!(names.len() >= 15, "{names:?}");
    assert!(names.iter().all(|name| heard.iter().any(|heard| heard == name)));
    told(&report).for_each(check_defect);
    for rule in report.chapters.iter().flat_map(|chapter| &chapter.rules) {
        assert!(rule.holds && rule.executions > 1, "{rule:?}");
    }
    check_text(&report);
    check_json(&report);
}

fn check_defect(defect: &DefectTold) {
    let failure = defect.failure.as_ref().expect("it is caught");
    assert!(defect.caught && defect.executions > 0, "{defect:?}");
    assert!(
        !defect.wrong.is_empty() && !failure.message.is_empty(),
        "{defect:?}"
    );
    let acted = |n| failure.steps.iter().any(|step| step.thread == Some(n));
    assert!((0..2).all(acted), "one thread alone is no race: {defect:?}");
    assert!(
        failure.threads.iter().all(|name| *name != "a thread"),
        "{defect:?}"
    );
    assert!(
        failure.at.starts_with("crates/mm/src/"),
        "told of the manager's own sources: {defect:?}"
    );
    assert!(
        (1..=failure.steps.len()).contains(&failure.failed_after),
        "{defect:?}"
    );
}

/// What people see: both threads, the wrong decision, the numbers; nothing wider than it may be.
fn check_text(report: &Report) {
    for (width, colour) in [(80, Colour::None), (100, Colour::Ansi)] {
        let text = render(report, Look { width, colour });
        for defect in told(report) {
            let failure = defect.failure.as_ref().expect("it is caught");
            let begin = text.find(&format!("{}: {}", defect.name, defect.title));
            let told = &text[begin.expect("it is there")..];
            let told = &told[..told.find("as memfold has it").expect("the rule follows")];
            assert!(told.contains("WRONG: ") && told.contains("  Wrong: "), "{told}");
            let head = told.lines().nth(3).expect("a line of names");
            let both = failure
                .threads
                .iter()
                .filter(|name| head.contains(first_word(name)));
            assert!(both.count() >= 2, "{head}");
        }
        if colour == Colour::None {
            assert!(!text.contains('\x1b'));
            let long = text.lines().find(|line| line.chars().count() > width);
            assert_eq!(long, None);
        }
    }
}

fn first_word(name: &str) -> &str {
    name.split(' ').next().expect("a word")
}

/// What programs see.
fn check_json(report: &Report) {
    let json = serde_json::to_string(report).expect("plain values");
    let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(read["ok"], true);
    let split = &read["chapters"][0]["rules"][0]["defects"][0];
    assert_eq!(split["name"], "split-store");
    assert_eq!(split["failure"]["threads"][1], "walker (page_referenced)");
    assert!(
        split["failure"]["steps"]
            .as_array()
            .is_some_and(|steps| steps.len() > 3)
    );
}

/// Goal: the seed's race is told as the message told it. Method: the walker's load stands between
/// the two stores.
#[test]
fn the_seed_is_between_two_stores() {
    let report = tell(&only("split-store").expect("it is listed"), |_| ());
    let failure = told(&report).next().and_then(|defect| defect.failure.as_ref());
    let failure = failure.expect("it is caught");
    let kinds: Vec<_> = failure
        .steps
        .iter()
        .map(|step| (step.thread, step.kind))
        .collect();
    let between = [(Some(0), "store"), (Some(1), "load"), (Some(0), "store")];
    assert!(kinds.ends_with(&between), "{kinds:?}");
    assert_eq!((failure.thread, failure.failed_after), (Some(1), kinds.len() - 1));
    assert!(
        failure.steps[2].text.contains("leaf 2, of no kind"),
        "{failure:?}"
    );
}

/// Goal: one defect is all that is told when one is asked for. Method: each by name, and a name
/// that is none.
#[test]
fn one_is_told_alone() {
    for (name, _) in defects() {
        let chapters = only(name).expect("it is listed");
        let named: Vec<_> = chapters
            .iter()
            .flat_map(|c| &c.rules)
            .flat_map(|r| &r.defects)
            .collect();
        assert_eq!(named.len(), 1, "{name}");
        assert_eq!(named[0].name, name);
    }
    assert!(only("no such defect").is_none());
}

/// Goal: what fails is said to fail. Method: a defect in the place of its rule, and a rule in the
/// place of its defect.
#[test]
fn a_failure_is_not_hidden() {
    let mut chapters = only("split-store").expect("it is listed");
    let rule = &mut chapters[0].rules[0];
    std::mem::swap(&mut rule.model, &mut rule.defects[0].model);
    let report = tell(&chapters, |_| ());
    assert!(!report.ok);
    let rule = &report.chapters[0].rules[0];
    assert!(!rule.holds && rule.failure.is_some() && !rule.defects[0].caught);
    let look = Look {
        width: 80,
        colour: Colour::None,
    };
    let text = render(&report, look);
    assert!(text.contains("NOT CAUGHT: split-store"), "{text}");
    assert!(text.contains("FAILED  as memfold has it"), "{text}");
}
