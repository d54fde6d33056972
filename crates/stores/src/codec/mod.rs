//! How a page becomes few bytes, and back.
//!
//! Pure functions on byte slices: no lock, no shared state, no memory but what is handed in
//! ([`Workbench`]). `compressed` calls [`encode`] and [`decode`] outside its lock. A body is
//! described by its [`Kind`] and its length; a decoder answers `None` to any body that it cannot
//! have written, and never panics, since bodies come from memory that may have gone bad. Whether a
//! decoded page is the right one is for the caller's checksum to say.

pub(crate) mod fill;
pub(crate) mod runs;
#[cfg(test)]
mod tests;

use lz4_flex::block::{self, CompressTable};
use memfold_host::addr::{PAGE_SIZE, PageBytes};

/// A body at most this long is taken without trying the slower encodings.
const SHORT: usize = 256;
/// A delta at most this long is taken without trying plain LZ4.
const FAIR: usize = PAGE_SIZE / 4;
/// The longest body worth its decompression; above it a page is kept raw.
const WORTH: usize = PAGE_SIZE - PAGE_SIZE / 16;
/// Runs longer than this lose against LZ4 with the base as dictionary, so they are given up early.
const RUNS_MAX: usize = 2048;
/// Bytes of the largest table that `lz4_flex` may want for two pages.
const LZ4_TABLE: usize = 16 << 10;
/// What it wants as output room for one page.
const LZ4_ROOM: usize = block::get_maximum_output_size(PAGE_SIZE);

/// How a body is encoded. The numbers are what an object's header says; 0 and 7 are illegal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The page itself.
    Raw = 1,
    /// An LZ4 block.
    Lz4 = 2,
    /// Runs ([`runs`]) over a page of zeros.
    Sparse = 3,
    /// Runs over the base page.
    Runs = 4,
    /// An LZ4 block with the base page as dictionary.
    Dict = 5,
    /// One word of 8 bytes, repeated.
    Fill = 6,
}

impl Kind {
    /// The kind with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [
            Self::Raw,
            Self::Lz4,
            Self::Sparse,
            Self::Runs,
            Self::Dict,
            Self::Fill,
        ]
        .into_iter()
        .find(|&kind| kind as u8 == number)
    }

    /// Whether a body of this kind needs a base page to be decoded.
    pub(crate) fn is_delta(self) -> bool {
        matches!(self, Self::Runs | Self::Dict)
    }
}

/// The room that encoding takes, kept off the stack and used again.
pub(crate) struct Workbench {
    table: CompressTable,
    best: Vec<u8>,
    next: Vec<u8>,
}

impl Workbench {
    /// About 17 KiB of room; `None` when the system has no memory for it.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            best: zeros(LZ4_ROOM)?,
            next: zeros(LZ4_ROOM)?,
            table: has_table().then(CompressTable::small)?,
        })
    }

    /// The body that the last [`encode`] on this bench found.
    pub(crate) fn body(&self, found: Found) -> &[u8] {
        &self.best[..found.len]
    }
}

/// So many zeros; `None` when the system has no memory for them.
pub(crate) fn zeros(len: usize) -> Option<Vec<u8>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).ok()?;
    zeros.resize(len, 0);
    Some(zeros)
}

/// Whether the system has memory for a table of LZ4, which the library demands of it and would end
/// the process for: asked for and given back just before.
fn has_table() -> bool {
    let mut room = Vec::<u8>::new();
    let got = room.try_reserve_exact(LZ4_TABLE).is_ok();
    // Otherwise the compiler would see that nobody uses it.
    std::hint::black_box(&mut room);
    got
}

/// What [`encode`] settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// How the body is encoded.
    pub(crate) kind: Kind,
    /// Bytes of the body.
    pub(crate) len: usize,
}

