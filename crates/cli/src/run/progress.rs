//! The progress bar, on stderr when that is a terminal, and how long each phase took.
//!
//! Phases follow one another on one thread; within the phase of calls, any
//! thread moves the bar.

use crate::error::Error;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use memfold::Recorder;
use serde::Serialize;
use std::time::{Duration, Instant};

/// A part of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Compile,
    Warm,
    Fork,
    Calls,
}

/// Seconds spent in each phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Seconds {
    pub(crate) compile: f64,
    pub(crate) warm: f64,
    pub(crate) fork: f64,
    pub(crate) calls: f64,
}

/// The bar and the clock.
pub(crate) struct Progress {
    begin: Instant,
    phase: Option<(Phase, Instant)>,
    seconds: Seconds,
    bar: ProgressBar,
    /// Is told which phase begins.
    recorder: Option<Recorder>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress {
            begin: Instant::now(),
            phase: None,
            seconds: Seconds::default(),
            bar: ProgressBar::hidden(),
            recorder: None,
        }
    }

    /// The phases that begin from now on are noted in this record.
    pub(crate) fn record(&mut self, recorder: Option<Recorder>) {
        self.recorder = recorder;
    }

    /// Takes the last sample of the record, if there is one.
    pub(crate) fn end_record(&mut self) -> Result<(), Error> {
        let recorder = self.recorder.take();
        recorder
            .map_or(Ok(()), Recorder::finish)
            .map_err(Error::RecordEnd)
    }

    /// Ends the phase before and begins this one, of so many steps.
    pub(crate) fn begin(&mut self, phase: Phase, steps: u64) {
        self.end();
        self.phase = Some((phase, Instant::now()));
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        let text = match steps {
            0 | 1 => "{spinner} {msg:8} {elapsed}",
            _ => "{spinner} {msg:8} {wide_bar} {pos}/{len} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(text) {
            bar.set_style(style);
        }
        let name = match phase {
            Phase::Compile => "compile",
            Phase::Warm => "warm up",
            Phase::Fork => "fork",
            Phase::Calls => "calls",
        };
        bar.set_message(name);
        if let Some(recorder) = &self.recorder {
            recorder.mark(name);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        self.bar = bar;
    }

    /// Ends the phase; nothing is left of its bar.
    pub(crate) fn end(&mut self) {
        self.bar.finish_and_clear();
        let Some((phase, begin)) = self.phase.take() else {
            return;
        };
        let seconds = begin.elapsed().as_secs_f64();
        match phase {
            Phase::Compile => self.seconds.compile += seconds,
            Phase::Warm => self.seconds.warm += seconds,
            Phase::Fork => self.seconds.fork += seconds,
            Phase::Calls => self.seconds.calls += seconds,
        }
    }

    /// The bar of this phase, to be moved by those who work.
    pub(crate) fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Of the phases that ended.
    pub(crate) fn seconds(&self) -> Seconds {
        self.seconds
    }

    /// Since the beginning.
    pub(crate) fn total_seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
