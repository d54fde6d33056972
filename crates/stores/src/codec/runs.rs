//! The difference between two pages as runs of changed bytes.
//!
//! A body is a row of runs in rising order. Each is a little-endian token of two bytes, `n << 12 |
//! skip`, then a longer length where `n` says so, then the changed bytes:
//!
//! ```text
//! skip      unchanged bytes since the end of the run before (0..4095)
//! n 1..14   the run is n bytes long
//! n 15      one byte e follows: the run is 15 + e bytes long
//! n 0       two bytes follow, little endian: the length of the run
//! ```
//!
//! Changes are sought word by word and trimmed to the byte; two changes at most [`JOIN`] bytes
//! apart are one run, as a token costs two bytes. An empty body means equal pages. Pure functions,
//! called by `codec`.

use memfold_host::addr::{PAGE_SIZE, PageBytes};

/// Unchanged bytes that are cheaper to repeat than to skip.
const JOIN: usize = 2;
/// Pages are compared in blocks of this many bytes before any word is looked at.
const BLOCK: usize = 64;

/// Writes the runs that turn `base` into `page`. `None` when they do not fit into `out`.
pub(crate) fn encode(page: &PageBytes, base: &PageBytes, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer {
        page,
        out,
        len: 0,
        done: 0,
    };
    let mut open: Option<(usize, usize)> = None;
    let (blocks, _) = page.as_chunks::<BLOCK>();
    let (base_blocks, _) = base.as_chunks::<BLOCK>();
    for (at, (block, base_block)) in blocks.iter().zip(base_blocks).enumerate() {
        if block == base_block {
            continue;
        }
        for (start, end) in changes(block, base_block) {
            let (start, end) = (at * BLOCK + start, at * BLOCK + end);
            open = match open {
                Some((first, last)) if start - last <= JOIN => {
                    // It would not fit either when it ends.
                    (end - first <= writer.left()).then_some(())?;
                    Some((first, end))
                }
                Some(run) => {
                    writer.run(run)?;
                    Some((start, end))
                }
                None => Some((start, end)),
            };
        }
    }
    if let Some(run) = open {
        writer.run(run)?;
    }
    Some(writer.len)
}

/// The changed stretch of each changed word, as start and end in the block.
fn changes<'a>(
    block: &'a [u8; BLOCK],
    base: &'a [u8; BLOCK],
) -> impl Iterator<Item = (usize, usize)> + use<'a> {
    let words = block.as_chunks::<8>().0.iter().zip(base.as_chunks::<8>().0);
    words.enumerate().filter_map(|(at, (word, old))| {
        let diff = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*old);
        (diff != 0).then(|| {
            let first = diff.trailing_zeros() as usize / 8;
            let last = 7 - diff.leading_zeros() as usize / 8;
            (at * 8 + first, at * 8 + last + 1)
        })
    })
}

/// The body being written, and how far the page is told.
struct Writer<'a> {
    page: &'a PageBytes,
    out: &'a mut [u8],
    len: usize,
    done: usize,
}

impl Writer<'_> {
    /// Appends one run; `None` when there is no room for it.
    fn run(&mut self, (start, end): (usize, usize)) -> Option<()> {
        let len = end - start;
        debug_assert!(
            start >= self.done && len > 0 && end <= PAGE_SIZE,
            "runs rise and are not empty"
        );
        // A skip is below 4096 as a run is not empty; a length is at most 4096.
        let (skip, long) = ((start - self.done) as u16, len as u16);
        match len {
            1..=14 => self.put(&(long << 12 | skip).to_le_bytes())?,
            15..=270 => {
                self.put(&(15 << 12 | skip).to_le_bytes())?;
                self.put(&[(long - 15) as u8])?;
            }
            _ => {
                self.put(&skip.to_le_bytes())?;
                self.put(&long.to_le_bytes())?;
            }
        }
        let page = self.page;
        self.put(&page[start..end])?;
        self.done = end;
        Some(())
    }

    /// Bytes that there is room for.
    fn left(&self) -> usize {
        self.out.len() - self.len
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.out
            .get_mut(self.len..self.len + bytes.len())?
            .copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }
}

/// Applies the runs of `body` to a page that holds the base. `None` when the body is malformed.
pub(crate) fn apply(mut body: &[u8], page: &mut PageBytes) -> Option<()> {
    let mut at = 0;
    // Ends: each turn takes two bytes or more off the body.
    while !body.is_empty() {
        let token = u16::from_le_bytes(take(&mut body)?);
        let len = match token >> 12 {
            0 => usize::from(u16::from_le_bytes(take(&mut body)?)),
            15 => 15 + usize::from(take::<1>(&mut body)?[0]),
            short => usize::from(short),
        };
        at += usize::from(token & 0xfff);
        let (bytes, rest) = body.split_at_checked(len)?;
        page.get_mut(at..at + len)?.copy_from_slice(bytes);
        (at, body) = (at + len, rest);
    }
    Some(())
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(*head)
}
