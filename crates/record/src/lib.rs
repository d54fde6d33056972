//! The record of what a memory held and did over time: one stream of samples, for a file or a
//! socket; its writer and its reader.
//!
//! A record is a [`Schema`], which names the numbers, and then [`Sample`]s: the numbers at one
//! moment, how long faults took, and what the pages of each space are. This crate knows nothing of
//! the manager, so that a reader links no more than a reader needs.
//!
//! # The format, version 1
//!
//! ```text
//! record  := "memfold" version  frame*
//! frame   := kind  length  body  check
//! ```
//!
//! `version` and `kind` are bytes, `length` is a number, and `check` is the low half of the body's
//! XXH3 (with the kind as its seed) in four bytes, the lowest first. A number is seven bits a byte,
//! the lowest first, the highest bit of a byte saying that more follow. The first frame is the
//! schema (`S`); then come samples: whole ones (`K`), and such as say what differs from the one
//! before (`D`). Frames of other kinds are passed over: later versions may have more. What a schema
//! does not name is unknown to its reader, never zero.
//!
//! A record may end anywhere: all whole frames before the end are read. Nothing that a record says
//! makes the reader take more memory than a small multiple of the record's own length; frames have
//! at most [`MAX_FRAME_BYTES`].
//!
//! ```
//! use memfold_record::{Decoder, Encoder, Nature, Sample, Schema, Series, Unit};
//!
//! # fn main() -> Result<(), memfold_record::RecordError> {
//! let schema = Schema {
//!     series: vec![Series::new("held.private", Unit::Bytes, Nature::Gauge)],
//!     ..Schema::default()
//! };
//! let mut encoder = Encoder::new(&schema);
//! let mut record = encoder.begin();
//! let sample = Sample { at_us: 7, values: vec![Some(4096)], ..Sample::default() };
//! record.extend(encoder.sample(&sample));
//!
//! let mut decoder = Decoder::new();
//! decoder.push(&record);
//! assert_eq!(decoder.next_sample()?, Some(sample));
//! assert_eq!(decoder.schema(), Some(&schema));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod account;
#[cfg(any(test, feature = "bytes"))]
pub mod bytes;
mod decoder;
mod encoder;
mod file;
mod frame;
mod latency;
mod place;
mod recording;
mod sample;
mod words;

pub use account::{Account, Part};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use file::RecordFile;
pub use frame::{MAX_FRAME_BYTES, RecordError, VERSION};
pub use latency::{BUCKETS, Latency, bucket_end_ns, bucket_of};
pub use place::{PlaceError, own_sockets, socket_directory};
pub use recording::{OpenError, Recording};
pub use sample::{Made, Nature, PageMap, PageState, RATES, Row, Sample, Schema, Series, Stretch, Unit};
