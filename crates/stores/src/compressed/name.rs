//! What a [`Stored`] of this store means.
//!
//! ```text
//! 1 w62..w0                 a page of the word w, whose two highest bits are alike
//! 0 0 tag (30) id+1 (32)    the object `id`; the tag is part of its checksum, so that a name
//!                           outlives its object only to be told apart from the next of that id
//! ```
//!
//! Plain arithmetic, nothing shared; called by `compressed`.

use memfold_host::Stored;
use std::num::NonZeroU64;

const INLINE: u64 = 1 << 63;
const TAG_MASK: u64 = (1 << 30) - 1;

/// A [`Stored`], decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A page of this word.
    Word(u64),
    /// An object, and 30 bits of its checksum.
    Object { id: u32, tag: u32 },
}

impl Name {
    /// The name of a page of this word, if it fits.
    pub(super) fn of_word(word: u64) -> Option<Stored> {
        // The two highest bits are alike: the highest can be told from the other.
        (word >> 62 == 0 || word >> 62 == 3).then(|| stored(word | INLINE))
    }

    /// The name of an object.
    pub(super) fn of_object(id: u32, checksum: u64) -> Stored {
        stored(u64::from(tag_of(checksum)) << 32 | (u64::from(id) + 1))
    }

    /// Decodes a name; `None` when this store gave no such name.
    pub(super) fn decode(name: Stored) -> Option<Self> {
        let bits = name.0.get();
        if bits & INLINE != 0 {
            // The highest bit is what the next one is.
            return Some(Self::Word(((bits << 1).cast_signed() >> 1).cast_unsigned()));
        }
        let id = (bits as u32).checked_sub(1)?;
        (bits >> 62 == 0).then_some(Self::Object {
            id,
            tag: (bits >> 32) as u32,
        })
    }
}

/// The part of a checksum that names carry.
pub(super) fn tag_of(checksum: u64) -> u32 {
    (checksum >> 34 & TAG_MASK) as u32
}

fn stored(bits: u64) -> Stored {
    Stored(NonZeroU64::new(bits).expect("a word has its mark, an object counts from 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every name decodes to what it was made of. Method: telling values.
    #[test]
    fn names_come_back() {
        for word in [
            0,
            1,
            u64::MAX,
            1.0_f64.to_bits(),
            0x2020_2020_2020_2020,
            0xc000_0000_0000_0000,
        ] {
            let name = Name::of_word(word).expect("it fits");
            assert_eq!(Name::decode(name), Some(Name::Word(word)));
        }
        assert_eq!(Name::of_word(0x5555_5555_5555_5555), None);
        assert_eq!(Name::of_word((-1.0_f64).to_bits()), None);
        for (id, checksum) in [(0, 0), (u32::MAX - 1, u64::MAX), (5, 0x1234_5678_9abc_def0)] {
            let name = Name::of_object(id, checksum);
            assert_eq!(
                Name::decode(name),
                Some(Name::Object {
                    id,
                    tag: tag_of(checksum)
                })
            );
        }
        assert_eq!(Name::decode(stored(1 << 32)), None);
    }
}
