//! A record as a whole, to be looked at at any of its moments: [`Recording`].
//!
//! It has the record's bytes, and where each sample begins in them; a sample is put together when
//! it is asked for, from the last one before it that says all. Immutable.

use crate::decoder::{Decoder, read_schema, time_of};
use crate::frame::{DELTA, Found, KEY, MAGIC, RecordError, SCHEMA, first};
use crate::sample::{Sample, Schema};
use crate::words::Words;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longer records are not opened.
const MAX_BYTES: u64 = 1 << 30;

/// Why a record cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refuses.
    #[error("cannot read the record {}: {source}", .path.display())]
    System {
        /// Which record.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too long.
    #[error("the record {} has more than {MAX_BYTES} bytes, which is more than is opened at once", .path.display())]
    TooLong {
        /// Which record.
        path: PathBuf,
    },
    /// It has no sample that can be read.
    #[error("{}: {source}", .path.display())]
    Record {
        /// Which record.
        path: PathBuf,
        /// What is wrong with it.
        source: RecordError,
    },
    /// It ends before its first sample.
    #[error("the record {} ends before its first sample", .path.display())]
    Empty {
        /// Which record.
        path: PathBuf,
    },
}

/// A record that was read to its end, or up to where it is damaged.
///
/// Takes as much memory as the record is long, and 24 bytes for each sample.
#[derive(Clone, Debug)]
pub struct Recording {
    bytes: Vec<u8>,
    schema: Schema,
    samples: Vec<Place>,
    ending: Ending,
}

/// Where a sample stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    at_us: u64,
    /// The last sample, up to this one, that says all.
    key: u32,
}

/// How a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    Cut,
    Damaged(RecordError),
}

impl Recording {
    /// Reads a record of at most 1 GiB.
    ///
    /// # Errors
    /// [`OpenError`]; not when the record is cut off or damaged behind its first sample:
    /// [`ending`](Self::ending) says so.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let system = |source| OpenError::System {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(system)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(system)?;
        let path = path.to_owned();
        if bytes.len() as u64 > MAX_BYTES {
            return Err(OpenError::TooLong { path });
        }
        match Self::of(bytes) {
            Ok(Some(recording)) => Ok(recording),
            Ok(None) => Err(OpenError::Empty { path }),
            Err(source) => Err(OpenError::Record { path, source }),
        }
    }

    /// A record of these bytes; `None` when they end before its first sample.
    ///
    /// # Errors
    /// [`RecordError`] when there is no sample before what is wrong.
    pub fn of(bytes: Vec<u8>) -> Result<Option<Self>, RecordError> {
        let mut decoder = Decoder::new();
        decoder.push(&bytes[..bytes.len().min(MAGIC.len())]);
        decoder.step()?;
        let mut recording = Self {
            bytes,
            schema: Schema::default(),
            samples: Vec::new(),
            ending: Ending::Whole,
        };
        recording.index();
        match (recording.samples.is_empty(), recording.ending) {
            (false, _) => Ok(Some(recording)),
            (true, Ending::Damaged(error)) => Err(error),
            (true, _) => Ok(None),
        }
    }

    /// Finds all samples, and the first thing that is wrong.
    fn index(&mut self) {
        let (mut at, mut key, mut known) = (MAGIC.len(), None, false);
        if self.bytes.len() < at {
            self.ending = Ending::Cut;
        }
        // Ends: each turn takes a frame off the bytes.
        while at < self.bytes.len() {
            let damaged = Ending::Damaged(RecordError::Damaged { at: at as u64 });
            let frame = match first(&self.bytes[at..]) {
                Found::Frame(frame) => frame,
                Found::More => {
                    self.ending = Ending::Cut;
                    return;
                }
                Found::Bad => {
                    self.ending = damaged;
                    return;
                }
            };
            match (frame.kind, known) {
                (SCHEMA, false) => match read_schema(Words(frame.body)) {
                    Ok(schema) => (self.schema, known) = (schema, true),
                    Err(_) => self.ending = damaged,
                },
                (KEY | DELTA, true) => {
                    let no = self.samples.len() as u32;
                    if frame.kind == KEY {
                        key = Some(no);
                    }
                    match (key, time_of(frame.body)) {
                        (Some(key), Some(at_us)) => self.samples.push(Place { at, at_us, key }),
                        _ => self.ending = damaged,
                    }
                }
                (SCHEMA | KEY | DELTA, _) => self.ending = damaged,
                _ => (),
            }
            if self.ending != Ending::Whole {
                return;
            }
            at += frame.len;
        }
    }

    /// What the numbers are.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many samples there are, at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Why the record ends where it does, for people; nothing when it ends with a whole sample.
    #[must_use]
    pub fn ending(&self) -> Option<String> {
        match self.ending {
            Ending::Whole => None,
            Ending::Cut => Some("the record was cut off; what stands before that was read".to_owned()),
            Ending::Damaged(error) => Some(error.to_string()),
        }
    }

    /// When a sample was taken: microseconds since the record began.
    ///
    /// # Panics
    /// When there is no such sample.
    #[must_use]
    pub fn at_us(&self, sample: usize) -> u64 {
        self.samples[sample].at_us
    }

    /// The last sample that was taken by then, the first one if there is none.
    #[must_use]
    pub fn by(&self, at_us: u64) -> usize {
        self.samples
            .partition_point(|place| place.at_us <= at_us)
            .saturating_sub(1)
    }

    /// A sample; takes time for up to 64 samples before it.
    ///
    /// # Errors
    /// [`RecordError::Damaged`].
    ///
    /// # Panics
    /// When there is no such sample.
    pub fn sample(&self, sample: usize) -> Result<Sample, RecordError> {
        let mut last = None;
        self.each(sample..sample + 1, |sample| last = Some(sample.clone()))?;
        Ok(last.expect("one was asked for"))
    }

    /// Calls `step` with each sample of a range; takes time for up to 64 more.
    ///
    /// # Errors
    /// [`RecordError::Damaged`]; `step` has seen the samples before that.
    ///
    /// # Panics
    /// When there are no such samples.
    pub fn each(
        &self,
        range: std::ops::Range<usize>,
        mut step: impl FnMut(&Sample),
    ) -> Result<(), RecordError> {
        let Some(place) = self.samples.get(range.start).filter(|_| !range.is_empty()) else {
            return Ok(());
        };
        let mut decoder = Decoder::from_key(&self.schema);
        for no in place.key as usize..range.end {
            let begin = self.samples[no].at;
            let end = self.samples.get(no + 1).map_or(self.bytes.len(), |next| next.at);
            decoder.push(&self.bytes[begin..end]);
            let damaged = RecordError::Damaged { at: begin as u64 };
            if !decoder.step().map_err(|_| damaged)? {
                return Err(damaged);
            }
            if no >= range.start {
                step(decoder.sample());
            }
        }
        Ok(())
    }
}
