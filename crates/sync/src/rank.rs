//! The lock order, as code. A thread may *block* on a lock only when every lock
//! that it holds has a lower rank; `try_lock` is allowed in any order. Debug builds
//! assert it (see `lock.rs`); `LOCKS.md` is this table printed.

/// The ranks, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// One space: its root, length, pins. Held through a fault, a fork, a drop.
    Space = 0,
    /// The standby pages: which page of which space each of them stands in for. The loans: which
    /// pages have room that is lent. And which spaces have a native run. Three locks, of which
    /// nobody takes one under another.
    Standby,
    /// One frame: its mapping word, its chain of mappers, its residence.
    Frame,
    /// One file: how long it is, who maps it where, which write failed.
    File,
    /// A leaf table: the chain of tables that point at it.
    Leaf,
    /// A table one level above the leaves; and so on upwards.
    Table1,
    /// Two levels above the leaves.
    Table2,
    /// Three levels above the leaves.
    Table3,
    /// Four levels above the leaves.
    Table4,
    /// Five levels above the leaves.
    Table5,
    /// One swap slot: its count, its cached frame, its stored bytes.
    SwapSlot,
    /// A backing: who stands where in its pool range.
    Backing,
    /// The queues of the replacement policy, and the frames that cannot go.
    Queues,
    /// The free list of a [`Slots`](crate::Slots) array.
    Slots,
    /// Inside a store.
    Store,
    /// Inside a host.
    Host,
}

impl Rank {
    /// All ranks, outermost first.
    pub const ALL: [Self; 16] = [
        Self::Space,
        Self::Standby,
        Self::Frame,
        Self::File,
        Self::Leaf,
        Self::Table1,
        Self::Table2,
        Self::Table3,
        Self::Table4,
        Self::Table5,
        Self::SwapSlot,
        Self::Backing,
        Self::Queues,
        Self::Slots,
        Self::Store,
        Self::Host,
    ];

    /// The rank of a table's lock, by its level: 0 is a leaf.
    ///
    /// # Panics
    /// When the level is above 5.
    #[must_use]
    pub fn table(level: u8) -> Self {
        assert!(level <= 5, "no table stands at level {level}");
        Self::ALL[Self::Leaf as usize + usize::from(level)]
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: `LOCKS.md` says what the code says. Method: compare the first column with the ranks,
    /// in order.
    #[test]
    fn locks_md_agrees() {
        let page = include_str!("../../../LOCKS.md");
        let rows = page
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        let named: Vec<_> = rows.skip(2).collect();
        let ranks: Vec<_> = Rank::ALL.iter().map(|rank| format!("{rank:?}")).collect();
        assert_eq!(named, ranks);
    }

    /// Goal: `ALL` is in the order of the ranks.
    #[test]
    fn all_is_in_order() {
        assert!(Rank::ALL.iter().enumerate().all(|(n, &rank)| rank as usize == n));
    }
}
