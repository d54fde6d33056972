//! Any bytes as a stored object, and as a page: what fuzzing calls, and the test that replays its
//! corpus.
//!
//! Only in tests and with the feature `bodies`. Pure functions over `codec` and the objects'
//! headers; no store is involved, whose own tests flip the bits of objects that are stored.

use super::heap::{HEADER, Header};
use crate::codec::{Kind, Workbench, decode, decode_delta, encode};
use memfold_host::addr::{PAGE_SIZE, PageBytes};

/// Reads the bytes as a header, as bodies of every kind, and as a page and its base.
///
/// # Panics
/// When a decoder does, or when what was encoded does not come back.
pub fn check(data: &[u8]) {
    if let Some(header) = data.first_chunk::<HEADER>().and_then(Header::read) {
        assert_eq!(Header::read(&header.to_bytes()), Some(header), "a header changed");
    }
    let [cut, rest @ ..] = data else { return };
    let (body, base) = rest.split_at(rest.len() * usize::from(*cut) / 256);
    let (mut room, mut out) = ([0xee; PAGE_SIZE], [0xdd; PAGE_SIZE]);
    let kinds = || (0..8).filter_map(Kind::from_number);
    for kind in kinds() {
        // Each answer is right: what a body of any bytes means is for a checksum to say.
        let _ = decode(kind, body, &mut out);
        for base_kind in kinds() {
            let _ = decode_delta((kind, body), (base_kind, base), &mut room, &mut out);
        }
    }
    comes_back(&page_of(body, 0), None);
    comes_back(&page_of(body, 0), Some(&page_of(base, 0)));
    // A page that differs from its base in few bytes.
    let page = page_of(body, 1);
    let mut near = page;
    for (n, &byte) in base.iter().enumerate().take(64) {
        near[(n * 211 + usize::from(byte) * 16) % PAGE_SIZE] ^= byte;
    }
    comes_back(&near, Some(&page));
}

/// The bytes again and again, each time with something added.
fn page_of(bytes: &[u8], add: u8) -> PageBytes {
    let mut page = [0; PAGE_SIZE];
    for (round, part) in page.chunks_mut(bytes.len().max(1)).enumerate() {
        for (to, from) in part.iter_mut().zip(bytes) {
            *to = from.wrapping_add(add.wrapping_mul(round as u8));
        }
    }
    page
}

fn comes_back(page: &PageBytes, base: Option<&PageBytes>) {
    let mut bench = Workbench::new().expect("memory");
    let found = encode(page, base, &mut bench);
    let (mut room, mut out) = ([0; PAGE_SIZE], [0x77; PAGE_SIZE]);
    let body = bench.body(found);
    let decoded = match base {
        Some(base) if found.kind.is_delta() => {
            decode_delta((found.kind, body), (Kind::Raw, base), &mut room, &mut out)
        }
        _ => decode(found.kind, body, &mut out),
    };
    assert!(
        decoded.is_some() && out == *page,
        "a page of {found:?} did not come back"
    );
}

#[cfg(test)]
mod tests {
    /// Goal: what fuzzing found stays found. Method: its corpus, without the fuzzer.
    #[test]
    fn the_corpus_is_harmless() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/bodies");
        let files = std::fs::read_dir(folder).expect("the corpus is there");
        let bodies: Vec<_> = files
            .map(|file| std::fs::read(file.expect("a file").path()).expect("it can be read"))
            .collect();
        assert!(bodies.len() >= 10, "a corpus of {} is none", bodies.len());
        bodies.iter().for_each(|body| super::check(body));
    }
}
