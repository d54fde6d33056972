//! The one generator of operations, for property tests, fuzzing and simulation.
//!
//! An operation is drawn from one word of 64 bits, by fields, so that any source of words will do
//! and a shrinking property test can make each field small on its own:
//!
//! ```text
//!  62     61..60   59..52   51..44   43..38   37..26   25..16   15..8   7..0
//!  young | hot    | count  | value  | len-1  | offset | page   | space | kind
//! ```
//! The kind is chosen by the weights of the mix. Fields are taken modulo what exists, so every word
//! is an operation in every state. `hot` keeps three of four operations to the first pages, and
//! `young` every second one to the youngest spaces: histories in which the same page is written,
//! forked, evicted and dropped by several are what finds errors.

use memfold_host::addr::{PAGE_SIZE, PageBytes};

/// One operation. Spaces, pages and pins are picked modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A program loads 1 to 64 bytes.
    Read(Spot),
    /// A program stores 1 to 64 bytes.
    Write(Spot),
    /// A program stores one of a few patterns to some whole pages.
    Fill(Spot),
    /// A fork.
    Fork(Spot),
    /// A space goes; when that is refused, one of four is used by nobody again, and ends later.
    Drop(Spot),
    /// A new space.
    Create(Spot),
    /// A range goes to the store.
    Evict(Spot),
    /// A range is called cold.
    Cold(Spot),
    /// Reclaim of some pages.
    Reclaim(Spot),
    /// A range is pinned.
    Pin(Spot),
    /// One of the space's pins ends.
    Unpin(Spot),
    /// A space grows, or becomes shorter.
    Grow(Spot),
    /// A frozen copy.
    Freeze(Spot),
    /// A load of a page to which a second thread stores at that moment.
    Race(Spot),
    /// A space says whether it takes part in merging.
    Mergeable(Spot),
    /// A bounded step of merging, in the background or with all effort.
    Merge(Spot),
    /// A round of merging now, every second one with a second thread's store to a page that was
    /// just looked at.
    MergeRound(Spot),
    /// A range of a space is given copies of its own.
    Unmerge(Spot),
    /// Some whole pages become zeros.
    Zero(Spot),
    /// A space is compared with a relative, and becomes what that one is.
    Reset(Spot),
    /// A range becomes zeros that hold no memory.
    Discard(Spot),
}

/// How many kinds of operations there are.
pub const KINDS: usize = 21;

/// The fields of a word, which each operation reads as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Which space: counted from the oldest, or down from `u32::MAX` from the youngest.
    pub space: u32,
    /// Which page of it.
    pub page: u32,
    /// Which byte of that.
    pub offset: usize,
    /// How many bytes, 1 to 64.
    pub len: usize,
    /// What to store.
    pub value: u8,
    /// How many pages.
    pub count: u32,
}

/// How often each operation comes, in 256ths; in the order of [`Op`].
pub type Weights = [u8; KINDS];

/// A mix of operations and the sizes of what they work on.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// What the mix is called.
    pub name: &'static str,
    /// Most bytes that the manager may hold.
    pub limit_bytes: u64,
    /// Most spaces at a time.
    pub spaces: u32,
    /// Fewest and most pages of a new space.
    pub pages: (u32, u32),
    /// How often each operation comes.
    pub weights: Weights,
    /// Each call of the host and of the store is refused with this probability, in 65,536ths; so is
    /// a charge of the budget in each operation, with ten times the probability.
    pub refusals: u32,
    /// Which bits of a value choose the pattern of a whole page: few make equal pages.
    pub patterns: u8,
    /// Steps between two full comparisons.
    pub audit_every: u32,
}

/// The usual weights.
pub const USUAL: Weights = [
    66, 60, 30, 20, 10, 6, 14, 6, 2, 6, 8, 4, 4, 4, 2, 4, 4, 2, 1, 2, 1,
];

/// Much is filled, frozen and forked; little goes.
const SERVED: Weights = [
    56, 52, 50, 44, 14, 3, 1, 0, 1, 1, 4, 1, 12, 2, 1, 1, 1, 1, 2, 4, 2,
];

