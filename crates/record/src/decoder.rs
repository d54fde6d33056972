//! Frames as samples: bytes in any pieces are pushed in, samples are taken out. No lock; one
//! reader. The order of what a frame says is that of `encoder.rs`.

use crate::frame::{DELTA, Found, KEY, MAGIC, RecordError, SCHEMA, VERSION, first};
use crate::latency::{BUCKETS, Latency};
use crate::sample::{
    MOST, MOST_LATENCIES, MOST_SPACES, Made, Nature, PageMap, PageState, Row, Sample, Schema, Series,
    Stretch, Unit,
};
use crate::words::{Malformed, Words};
use std::sync::Arc;

/// Reads a record piece by piece.
///
/// What does not belong to a sample that was taken out yet stays in memory, at most one frame more
/// than what was pushed.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Bytes of these that were read.
    done: usize,
    /// Bytes of the record before these.
    before: u64,
    schema: Option<Schema>,
    begun: bool,
    sample: Sample,
    /// Whether the sample is one that others can differ from.
    whole: bool,
    failed: Option<RecordError>,
}

impl Decoder {
    /// For a record from its beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For samples of a record whose schema is known, from one that says all.
    pub(crate) fn from_key(schema: &Schema) -> Self {
        Self {
            schema: Some(schema.clone()),
            begun: true,
            ..Self::default()
        }
    }

    /// More bytes of the record.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.done);
        self.before += self.done as u64;
        self.done = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// What the record's numbers are, as soon as that was read.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    /// Bytes of the record that were read: those of whole frames.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.before + self.done as u64
    }

    /// Whether bytes were pushed that are the beginning of a frame and no more: the record was cut
    /// there, if nothing follows.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.done < self.bytes.len() || !self.begun
    }

    /// The next sample; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`RecordError`], the same from then on.
    pub fn next_sample(&mut self) -> Result<Option<Sample>, RecordError> {
        Ok(self.step()?.then(|| self.sample.clone()))
    }

    /// The same without giving it away: whether there was one more.
    pub(crate) fn step(&mut self) -> Result<bool, RecordError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.read().inspect_err(|&error| self.failed = Some(error))
    }

    /// The last sample that was read.
    pub(crate) fn sample(&self) -> &Sample {
        &self.sample
    }

    fn read(&mut self) -> Result<bool, RecordError> {
        if !self.begin()? {
            return Ok(false);
        }
        // Ends: each turn takes a frame off the bytes.
        loop {
            let at = self.position();
            let damaged = |_| RecordError::Damaged { at };
            let frame = match first(&self.bytes[self.done..]) {
                Found::Frame(frame) => frame,
                Found::More => return Ok(false),
                Found::Bad => return Err(RecordError::Damaged { at }),
            };
            self.done += frame.len;
            let words = Words(frame.body);
            match (frame.kind, &self.schema) {
                (SCHEMA, None) => self.schema = Some(read_schema(words).map_err(damaged)?),
                (KEY | DELTA, Some(schema)) => {
                    if frame.kind == KEY {
                        self.sample = Sample::default();
                    } else if !self.whole {
                        return Err(RecordError::Damaged { at });
                    }
                    self.whole = true;
                    read_sample(words, schema, &mut self.sample).map_err(damaged)?;
                    return Ok(true);
                }
                (SCHEMA | KEY | DELTA, _) => return Err(RecordError::Damaged { at }),
                _ => (),
            }
        }
    }

    /// Whether the first bytes were seen, and are a record's.
    fn begin(&mut self) -> Result<bool, RecordError> {
        if self.begun {
            return Ok(true);
        }
        let (name, seen) = (&MAGIC[..7], &self.bytes[self.done..]);
        let known = seen.len().min(name.len());
        if seen[..known] != name[..known] {
            return Err(RecordError::NotARecord);
        }
        match seen.get(name.len()) {
            None => Ok(false),
            Some(&VERSION) => {
                self.done += MAGIC.len();
                self.begun = true;
                Ok(true)
            }
            Some(&found) => Err(RecordError::Version { found }),
        }
    }
}

/// When a sample was taken, read without the rest of it.
pub(crate) fn time_of(body: &[u8]) -> Option<u64> {
    Words(body).number().ok()
}

