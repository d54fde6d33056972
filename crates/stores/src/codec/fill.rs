//! Pages of one repeated word (Linux: same-filled pages); zeros above all.
//!
//! Pure functions; called by `codec` and, before anything else, by `put`.

use memfold_host::addr::PageBytes;

/// The word, when the page is that word of 8 bytes repeated (little endian).
pub(crate) fn word_of(page: &PageBytes) -> Option<u64> {
    let (words, _) = page.as_chunks::<8>();
    let (first, last) = (words[0], words[words.len() - 1]);
    // The ends first: most pages differ there, and the scan is spared.
    (first == last && words.iter().all(|&word| word == first)).then(|| u64::from_le_bytes(first))
}

/// Fills the page with the word.
pub(crate) fn spread(word: u64, out: &mut PageBytes) {
    let (words, _) = out.as_chunks_mut::<8>();
    words.fill(word.to_le_bytes());
}
