//! What of a record is shown: a few hundred moments from its beginning to its end, each with its
//! numbers, and the pages of one space. Plain values.

use memfold_record::{Account, Latency, PageMap, RATES, RecordError, Recording, Row, Sample, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Moments that are shown, at the most.
const MOMENTS: usize = 240;

/// A moment of a record.
pub(crate) struct Moment {
    pub at_us: u64,
    pub account: Account,
    /// The counters of [`RATES`].
    pub counters: [Option<u64>; RATES.len()],
    /// The pages of the space that is shown, if it lived.
    pub map: Option<PageMap>,
}

/// See the head of the file.
pub(crate) struct History {
    pub schema: Schema,
    pub moments: Vec<Moment>,
    /// When the program said what.
    pub marks: Vec<(u64, String)>,
    pub last: Sample,
    /// The space whose pages are shown: the one with the most clones at the end; it may have ended
    /// before them.
    pub shown: Option<u64>,
    /// What clones at the end are copies of, as it was when it was last seen, if it has ended.
    pub ended: BTreeMap<u64, Arc<Row>>,
    pub ending: Option<String>,
}

impl History {
    pub fn read(recording: &Recording) -> Result<Self, RecordError> {
        let schema = recording.schema();
        let count = recording.len();
        let last = recording.sample(count - 1)?;
        let shown = most_clones(&last);
        let parents: BTreeSet<u64> = last.spaces.values().filter_map(|row| row.parent).collect();
        let mut ended = BTreeMap::new();
        let (mut moments, mut marks, mut no) = (Vec::new(), Vec::new(), 0);
        recording.each(0..count, |sample| {
            marks.extend(sample.marks.iter().map(|mark| (sample.at_us, mark.clone())));
            for parent in parents.iter().filter(|parent| !last.spaces.contains_key(parent)) {
                let row = sample.spaces.get(parent).filter(|row| row.pages.is_some());
                ended.extend(row.map(|row| (*parent, row.clone())));
            }
            // The last one always, and those before it as evenly as can be.
            let due = moments.len() * (count - 1) / (MOMENTS - 1).min(count.max(2) - 1);
            if no >= due || no == count - 1 {
                moments.push(moment(schema, sample, shown));
            }
            no += 1;
        })?;
        Ok(Self {
            schema: schema.clone(),
            moments,
            marks,
            last,
            shown,
            ended,
            ending: recording.ending(),
        })
    }

    /// How long the record is.
    pub fn end_us(&self) -> u64 {
        self.last.at_us
    }

    /// The times of each kind of step, since the beginning.
    pub fn latencies(&self) -> impl Iterator<Item = (&str, &Latency)> {
        let kinds = self.schema.latencies.iter().map(String::as_str);
        kinds.zip(&self.last.latencies)
    }

    /// Events a second up to each moment but the first.
    pub fn rates(&self, of: usize) -> Vec<(u64, Option<u64>)> {
        let rate = |pair: &[Moment]| {
            let us = pair[1].at_us.saturating_sub(pair[0].at_us).max(1);
            let events = pair[1].counters[of].zip(pair[0].counters[of]);
            let rate =
                events.map(|(now, then)| u128::from(now.saturating_sub(then)) * 1_000_000 / u128::from(us));
            (pair[1].at_us, rate.map(|rate| rate as u64))
        };
        self.moments.windows(2).map(rate).collect()
    }
}

fn moment(schema: &Schema, sample: &Sample, shown: Option<u64>) -> Moment {
    let row = shown.and_then(|shown| sample.spaces.get(&shown));
    Moment {
        at_us: sample.at_us,
        account: Account::of(schema, sample),
        counters: RATES.map(|(_, name)| sample.value(schema, name)),
        map: row.filter(|row| row.pages.is_some()).map(|row| row.map.clone()),
    }
}

/// The space of which the most copies live; the first one where there is none.
fn most_clones(sample: &Sample) -> Option<u64> {
    let mut clones: BTreeMap<u64, u32> = BTreeMap::new();
    for parent in sample.spaces.values().filter_map(|row| row.parent) {
        *clones.entry(parent).or_default() += 1;
    }
    let most = clones.iter().rev().max_by_key(|(_, count)| **count);
    let first = sample.spaces.keys().next();
    most.map(|(birth, _)| *birth).or(first.copied())
}
