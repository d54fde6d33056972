//! The sample that is looked at, and what of those before it is shown: [`Window`]. Plain values.

use memfold_record::{Latency, RATES, Sample, Schema};

/// Samples of a window: one for each column of a wide screen, and one to begin with.
pub(crate) const LONGEST: usize = 256;

/// How far back latencies reach: microseconds.
const LATENCY_US: u64 = 10_000_000;

/// See the head of the file.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub schema: Schema,
    /// The sample that is looked at.
    pub now: Sample,
    /// Of each sample, when it was taken, and the counters of [`RATES`].
    points: Vec<(u64, [Option<u64>; RATES.len()])>,
    /// Latencies of the samples, with when they were taken; the newest last.
    latencies: Vec<(u64, Vec<Latency>)>,
}

impl Window {
    pub fn new(schema: &Schema) -> Self {
        Self {
            schema: schema.clone(),
            now: Sample::default(),
            points: Vec::new(),
            latencies: Vec::new(),
        }
    }

    /// The next sample, which is looked at if none follows.
    pub fn push(&mut self, sample: &Sample) {
        let values = RATES.map(|(_, name)| sample.value(&self.schema, name));
        self.points.push((sample.at_us, values));
        self.latencies.push((sample.at_us, sample.latencies.clone()));
        self.now = sample.clone();
    }

    /// Events a second between each two samples, the newest last; `None` where one is not known.
    pub fn rates(&self, of: usize) -> Vec<Option<u64>> {
        let rate = |pair: &[(u64, [Option<u64>; RATES.len()])]| {
            let us = pair[1].0.saturating_sub(pair[0].0).max(1);
            let events = pair[1].1[of]?.saturating_sub(pair[0].1[of]?);
            Some((u128::from(events) * 1_000_000 / u128::from(us)) as u64)
        };
        self.points.windows(2).map(rate).collect()
    }

    /// How long the steps of each kind took in the last ten seconds, or since the window begins.
    pub fn latencies(&self) -> Vec<(&str, Latency)> {
        let Some((at_us, now)) = self.latencies.last() else {
            return Vec::new();
        };
        let since = at_us.saturating_sub(LATENCY_US);
        let begin = self.latencies.partition_point(|(at_us, _)| *at_us < since);
        // A record's first sample has all that was before it.
        let before =
            (self.latencies.len() > 1).then(|| &self.latencies[begin.min(self.latencies.len() - 2)].1);
        let nothing = Latency::default();
        let kinds = self.schema.latencies.iter().map(String::as_str).enumerate();
        let of = |(at, kind)| {
            let then = before.and_then(|before| before.get(at)).unwrap_or(&nothing);
            (kind, now.get(at).unwrap_or(&nothing).since(then))
        };
        kinds.map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    //! Goal: rates and latencies are those between samples. Method: by example.
    use super::*;
    use memfold_record::{Nature, Series, Unit};

    #[test]
    fn rates_are_by_the_second_and_latencies_of_the_last_ten() {
        let series = Series::new("count.faults", Unit::Count, Nature::Counter);
        let schema = Schema {
            series: vec![series],
            latencies: vec!["load".to_owned()],
            ..Schema::default()
        };
        let mut window = Window::new(&schema);
        assert!(window.latencies().is_empty() && window.rates(0).is_empty());
        for second in 0..30u64 {
            let mut latency = Latency::default();
            latency.counts[50] = second;
            let value = (second != 7).then_some(second * 50);
            window.push(&Sample {
                at_us: second * 500_000,
                values: vec![value],
                latencies: vec![latency],
                ..Sample::default()
            });
        }
        let rates = window.rates(0);
        assert_eq!(
            (rates[0], rates[6], rates[7], rates[8]),
            (Some(100), None, None, Some(100))
        );
        assert_eq!(window.rates(2)[0], None, "not in the record");
        let latencies = window.latencies();
        assert_eq!((latencies[0].0, latencies[0].1.total()), ("load", 20));
    }
}