pub(crate) fn read_schema(mut words: Words<'_>) -> Result<Schema, Malformed> {
    let mut schema = Schema {
        began_unix_us: words.number()?,
        ..Schema::default()
    };
    for _ in 0..words.count(MOST)? {
        schema.labels.push((words.text()?, words.text()?));
    }
    for _ in 0..words.count(MOST)? {
        let name = words.text()?;
        let unit = match words.byte()? {
            0 => Unit::Bytes,
            1 => Unit::Pages,
            2 => Unit::Count,
            3 => Unit::Nanoseconds,
            _ => return Err(Malformed),
        };
        let nature = match words.byte()? {
            0 => Nature::Gauge,
            1 => Nature::Counter,
            _ => return Err(Malformed),
        };
        schema.series.push(Series { name, unit, nature });
    }
    for _ in 0..words.count(MOST_LATENCIES)? {
        schema.latencies.push(words.text()?);
    }
    Ok(schema)
}

fn read_sample(mut words: Words<'_>, schema: &Schema, sample: &mut Sample) -> Result<(), Malformed> {
    sample.at_us = words.number()?;
    read_values(&mut words, schema, sample)?;
    sample
        .latencies
        .resize_with(schema.latencies.len(), Latency::default);
    for latency in &mut sample.latencies {
        for _ in 0..words.count(BUCKETS)? {
            let bucket = words.number()?;
            let bucket = usize::try_from(bucket).map_err(|_| Malformed)?;
            let count = latency.counts.get_mut(bucket).ok_or(Malformed)?;
            *count = words.changed(*count)?;
        }
    }
    sample.marks.clear();
    for _ in 0..words.count(MOST)? {
        sample.marks.push(words.text()?);
    }
    for _ in 0..words.count(MOST_SPACES)? {
        sample.spaces.remove(&words.number()?);
    }
    for _ in 0..words.count(MOST_SPACES)? {
        let no = words.number()?;
        sample.spaces.insert(no, Arc::new(read_row(&mut words)?));
    }
    let fits = sample.spaces.len() <= MOST_SPACES;
    fits.then_some(()).ok_or(Malformed)
}

fn read_values(words: &mut Words<'_>, schema: &Schema, sample: &mut Sample) -> Result<(), Malformed> {
    let mut known = vec![true; schema.series.len()];
    for _ in 0..words.count(schema.series.len())? {
        let at = usize::try_from(words.number()?).map_err(|_| Malformed)?;
        *known.get_mut(at).ok_or(Malformed)? = false;
    }
    sample.values.resize(schema.series.len(), None);
    for (value, known) in sample.values.iter_mut().zip(known) {
        *value = match known {
            true => Some(words.changed(value.unwrap_or(0))?),
            false => None,
        };
    }
    Ok(())
}

fn read_row(words: &mut Words<'_>) -> Result<Row, Malformed> {
    let parent = words.number()?.checked_sub(1);
    let flags = words.byte()?;
    let mut row = Row {
        parent,
        made: match flags & 3 {
            0 => Made::Created,
            1 => Made::Forked,
            2 => Made::Frozen,
            _ => return Err(Malformed),
        },
        condemned: flags & 4 != 0,
        len: words.small()?,
        ..Row::default()
    };
    if flags & 8 != 0 {
        let mut pages = [0; PageState::ALL.len()];
        for count in &mut pages {
            *count = words.small()?;
        }
        row.pages = Some(pages);
        row.looked_at_us = words.number()?;
        row.map = read_map(words)?;
    }
    Ok(row)
}

fn read_map(words: &mut Words<'_>) -> Result<PageMap, Malformed> {
    let cell_pages = words.small()?;
    let mut map = PageMap {
        cell_pages,
        stretches: Vec::new(),
    };
    let mut cells = 0u64;
    for _ in 0..words.count(PageMap::MAX_CELLS as usize)? {
        let word = words.number()?;
        let state = PageState::ALL.get((word & 15) as usize).ok_or(Malformed)?;
        cells += word >> 4;
        if cells > PageMap::MAX_CELLS.into() {
            return Err(Malformed);
        }
        map.stretches.push(Stretch {
            state: *state,
            cells: (word >> 4) as u32,
        });
    }
    Ok(map)
}