impl Op {
    /// The operation that a word means.
    #[must_use]
    pub fn from_word(word: u64, weights: &Weights) -> Self {
        let field = |from: u32, bits: u32| (word >> from) & ((1 << bits) - 1);
        let spot = Spot {
            space: if field(62, 1) == 0 {
                field(8, 8) as u32
            } else {
                u32::MAX - field(8, 2) as u32
            },
            page: field(16, 10) as u32 % [5, 5, 20, 1024][field(60, 2) as usize],
            offset: field(26, 12) as usize,
            len: field(38, 6) as usize + 1,
            value: field(44, 8) as u8,
            count: field(52, 8) as u32,
        };
        let sum: u32 = weights.iter().map(|&w| u32::from(w)).sum();
        let mut at = field(0, 8) as u32 % sum;
        let mut kind = 0;
        while at >= u32::from(weights[kind]) {
            at -= u32::from(weights[kind]);
            kind += 1;
        }
        const ALL: [fn(Spot) -> Op; KINDS] = [
            Op::Read,
            Op::Write,
            Op::Fill,
            Op::Fork,
            Op::Drop,
            Op::Create,
            Op::Evict,
            Op::Cold,
            Op::Reclaim,
            Op::Pin,
            Op::Unpin,
            Op::Grow,
            Op::Freeze,
            Op::Race,
            Op::Mergeable,
            Op::Merge,
            Op::MergeRound,
            Op::Unmerge,
            Op::Zero,
            Op::Reset,
            Op::Discard,
        ];
        ALL[kind](spot)
    }
}

/// One of a few page contents: zeros, one word repeated, text, numbers, noise, so that equal pages,
/// small differences and incompressible pages all come up. The upper quarter of the values is noise
/// of its own for each `salt`.
#[must_use]
pub fn pattern(value: u8, salt: u64) -> Box<PageBytes> {
    let mut page = Box::new([0; PAGE_SIZE]);
    let unique = value >= 192;
    let mut rng = memfold_sim::Rng::new(if unique { salt } else { u64::from(value & 7) });
    if unique {
        page.iter_mut().for_each(|byte| *byte = rng.word() as u8);
        return page;
    }
    for (n, byte) in page.iter_mut().enumerate() {
        *byte = match value & 7 {
            0 => 0,
            1 => 0xa5,
            2 => b"the quick brown fox "[n % 20],
            3 => (n / 64) as u8,
            4 | 5 if n % 512 >= 128 => 0x11,
            _ => rng.word() as u8,
        };
    }
    page
}

