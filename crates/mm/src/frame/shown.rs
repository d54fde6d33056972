//! What reclaim knows of the windows that show a frame: one word of hints, changed under the frame
//! lock.
//!
//! How many windows show it, about; which of them are asked next whether they use it; and how many
//! times in a row the only sign of use was that a window still shows it. Such a sign is weak: every
//! window that ever read the page gives it until it is asked, and thousands may. So it excuses a
//! frame a few times and no more: pages that everybody shows go last, but they go.

use memfold_sync::atomic::{AtomicU32, Ordering};

/// Turns in which the mappers of a frame are asked: bounds how far a walk has to go.
const TURNS: u32 = 64;

/// How many times in a row a frame stays for a window that still shows it.
pub(crate) const EXCUSES: u32 = 8;

// The parts of the word.
const TURN: u32 = 0xff;
const EXCUSE: u32 = 1 << 8;
const EXCUSED: u32 = 0xff << 8;
const WINDOW: u32 = 1 << 16;
const WINDOWS: u32 = 0xffff << 16;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Shown(AtomicU32);

impl Shown {
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn get(&self) -> u32 {
        // Relaxed: changed under the frame lock; who looks without it wants a hint.
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, word: u32) {
        // Relaxed: as above.
        self.0.store(word, Ordering::Relaxed);
    }

    /// No window shows it yet.
    pub fn begin(&self) {
        self.set(0);
    }

    /// One window more shows it, or perhaps showed it before.
    pub fn show(&self) {
        let word = self.get();
        if word & WINDOWS != WINDOWS {
            self.set(word + WINDOW);
        }
    }

    /// It was hidden in one window.
    pub fn hide(&self) {
        let word = self.get();
        if word & WINDOWS != 0 {
            self.set(word - WINDOW);
        }
    }

    /// Windows that show it: a hint, rather too many than too few.
    pub fn windows(&self) -> u32 {
        self.get() >> 16
    }

    /// Whose turn it is to be asked; the next ones have the next turn.
    pub fn next_turn(&self) -> u32 {
        let word = self.get();
        let turn = word & TURN;
        self.set((word & !TURN) | ((turn + 1) % TURNS));
        turn
    }

    /// The first have had their turn again.
    pub fn first_turn(&self) {
        self.set((self.get() & !TURN) | 1);
    }

    /// It was used for certain: from now on it may be excused as often as before.
    pub fn used(&self) {
        self.set(self.get() & !EXCUSED);
    }

    /// A window still shows it: whether it stays for that once more.
    pub fn excuse(&self) -> bool {
        let word = self.get();
        let may = (word & EXCUSED) < EXCUSES * EXCUSE;
        if may {
            self.set(word + EXCUSE);
        }
        may
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: the parts of the word do not touch each other, at their ends either.
    #[test]
    fn parts_are_apart() {
        let shown = Shown::new();
        shown.hide();
        assert_eq!(shown.windows(), 0, "fewer than none");
        for _ in 0..70_000 {
            shown.show();
        }
        assert_eq!(shown.windows(), 0xffff, "as many as can be told");
        let turns: Vec<u32> = (0..TURNS + 1).map(|_| shown.next_turn()).collect();
        assert_eq!(turns, (0..TURNS).chain([0]).collect::<Vec<_>>());
        let stays = (0..EXCUSES + 2).filter(|_| shown.excuse()).count();
        assert_eq!(stays as u32, EXCUSES);
        assert_eq!((shown.windows(), shown.next_turn()), (0xffff, 1));
        shown.first_turn();
        assert!(!shown.excuse());
        shown.used();
        assert!(shown.excuse());
        shown.hide();
        assert_eq!((shown.windows(), shown.next_turn()), (0xfffe, 1));
        shown.begin();
        assert_eq!((shown.windows(), shown.next_turn()), (0, 0));
    }
}
