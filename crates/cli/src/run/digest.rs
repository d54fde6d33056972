//! A digest of all answers that does not depend on their order: clones answer
//! in whatever order threads and seeds give, and the same answers must make
//! the same digest. Pure.

use std::fmt;

/// The wrapping sum of a hash of each answer and of whose it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Adds one answer: of this clone, to its call of this number, the result at this place.
    pub(crate) fn add(&mut self, clone: u32, call: u32, place: usize, result: i64) {
        let who = u64::from(clone) << 32 | u64::from(call);
        let place = u64::try_from(place).unwrap_or(u64::MAX);
        let hash = mix(mix(mix(who) ^ place) ^ result.cast_unsigned());
        self.0 = self.0.wrapping_add(hash);
    }

    /// Joins the answers of another part of the clones.
    pub(crate) fn join(&mut self, other: Digest) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One step of SplitMix64: a bijection of 64 bits in which every bit of the
/// input changes about half of the output.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    //! Goal: order does not matter, everything else does. Method: small sets of answers.
    use super::*;

    type Answer = (u32, u32, usize, i64);

    fn digest(answers: &[Answer]) -> Digest {
        let mut digest = Digest::default();
        for &(clone, call, place, result) in answers {
            digest.add(clone, call, place, result);
        }
        digest
    }

    #[test]
    fn order_does_not_matter() {
        let (a, b, c) = ((0, 0, 0, 5), (1, 0, 0, 6), (0, 1, 0, 7));
        assert_eq!(digest(&[a, b, c]), digest(&[c, a, b]));
        let mut joined = digest(&[b]);
        joined.join(digest(&[c, a]));
        assert_eq!(joined, digest(&[a, b, c]));
    }

    #[test]
    fn every_part_of_an_answer_matters() {
        let base: Answer = (1, 2, 0, 3);
        let others: [Answer; 7] = [
            (2, 1, 0, 3),
            (1, 3, 0, 3),
            (0, 2, 0, 3),
            (1, 2, 1, 3),
            (1, 2, 0, 4),
            (1, 2, 0, -3),
            (3, 2, 0, 1),
        ];
        for other in others {
            assert_ne!(digest(&[base]), digest(&[other]), "{other:?}");
        }
        // Two clones that swap their answers are noticed.
        assert_ne!(
            digest(&[(0, 0, 0, 5), (1, 0, 0, 6)]),
            digest(&[(0, 0, 0, 6), (1, 0, 0, 5)])
        );
        assert_eq!(digest(&[base]).to_string().len(), 16);
    }
}
