//! Samples as frames: each says what differs from the one before, and now and then one says all.
//!
//! The order of what a frame says stands here, and the same once more in `decoder.rs`, which reads
//! it. No lock; one writer.

use crate::frame::{DELTA, KEY, MAGIC, MAX_FRAME_BYTES, SCHEMA, put_frame};
use crate::latency::Latency;
use crate::sample::{MOST, MOST_SPACES, Made, PageMap, Row, Sample, Schema};
use crate::words::{put, put_change, put_text};

/// After so many samples one says all again, so that a reader can begin there.
const KEY_EACH: u32 = 64;

/// Makes a record of samples, bytes for a file or a socket.
///
/// Each call costs what differs from the sample before.
#[derive(Clone, Debug)]
pub struct Encoder {
    schema: Schema,
    before: Sample,
    /// Samples until the next one that says all.
    until_key: u32,
}

impl Encoder {
    /// For a record of this schema.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self {
            schema: schema.clone(),
            before: Sample::default(),
            until_key: 0,
        }
    }

    /// The first bytes of a record.
    #[must_use]
    pub fn begin(&self) -> Vec<u8> {
        let schema = &self.schema;
        let mut body = Vec::new();
        put(&mut body, schema.began_unix_us);
        put(&mut body, schema.labels.len() as u64);
        for (name, value) in &schema.labels {
            put_text(&mut body, name);
            put_text(&mut body, value);
        }
        put(&mut body, schema.series.len() as u64);
        for series in &schema.series {
            put_text(&mut body, &series.name);
            body.push(series.unit as u8);
            body.push(series.nature as u8);
        }
        put(&mut body, schema.latencies.len() as u64);
        for kind in &schema.latencies {
            put_text(&mut body, kind);
        }
        let mut bytes = MAGIC.to_vec();
        put_frame(&mut bytes, SCHEMA, &body);
        bytes
    }

    /// The bytes of one more sample.
    #[must_use]
    pub fn sample(&mut self, sample: &Sample) -> Vec<u8> {
        let kind = match self.until_key {
            0 => KEY,
            _ => DELTA,
        };
        if kind == KEY {
            self.until_key = KEY_EACH;
            self.before = Sample::default();
        }
        self.until_key -= 1;
        let mut body = Vec::new();
        put(&mut body, sample.at_us);
        self.put_values(&mut body, sample);
        self.put_latencies(&mut body, sample);
        put(&mut body, sample.marks.len().min(MOST) as u64);
        for mark in sample.marks.iter().take(MOST) {
            put_text(&mut body, mark);
        }
        let whole = self.put_spaces(&mut body, sample);
        if !whole {
            // What the reader has is not what this has: begin again with the next one.
            self.until_key = 0;
        }
        self.before.clone_from(sample);
        let mut bytes = Vec::new();
        put_frame(&mut bytes, kind, &body);
        bytes
    }

    /// Which are not known, then those that are.
    fn put_values(&self, body: &mut Vec<u8>, sample: &Sample) {
        let value = |of: &Sample, at: usize| of.values.get(at).copied().flatten();
        let all = 0..self.schema.series.len();
        let unknown: Vec<usize> = all.clone().filter(|&at| value(sample, at).is_none()).collect();
        put(body, unknown.len() as u64);
        unknown.iter().for_each(|&at| put(body, at as u64));
        for at in all {
            if let Some(now) = value(sample, at) {
                put_change(body, value(&self.before, at).unwrap_or(0), now);
            }
        }
    }

    /// The buckets that changed, each with its number.
    fn put_latencies(&self, body: &mut Vec<u8>, sample: &Sample) {
        let nothing = Latency::default();
        for at in 0..self.schema.latencies.len() {
            let now = sample.latencies.get(at).unwrap_or(&nothing);
            let before = self.before.latencies.get(at).unwrap_or(&nothing);
            let pairs = now.counts.iter().zip(&before.counts).enumerate();
            let changed: Vec<_> = pairs.filter(|(_, (now, before))| now != before).collect();
            put(body, changed.len() as u64);
            for (bucket, (&now, &before)) in changed {
                put(body, bucket as u64);
                put_change(body, before, now);
            }
        }
    }

    /// The spaces that ended, then those that are new or changed; false when not all of them fit.
    fn put_spaces(&self, body: &mut Vec<u8>, sample: &Sample) -> bool {
        let before = &self.before.spaces;
        let gone: Vec<u64> = before
            .keys()
            .filter(|no| !sample.spaces.contains_key(no))
            .copied()
            .collect();
        put(body, gone.len() as u64);
        gone.iter().for_each(|&no| put(body, no));
        let first = sample.spaces.iter().take(MOST_SPACES);
        let changed = first.filter(|(no, row)| before.get(no) != Some(row));
        let (mut rows, mut count) = (Vec::new(), 0);
        let mut whole = sample.spaces.len() <= MOST_SPACES;
        for (&no, row) in changed {
            let end = rows.len();
            put(&mut rows, no);
            put_row(&mut rows, row);
            if body.len() + rows.len() + 16 > MAX_FRAME_BYTES {
                rows.truncate(end);
                whole = false;
                break;
            }
            count += 1;
        }
        put(body, count);
        body.extend(rows);
        whole
    }
}

fn put_row(out: &mut Vec<u8>, row: &Row) {
    put(out, row.parent.map_or(0, |parent| parent.saturating_add(1)));
    let made = match row.made {
        Made::Created => 0,
        Made::Forked => 1,
        Made::Frozen => 2,
    };
    let looked = u8::from(row.pages.is_some());
    out.push(made | u8::from(row.condemned) << 2 | looked << 3);
    put(out, row.len.into());
    if let Some(pages) = row.pages {
        pages.iter().for_each(|&count| put(out, count.into()));
        put(out, row.looked_at_us);
        put_map(out, &row.map);
    }
}

fn put_map(out: &mut Vec<u8>, map: &PageMap) {
    put(out, map.cell_pages.into());
    put(out, map.stretches.len() as u64);
    for stretch in &map.stretches {
        // The state in the low four bits: most stretches are short.
        put(out, u64::from(stretch.cells) << 4 | stretch.state as u64);
    }
}
