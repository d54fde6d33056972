//! What is known of the page tables under a window: which the machine may hold.
//!
//! Plain data, guarded by the space's lock. Filled and read by `window.rs`.

use memfold_sync::boxed;

/// Which page tables of a window the machine may hold. Under the space lock.
#[derive(Debug, Default)]
pub(crate) struct WindowTables {
    /// For each 64 tables, two words: bit `n` of the first says that table `n` is charged, of the
    /// second that a fault step was there since reclaim last passed.
    words: Box<[[u64; 2]]>,
}

impl WindowTables {
    /// A record of so many; `None` when the system has no memory for it.
    pub fn new(tables: u32) -> Option<Self> {
        let words = boxed(0..tables.div_ceil(64), |_| [0; 2])?;
        Some(Self { words })
    }

    /// Tables that are charged.
    pub fn made(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w[0].count_ones())).sum()
    }

    /// Bytes of this record.
    pub fn own_bytes(&self) -> u64 {
        size_of_val(&*self.words) as u64
    }

    pub fn is_made(&self, table: u32) -> bool {
        self.words[table as usize / 64][0] >> (table % 64) & 1 == 1
    }

    pub fn mark_used(&mut self, table: u32) {
        self.words[table as usize / 64][1] |= 1 << (table % 64);
    }

    pub fn test_and_clear_used(&mut self, table: u32) -> bool {
        let word = &mut self.words[table as usize / 64][1];
        let was = *word >> (table % 64) & 1 == 1;
        *word &= !(1 << (table % 64));
        was
    }

    pub fn set_made(&mut self, table: u32, made: bool) {
        let word = &mut self.words[table as usize / 64][0];
        *word = *word & !(1 << (table % 64)) | u64::from(made) << (table % 64);
    }

    /// The first table from `from` on that is charged.
    pub fn next_made(&self, from: u32) -> Option<u32> {
        let mut at = from;
        while let Some(word) = self.words.get(at as usize / 64) {
            let rest = word[0] >> (at % 64);
            if rest != 0 {
                return Some(at + rest.trailing_zeros());
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}
