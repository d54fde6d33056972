//! How reclaim is shared between pages that go to the store and pages that go to files (Linux:
//! `lru_note_cost`, `get_scan_count`).
//!
//! Each kind has queues of its own, so that a pass through a large file does not push out what
//! programs stored, and the other way round. What it costs to take a page of a kind is learned: one
//! that came back so soon that it should not have gone, one that had to be written before it could
//! go, and one that was looked at for nothing. Of the victims each kind gives a share that follows
//! from how many pages it has and what they cost lately; what is lately is measured in costs, so
//! there is no clock. A kind gives some of its pages however dear they are, so that it is noticed
//! when that changes. Numbers alone, under the lock of the queues
//! (`replacer.rs`).

use super::queue::Kind;

/// A page that is read or written costs so much, where one that is looked at for nothing costs 1.
pub(super) const MOVED: u32 = 32;

/// All costs count half when they are a quarter of the frames together, but not before they are so
/// much: a few pages that moved say little.
const REMEMBERED: u32 = 32 * MOVED;

/// A page of a kind that all costs are of counts as so much dearer than one of the other kind, and
/// not more: it is still looked at, so that it is noticed when that changes. (Linux takes 2: there
/// pages that are in use are recognized without a fault.)
const DEAREST: u64 = 16;

/// The weight of a page when both kinds cost the same.
const WEIGHT: u64 = 1 << 16;

/// A whole page of what is owed.
const WHOLE: i64 = 1024;

/// Most that is owed, in pages: what comes along beside victims is not what the balance asked for,
/// and is not made good for ever.
const MOST_OWED: i64 = 1024;

/// Costs, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// What each kind cost lately.
    costs: [u32; 2],
    /// Pages that files owe, in parts of [`WHOLE`]; negative: that the store is owed.
    owed: i64,
    /// Which kind was asked last for frames to be watched.
    watched: bool,
}

impl Balance {
    /// Taking pages of this kind cost so much, while there are so many frames.
    pub fn note(&mut self, kind: Kind, cost: u32, frames: u32) {
        let costs = &mut self.costs;
        costs[kind as usize] = costs[kind as usize].saturating_add(cost);
        if u64::from(costs[0]) + u64::from(costs[1]) > u64::from(REMEMBERED.max(frames / 4)) {
            costs.iter_mut().for_each(|cost| *cost /= 2);
        }
    }

    /// The share of the next victims that files give, in parts of [`WHOLE`], if there are so many
    /// frames of each kind; both kinds have a share as long as they have frames.
    fn share_of_files(&self, sizes: [u32; 2]) -> i64 {
        let all = u64::from(self.costs[0]) + u64::from(self.costs[1]);
        // The dearer one kind is, the less it gives.
        let weight = |kind: Kind| {
            let cost = all / DEAREST + u64::from(self.costs[kind as usize]) + 1;
            u128::from(sizes[kind as usize]) * u128::from(WEIGHT * (all + 1) / cost)
        };
        let (store, file) = (weight(Kind::Anonymous), weight(Kind::File));
        let share = file * WHOLE as u128 / (store + file).max(1);
        (share as i64).clamp(1, WHOLE - 1)
    }

    /// Of which kind the next victims are.
    pub fn next(&self, sizes: [u32; 2]) -> Kind {
        match sizes {
            [_, 0] => Kind::Anonymous,
            [0, _] => Kind::File,
            _ if self.owed > 0 => Kind::File,
            _ => Kind::Anonymous,
        }
    }

    /// So many frames of a kind were taken, of so many of each.
    pub fn took(&mut self, kind: Kind, frames: u32, sizes: [u32; 2]) {
        if sizes.contains(&0) {
            self.owed = 0;
            return;
        }
        let frames = i64::from(frames);
        self.owed += frames * self.share_of_files(sizes);
        if kind == Kind::File {
            self.owed -= frames * WHOLE;
        }
        self.owed = self.owed.clamp(-MOST_OWED * WHOLE, MOST_OWED * WHOLE);
    }

    /// Of which kind frames are watched first this time: by turns.
    pub fn next_watched(&mut self) -> Kind {
        self.watched = !self.watched;
        Kind::ALL[usize::from(self.watched)]
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    //! Goal: shares follow sizes and costs, and no kind is left out. Method: numbers.
    use super::*;

    /// How many of 10,000 victims, taken eight at a time, are files'.
    fn of_files(balance: &mut Balance, sizes: [u32; 2]) -> u32 {
        let turns = (0..1250).filter(|_| {
            let kind = balance.next(sizes);
            balance.took(kind, 8, sizes);
            kind == Kind::File
        });
        turns.count() as u32 * 8
    }

    fn near(have: u32, want: u32) {
        assert!(have.abs_diff(want) <= 300, "{have} of files, not {want}");
    }

    #[test]
    fn shares_follow_sizes() {
        for (sizes, want) in [
            ([100, 100], 5_000),
            ([300, 100], 2_500),
            ([100, 900], 9_000),
            ([100, 0], 0),
            ([0, 5], 10_000),
        ] {
            near(of_files(&mut Balance::default(), sizes), want);
        }
    }

    /// A kind that costs all that there is gives an eighteenth, and not less, however much it is;
    /// what both cost leaves shares as they were.
    #[test]
    fn the_dearer_kind_gives_less() {
        for (costs, want) in [([100, 0], 9_444), ([0, 100], 556), ([70, 70], 5_000)] {
            let mut balance = Balance::default();
            for _ in 0..1000 {
                balance.note(Kind::Anonymous, costs[0], 1000);
                balance.note(Kind::File, costs[1], 1000);
            }
            near(of_files(&mut balance, [500, 500]), want);
        }
    }

    /// What was dear once is forgotten when the other kind has become so.
    #[test]
    fn costs_are_forgotten() {
        let mut balance = Balance::default();
        (0..1000).for_each(|_| balance.note(Kind::File, MOVED, 1000));
        (0..200).for_each(|_| balance.note(Kind::Anonymous, MOVED, 1000));
        assert!(of_files(&mut balance, [500, 500]) > 8_000);
    }

    /// One page among very many of the other kind has its turn.
    #[test]
    fn few_pages_have_their_turn() {
        for (few, sizes) in [(Kind::File, [100_000, 1]), (Kind::Anonymous, [1, 100_000])] {
            let mut balance = Balance::default();
            (0..1000).for_each(|_| balance.note(few, MOVED, 100_001));
            let turn = (0..200_000).find(|_| {
                let kind = balance.next(sizes);
                balance.took(kind, 8, sizes);
                kind == few
            });
            assert!(turn.is_some(), "{few:?}");
        }
    }

    /// What came along beside victims is made good, but not for ever.
    #[test]
    fn what_is_owed_has_a_limit() {
        let mut balance = Balance::default();
        balance.took(Kind::Anonymous, 1 << 20, [500, 500]);
        let turns = (0..).take_while(|_| {
            let kind = balance.next([500, 500]);
            balance.took(kind, 8, [500, 500]);
            kind == Kind::File
        });
        assert_eq!(turns.count(), 2 * MOST_OWED as usize / 8);
    }
}
