//! The one source of chance: splitmix64, 64 bits of state, the same on every machine.

/// A seeded sequence of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u32) -> u32 {
        // The multiplication spreads the upper half over 0..end; its bias is below 2^-32.
        (((self.word() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// True `per_65536` times of 65,536.
    pub fn chance(&mut self, per_65536: u32) -> bool {
        self.below(1 << 16) < per_65536
    }
}

/// Spreads every bit of `word` over the whole of it (the finish of splitmix64).
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the reference values of splitmix64, so that a seed means the same everywhere.
    #[test]
    fn reference_values() {
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.word(), 6_457_827_717_110_365_317);
        assert_eq!(rng.word(), 3_203_168_211_198_807_973);
    }

    /// Goal: `below` stays below and reaches both ends.
    #[test]
    fn below_reaches_its_ends() {
        let mut rng = Rng::new(1);
        let seen: Vec<u32> = (0..200).map(|_| rng.below(5)).collect();
        assert!(seen.contains(&0) && seen.contains(&4) && seen.iter().all(|&n| n < 5));
    }
}
