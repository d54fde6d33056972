//! What the merge scanner remembers of a frame between two rounds, in one 32-bit word.
//!
//! A page that changed since the last round is left alone for 1, 2, 4, then 8 rounds (Linux: smart
//! scan); one that nobody saw before waits a round in the background, so that a page that is merged
//! and broken apart again and again is merged once. The word is a hint: only the scanner writes it,
//! and a fresh mapping of the frame clears it.
//!
//! ```text
//!  31                 8 7       4 3      0
//! | part of the hash   | changes | rounds |    0 = never seen
//! ```

use memfold_sync::atomic::{AtomicU32, Ordering};

const ROUNDS: u32 = 0xf;
const CHANGES: u32 = 4;
const CHANGES_MASK: u32 = 0xf << CHANGES;
const HASH: u32 = 8;
/// After so many changes the wait grows no more: 8 rounds.
const MOST_CHANGES: u32 = 4;

/// How a page compares with its last scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// It was never scanned.
    New,
    /// It is the same.
    Same,
    /// It has changed.
    Changed,
}

/// The word. Without a lock: a hint on its own.
#[derive(Debug, Default)]
pub(crate) struct History(AtomicU32);

impl History {
    fn load(&self) -> u32 {
        // Relaxed: a hint on its own.
        self.0.load(Ordering::Relaxed)
    }

    fn store(&self, word: u32) {
        // Relaxed: a hint on its own.
        self.0.store(word, Ordering::Relaxed);
    }

    /// The frame has another content: a fresh use of it.
    pub fn forget(&self) {
        self.store(0);
    }

    /// Whether the page is left alone this round; the round is counted.
    pub(crate) fn rests(&self) -> bool {
        let word = self.load();
        let rests = word & ROUNDS != 0;
        if rests {
            self.store(word - 1);
        }
        rests
    }

    /// Compares with the last scan, and remembers this one.
    pub(crate) fn note(&self, hash: u128) -> Since {
        let part = (hash as u32 | 1) << HASH;
        let word = self.load();
        if word == 0 {
            self.store(part);
            return Since::New;
        }
        if word >> HASH == part >> HASH {
            self.store(part);
            return Since::Same;
        }
        let changes = ((word & CHANGES_MASK) >> CHANGES).min(MOST_CHANGES - 1);
        self.store(part | (changes + 1) << CHANGES | 1 << changes);
        Since::Changed
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: a page that changes every time rests for 1, 2, 4, 8, 8 rounds. Method: count the
    /// rounds between two looks.
    #[test]
    fn changes_make_it_rest() {
        let history = History::default();
        assert!(!history.rests());
        assert_eq!(history.note(0), Since::New);
        let mut waits = Vec::new();
        for n in 1..6 {
            assert_eq!(history.note(n << 4), Since::Changed);
            waits.push((0..).take_while(|_| history.rests()).count());
        }
        assert_eq!(waits, [1, 2, 4, 8, 8]);
    }

    /// Goal: a page that holds still is looked at every round, and a fresh frame is new.
    #[test]
    fn the_same_is_looked_at() {
        let history = History::default();
        assert_eq!(history.note(77), Since::New);
        assert_eq!(history.note(77), Since::Same);
        assert!(!history.rests());
        history.forget();
        assert_eq!(history.note(77), Since::New);
    }

    /// Goal: no hash is taken for a page that was never seen.
    #[test]
    fn every_hash_is_seen() {
        for hash in [0, 1, 2, u128::MAX] {
            let history = History::default();
            assert_eq!(history.note(hash), Since::New);
            assert_eq!(history.note(hash), Since::Same);
        }
    }
}