/// Many kinds of use, by name; small spaces, so that collisions are frequent.
pub const MIXES: [Mix; 14] = [
    Mix {
        name: "usual",
        limit_bytes: u64::MAX,
        spaces: 16,
        pages: (3, 40),
        weights: USUAL,
        refusals: 0,
        patterns: 0xff,
        audit_every: 16,
    },
    // A budget that holds a fraction of what is written: every fault may have to reclaim.
    Mix {
        name: "tiny",
        limit_bytes: 1 << 20,
        spaces: 24,
        pages: (3, 40),
        ..USUAL_MIX
    },
    Mix {
        name: "tight",
        limit_bytes: 3 << 19,
        spaces: 40,
        pages: (10, 40),
        weights: [60, 60, 60, 20, 4, 8, 3, 3, 1, 3, 4, 2, 2, 4, 1, 2, 3, 1, 4, 4, 3],
        ..USUAL_MIX
    },
    // More is written than the budget holds even in the store: operations must fail, and fail well.
    Mix {
        name: "starved",
        limit_bytes: 9 << 17,
        spaces: 44,
        pages: (20, 40),
        weights: [60, 40, 60, 8, 6, 8, 6, 3, 0, 3, 4, 2, 3, 4, 1, 2, 3, 1, 4, 4, 3],
        ..USUAL_MIX
    },
    // Forks of forks, few drops.
    Mix {
        name: "deep",
        spaces: 48,
        pages: (3, 20),
        weights: [
            60, 60, 20, 40, 10, 2, 20, 4, 2, 6, 8, 2, 8, 2, 1, 2, 3, 1, 2, 2, 1,
        ],
        ..USUAL_MIX
    },
    Mix {
        name: "crowd",
        limit_bytes: 3 << 19,
        spaces: 120,
        pages: (3, 6),
        ..USUAL_MIX
    },
    // Three levels of tables.
    Mix {
        name: "wide",
        limit_bytes: 2 << 20,
        spaces: 6,
        pages: (200, 600),
        audit_every: 64,
        ..USUAL_MIX
    },
    // Much comes and goes through the store.
    Mix {
        name: "churn",
        spaces: 12,
        pages: (3, 24),
        weights: [
            60, 40, 20, 20, 8, 6, 50, 10, 10, 4, 8, 2, 4, 2, 1, 2, 3, 1, 2, 2, 1,
        ],
        ..USUAL_MIX
    },
    // Siblings that were warmed up by themselves, of few patterns: merged, written, merged again.
    Mix {
        name: "siblings",
        limit_bytes: 3 << 19,
        spaces: 40,
        pages: (6, 30),
        weights: [
            40, 30, 60, 10, 8, 8, 10, 4, 2, 4, 8, 2, 2, 2, 3, 14, 40, 6, 1, 1, 1,
        ],
        patterns: 0x03,
        ..USUAL_MIX
    },
    // Full spaces are frozen and forked, and the machine serves the forks by itself.
    Mix {
        name: "served",
        spaces: 14,
        pages: (34, 40),
        weights: SERVED,
        audit_every: 64,
        ..USUAL_MIX
    },
    // The same where that has to end now and then, or is refused.
    Mix {
        name: "served_tight",
        limit_bytes: 4 << 20,
        spaces: 30,
        pages: (34, 40),
        weights: SERVED,
        refusals: 330,
        ..USUAL_MIX
    },
    // One call in two hundred is refused.
    Mix {
        name: "refusing",
        limit_bytes: 2 << 20,
        refusals: 330,
        audit_every: 4,
        ..USUAL_MIX
    },
    // The same without a budget, so that nothing but the refusal is the reason of a failure.
    Mix {
        name: "refusing_roomy",
        refusals: 660,
        audit_every: 4,
        weights: [
            60, 40, 40, 20, 10, 12, 14, 4, 2, 6, 8, 4, 6, 4, 2, 6, 10, 4, 1, 2, 1,
        ],
        ..USUAL_MIX
    },
    // Backings come and go, and what is charged once in a backing's life, the records of its
    // places, is refused often.
    Mix {
        name: "records",
        limit_bytes: 2 << 20,
        spaces: 24,
        refusals: 1300,
        audit_every: 4,
        weights: [
            70, 30, 20, 36, 24, 20, 10, 2, 2, 2, 4, 2, 8, 2, 1, 2, 10, 2, 2, 4, 3,
        ],
        ..USUAL_MIX
    },
];

const USUAL_MIX: Mix = Mix {
    name: "usual",
    limit_bytes: u64::MAX,
    spaces: 16,
    pages: (3, 40),
    weights: USUAL,
    refusals: 0,
    patterns: 0xff,
    audit_every: 16,
};

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// Goal: fields of a word mean what the header says, and the smallest word is the smallest
    /// read.
    #[test]
    fn words() {
        let smallest = Spot {
            space: 0,
            page: 0,
            offset: 0,
            len: 1,
            value: 0,
            count: 0,
        };
        assert_eq!(Op::from_word(0, &USUAL), Op::Read(smallest));
        let spot = Spot {
            space: 3,
            page: 5,
            offset: 7,
            len: 12,
            value: 13,
            count: 17,
        };
        let word = 75 | 3 << 60 | 3 << 8 | 5 << 16 | 7 << 26 | 11 << 38 | 13 << 44 | 17 << 52;
        assert_eq!(Op::from_word(word, &USUAL), Op::Write(spot));
    }

    /// Goal: every operation of every mix can be reached by the 256 values of the kind field.
    #[test]
    fn weights_fit() {
        for mix in MIXES {
            let sum: u32 = mix.weights.iter().map(|&w| u32::from(w)).sum();
            assert!(sum <= 256, "{}: the weights add up to {sum}", mix.name);
        }
    }
}
