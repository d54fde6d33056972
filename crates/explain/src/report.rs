//! What came of the explorations: plain values, for `text` and for programs. Made once per call, on
//! the calling thread.

use crate::chapters::{Chapter, plain};
use memfold_sync::model::{Defect, Explored, Failure, Preemptions, Recording, Rule, explore};
use memfold_sync::trace::{Kind, Step, Timeline};
use serde::Serialize;
use std::time::Instant;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every defect was caught and every rule holds.
    pub ok: bool,
    /// How long the explorations took.
    pub seconds: f64,
    /// By chapter.
    pub chapters: Vec<Told>,
}

/// One chapter.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// Its heading.
    pub title: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// What came of its rules.
    pub rules: Vec<RuleTold>,
}

/// One rule, as memfold has it.
#[derive(Clone, Debug, Serialize)]
pub struct RuleTold {
    /// What races with what.
    pub title: &'static str,
    /// How far it was explored.
    pub bound: String,
    /// Whether no execution failed.
    pub holds: bool,
    /// How many interleavings were executed.
    pub executions: u64,
    /// How long that took.
    pub seconds: f64,
    /// The execution that failed, if one did.
    pub failure: Option<FailureTold>,
    /// The ways to break it.
    pub defects: Vec<DefectTold>,
}

/// One way to break a rule.
#[derive(Clone, Debug, Serialize)]
pub struct DefectTold {
    /// Its name.
    pub name: &'static str,
    /// What is different.
    pub title: &'static str,
    /// Which decision goes wrong by it.
    pub wrong: &'static str,
    /// Whether an execution failed, in the way that is the defect's.
    pub caught: bool,
    /// How many interleavings were executed until then.
    pub executions: u64,
    /// The execution that failed.
    pub failure: Option<FailureTold>,
}

/// An execution that failed, told.
#[derive(Clone, Debug, Serialize)]
pub struct FailureTold {
    /// What went wrong in it, in one sentence.
    pub message: String,
    /// Where it was noticed: file and line.
    pub at: String,
    /// Which of the threads noticed; none when it was the check after the race.
    pub thread: Option<usize>,
    /// The threads.
    pub threads: Vec<&'static str>,
    /// What they did, in this order: an interleaving, or, where there is none with these values, as
    /// it happened.
    pub steps: Vec<StepTold>,
    /// How many of the steps stand before the failure.
    pub failed_after: usize,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct StepTold {
    /// Which thread; none for the model itself, after the race.
    pub thread: Option<usize>,
    /// `load`, `store`, `refused`, `lock`, `data` or `note`.
    pub kind: &'static str,
    /// A sentence without a subject: the thread is it.
    pub text: String,
    /// File and line.
    pub at: String,
}

/// Explores the chapters; `progress` hears what comes next.
pub fn tell(chapters: &[Chapter], mut progress: impl FnMut(&str)) -> Report {
    let begin = Instant::now();
    let mut told = Vec::new();
    for chapter in chapters {
        let rules = chapter.rules.iter().map(|rule| tell_rule(rule, &mut progress));
        told.push(Told {
            title: chapter.title,
            about: chapter.about,
            rules: rules.collect(),
        });
    }
    let rules = || told.iter().flat_map(|chapter| &chapter.rules);
    let caught = rules().flat_map(|rule| &rule.defects).all(|defect| defect.caught);
    Report {
        ok: caught && rules().all(|rule| rule.holds),
        seconds: begin.elapsed().as_secs_f64(),
        chapters: told,
    }
}

fn tell_rule(rule: &Rule, progress: &mut impl FnMut(&str)) -> RuleTold {
    let mut defects = Vec::new();
    for defect in &rule.defects {
        progress(defect.name);
        defects.push(tell_defect(
            defect,
            explore(rule.bound, &defect.model, Recording::On),
        ));
    }
    progress(plain(rule.title));
    // Without the log, which costs time: the many executions that hold are told by their number.
    // One that fails is looked for again, in the same order.
    let mut explored = explore(rule.bound, &rule.model, Recording::Silent);
    if explored.failure.is_some() {
        explored = explore(rule.bound, &rule.model, Recording::On);
    }
    RuleTold {
        title: plain(rule.title),
        bound: match rule.bound {
            Preemptions::All => "every interleaving".to_owned(),
            Preemptions::UpTo(most) => format!("every interleaving with up to {most} preemptions"),
        },
        holds: explored.failure.is_none() && explored.executions > 0,
        executions: explored.executions,
        seconds: explored.time.as_secs_f64(),
        failure: explored.failure.map(tell_failure),
        defects,
    }
}

fn tell_defect(defect: &Defect, explored: Explored) -> DefectTold {
    let caught = |failure: &Failure| failure.message.contains(defect.fails_with);
    DefectTold {
        name: defect.name,
        title: plain(defect.title),
        wrong: defect.wrong,
        caught: explored.failure.as_ref().is_some_and(caught),
        executions: explored.executions,
        failure: explored.failure.map(tell_failure),
    }
}

fn tell_failure(failure: Failure) -> FailureTold {
    let timeline = failure.timeline;
    FailureTold {
        message: unordered(&failure.message, &timeline).unwrap_or_else(|| sentence(&failure.message)),
        at: timeline.failed_at,
        thread: timeline.failed,
        threads: timeline.threads,
        failed_after: timeline.failed_after,
        steps: timeline.steps.into_iter().map(tell_step).collect(),
    }
}

/// What a panic says, without what `assert_eq!` puts around it.
fn sentence(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or_default();
    let said = line.strip_prefix("assertion `left == right` failed: ");
    said.unwrap_or(line).to_owned()
}

fn tell_step(step: Step) -> StepTold {
    StepTold {
        thread: step.thread,
        kind: step.kind.word(),
        text: step.text,
        at: step.at,
    }
}

/// What loom calls a causality violation, in terms of the steps: the last one, and the one that
/// nothing orders it with.
fn unordered(message: &str, timeline: &Timeline) -> Option<String> {
    if !message.contains("Causality violation") {
        return None;
    }
    let (last, before) = timeline.steps[..timeline.failed_after].split_last()?;
    let writes = |step: &Step| step.text.starts_with("writes");
    let conflicts = |step: &&Step| {
        let same = step.kind == Kind::Data && step.on == last.on;
        same && step.thread != last.thread && (writes(step) || writes(last))
    };
    let other = before.iter().rev().find(conflicts)?;
    let who = timeline.threads.get(other.thread?)?;
    let did = |step: &Step| if writes(step) { "write" } else { "read" };
    Some(format!(
        "nothing orders this {} with the {} by '{who}'",
        did(last),
        did(other)
    ))
}
