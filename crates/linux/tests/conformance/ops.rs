//! The operations of the conformance suite, drawn from a seed. Spaces are picked modulo how many
//! live.

use memfold_sim::Rng;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create {
        pages: u32,
        domain: u32,
    },
    Read {
        space: u32,
        page: u32,
        offset: usize,
    },
    Write {
        space: u32,
        page: u32,
        offset: usize,
        value: u8,
    },
    Fill {
        space: u32,
        page: u32,
        count: u32,
        value: u8,
    },
    Fork {
        space: u32,
    },
    Drop {
        space: u32,
    },
    Evict {
        space: u32,
        page: u32,
        count: u32,
    },
    Cold {
        space: u32,
        page: u32,
        count: u32,
    },
    Reclaim {
        count: u32,
    },
    Merge {
        count: u32,
    },
    MergeNow,
    Unmerge {
        space: u32,
        page: u32,
        count: u32,
    },
    Pin {
        space: u32,
        page: u32,
        count: u32,
    },
    KernelWrite {
        space: u32,
        value: u8,
    },
    Unpin {
        space: u32,
    },
    Freeze {
        space: u32,
    },
    Grow {
        space: u32,
        by: u32,
    },
}

/// The next operation.
pub fn next(rng: &mut Rng) -> Op {
    let (space, page, count) = (rng.below(64), rng.below(24), rng.below(8) + 1);
    // Few places, so that histories meet.
    let page = if rng.below(4) == 0 { page } else { page % 5 };
    let (offset, value) = (rng.below(4000) as usize, rng.below(5) as u8);
    match rng.below(100) {
        0..5 => Op::Create {
            pages: 8 + rng.below(20),
            domain: rng.below(2),
        },
        5..25 => Op::Read { space, page, offset },
        25..42 => Op::Write {
            space,
            page,
            offset,
            value: value + 100,
        },
        42..56 => Op::Fill {
            space,
            page,
            count,
            value,
        },
        56..64 => Op::Fork { space },
        64..67 => Op::Drop { space },
        67..75 => Op::Evict {
            space,
            page,
            count: count * 3,
        },
        75..77 => Op::Cold { space, page, count },
        77..79 => Op::Reclaim { count },
        79..82 => Op::Merge { count: count * 40 },
        82..87 => Op::MergeNow,
        87..89 => Op::Unmerge { space, page, count },
        89..92 => Op::Pin {
            space,
            page,
            count: count % 3 + 1,
        },
        92..94 => Op::KernelWrite { space, value },
        94..96 => Op::Unpin { space },
        96..98 => Op::Freeze { space },
        _ => Op::Grow { space, by: count },
    }
}
