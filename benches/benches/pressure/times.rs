//! How long accesses took, and what one process tells another of them.

use std::time::Duration;

/// How many accesses took how long: sixteen steps to each doubling of nanoseconds.
#[derive(Default)]
pub struct Times {
    steps: Vec<u64>,
    /// All of them.
    pub count: u64,
}

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        let nanos = (time.as_nanos() as u64).max(16);
        let octave = nanos.ilog2() as usize;
        let step = octave * 16 + (nanos >> (octave - 4) & 15) as usize;
        self.steps.resize(self.steps.len().max(1024), 0);
        self.steps[step] += 1;
        self.count += 1;
    }

    /// Those of another thread.
    pub fn join(&mut self, other: &Self) {
        self.steps.resize(self.steps.len().max(other.steps.len()), 0);
        for (step, more) in self.steps.iter_mut().zip(&other.steps) {
            *step += more;
        }
        self.count += other.count;
    }

    /// What so large a share of them did not pass, in nanoseconds.
    pub fn quantile(&self, share: f64) -> u64 {
        let (mut left, most) = ((self.count as f64 * share) as u64, self.steps.len());
        let step = (0..most).find(|&n| {
            let here = left < self.steps[n];
            left = left.saturating_sub(self.steps[n]);
            here
        });
        step.map_or(0, |n| (16 + n as u64 % 16) << (n / 16 - 4))
    }
}

/// What came of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Accesses in a second, of all threads.
    pub rate: f64,
    /// Half of them took at most so many microseconds,
    pub p50: f64,
    /// 99 of a hundred so many,
    pub p99: f64,
    /// and 999 of a thousand so many.
    pub p999: f64,
    /// Per cent of a core.
    pub cpu: f64,
    /// What zram held in the end, in MiB.
    pub held_mib: u64,
}

impl Outcome {
    /// Undoes the printing.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<f64> = text.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [rate, p50, p99, p999, cpu, held] = numbers[..] else {
            return None;
        };
        Some(Self {
            rate,
            p50,
            p99,
            p999,
            cpu,
            held_mib: held as u64,
        })
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rate,
            p50,
            p99,
            p999,
            cpu,
            held_mib,
        } = self;
        write!(f, "{rate} {p50} {p99} {p999} {cpu} {held_mib}")
    }
}
