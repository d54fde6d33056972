//! Frames: how the bytes of a record are divided, and what can be wrong with them. Pure.

use crate::words::{Words, put};
use twox_hash::XxHash3_64;

/// The version that this crate writes. It reads no other.
pub const VERSION: u8 = 1;

/// The most bytes of a frame's body. The sample of a memory with more spaces than fit has the first
/// ones alone, and says how many there are.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

pub(crate) const MAGIC: [u8; 8] = *b"memfold\x01";

/// Frames that say what is in a record.
pub(crate) const SCHEMA: u8 = b'S';
/// A sample by itself.
pub(crate) const KEY: u8 = b'K';
/// What differs from the sample before.
pub(crate) const DELTA: u8 = b'D';

/// Why a record, or the rest of one, cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It does not begin as a record does.
    #[error("this is no record of memfold's: `memfold run --record FILE` writes one")]
    NotARecord,
    /// It is of another version.
    #[error(
        "the record is of version {found}, and this program reads version {VERSION}: use the memfold that wrote it"
    )]
    Version {
        /// Which one.
        found: u8,
    },
    /// A frame is not what was written: what came before it is right.
    #[error("the record is damaged {at} bytes after its beginning; what stands before that was read")]
    Damaged {
        /// Bytes from the record's beginning to the frame's.
        at: u64,
    },
}

/// One frame of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub kind: u8,
    pub body: &'a [u8],
    /// All its bytes.
    pub len: usize,
}

/// What the first bytes of a rest of a record are.
pub(crate) enum Found<'a> {
    Frame(Frame<'a>),
    /// The beginning of a frame.
    More,
    /// Nothing that could be a frame.
    Bad,
}

fn check(kind: u8, body: &[u8]) -> [u8; 4] {
    (XxHash3_64::oneshot_with_seed(kind.into(), body) as u32).to_le_bytes()
}

/// Writes a frame.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    put(out, body.len() as u64);
    out.extend_from_slice(body);
    out.extend_from_slice(&check(kind, body));
}

/// Looks at the first frame of some bytes.
pub(crate) fn first(bytes: &[u8]) -> Found<'_> {
    let mut words = Words(bytes);
    let Ok(kind) = words.byte() else {
        return Found::More;
    };
    let Ok(len) = words.number() else {
        // A number has at most ten bytes.
        return if bytes.len() > 10 { Found::Bad } else { Found::More };
    };
    let Some(len) = usize::try_from(len).ok().filter(|&len| len <= MAX_FRAME_BYTES) else {
        return Found::Bad;
    };
    let (Ok(body), Ok(sum)) = (words.take(len), words.take(4)) else {
        return Found::More;
    };
    if sum != check(kind, body) {
        return Found::Bad;
    }
    let len = bytes.len() - words.0.len();
    Found::Frame(Frame { kind, body, len })
}