/// Encodes the page in the fewest bytes found, as a difference to `base` where that pays.
/// The body is [`Workbench::body`].
pub(crate) fn encode(page: &PageBytes, base: Option<&PageBytes>, bench: &mut Workbench) -> Found {
    if let Some(word) = fill::word_of(page) {
        bench.best[..8].copy_from_slice(&word.to_le_bytes());
        return Found {
            kind: Kind::Fill,
            len: 8,
        };
    }
    let mut best = None;
    if let Some(base) = base {
        bench.offer(&mut best, Kind::Runs, |out, _| {
            runs::encode(page, base, &mut out[..RUNS_MAX])
        });
    }
    if longer(best, SHORT) {
        bench.offer(&mut best, Kind::Sparse, |out, _| {
            runs::encode(page, &ZEROS, &mut out[..SHORT])
        });
    }
    if let Some(base) = base.filter(|_| longer(best, SHORT) && has_table()) {
        bench.offer(&mut best, Kind::Dict, |out, _| {
            block::compress_into_with_dict(page, out, base).ok()
        });
    }
    if longer(best, FAIR) {
        bench.offer(&mut best, Kind::Lz4, |out, table| {
            block::compress_into_with_table(page, out, table).ok()
        });
    }
    best.unwrap_or_else(|| {
        bench.best[..PAGE_SIZE].copy_from_slice(page);
        Found {
            kind: Kind::Raw,
            len: PAGE_SIZE,
        }
    })
}

impl Workbench {
    /// Tries one encoding and keeps it when it beats the best so far. A delta must win over a plain
    /// body by an eighth, since it keeps its base alive and costs a second decoding.
    fn offer(
        &mut self,
        best: &mut Option<Found>,
        kind: Kind,
        attempt: impl FnOnce(&mut [u8], &mut CompressTable) -> Option<usize>,
    ) {
        let Some(len) = attempt(&mut self.next, &mut self.table) else {
            return;
        };
        // What is not worth its decompression loses against nothing at all: the page is kept raw.
        let limit = best.map_or(WORTH * 8 + 1, |old| weight(old.kind, old.len));
        if weight(kind, len) < limit {
            std::mem::swap(&mut self.best, &mut self.next);
            *best = Some(Found { kind, len });
        }
    }
}

/// Whether nothing was found yet, or only a body longer than `bytes`.
fn longer(best: Option<Found>, bytes: usize) -> bool {
    best.is_none_or(|found| found.len > bytes)
}

/// What a body of this kind costs, in eighths of a byte.
fn weight(kind: Kind, len: usize) -> usize {
    if kind.is_delta() { len * 9 } else { len * 8 }
}

static ZEROS: PageBytes = [0; PAGE_SIZE];

/// Decodes a body that needs no base. `None` when it is malformed; `out` is then unspecified.
pub(crate) fn decode(kind: Kind, body: &[u8], out: &mut PageBytes) -> Option<()> {
    match kind {
        Kind::Raw => *out = *<&PageBytes>::try_from(body).ok()?,
        Kind::Lz4 => {
            let len = block::decompress_into(body, out).ok()?;
            (len == PAGE_SIZE).then_some(())?;
        }
        Kind::Sparse => {
            out.fill(0);
            runs::apply(body, out)?;
        }
        Kind::Fill => fill::spread(u64::from_le_bytes(body.try_into().ok()?), out),
        Kind::Runs | Kind::Dict => return None,
    }
    Some(())
}

/// Decodes a delta: `base_kind` and `base_body` are its base's, which is no delta; `base_page` is
/// room for it. `None` when either is malformed; `out` is then unspecified.
pub(crate) fn decode_delta(
    (kind, body): (Kind, &[u8]),
    (base_kind, base_body): (Kind, &[u8]),
    base_page: &mut PageBytes,
    out: &mut PageBytes,
) -> Option<()> {
    match kind {
        Kind::Runs => {
            decode(base_kind, base_body, out)?;
            runs::apply(body, out)
        }
        Kind::Dict => {
            decode(base_kind, base_body, base_page)?;
            let len = block::decompress_into_with_dict(body, out, base_page.as_slice()).ok()?;
            (len == PAGE_SIZE).then_some(())
        }
        _ => None,
    }
}
