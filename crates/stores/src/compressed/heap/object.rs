//! The header in front of every stored body.
//!
//! Plain bytes in the arena, read and written whole ([`Header::read`], [`Header::to_bytes`]). It
//! moves with its object, hence the back pointer. A header with an illegal kind or length does not
//! decode: the memory has gone bad. Called by the heap, under the store's lock.

use crate::codec::Kind;
use memfold_host::addr::PAGE_SIZE;

/// Bytes of a header.
pub(crate) const HEADER: usize = 28;
/// Both counts of a header stop here, far enough below what fits that threads in flight cannot wrap
/// one.
pub(crate) const COUNT_MAX: u32 = (1 << 24) - (1 << 16);

/// What is known of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of the decoded page; also its key in the index.
    pub(crate) checksum: u64,
    /// How the body is encoded.
    pub(crate) kind: Kind,
    /// Bytes of the body.
    pub(crate) len: u16,
    /// `put`s not yet freed, at most 2^24.
    pub(crate) refs: u32,
    /// Deltas that need this object, and calls that are looking at it; at most 2^24.
    pub(crate) holds: u32,
    /// The back pointer.
    pub(crate) id: u32,
    /// The next object in the index's chain, plus one; 0 ends it.
    pub(crate) next: u32,
    /// The id of the base when the kind is a delta, else the domain.
    pub(crate) link: u32,
}

impl Header {
    /// The header as it lies in memory: the checksum; kind (3 bits), length (13), refs (24) and
    /// holds (24) in one word; id; next; link.
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let counts = (self.kind as u64) << 61
            | u64::from(self.len) << 48
            | u64::from(self.refs) << 24
            | u64::from(self.holds);
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[8..16].copy_from_slice(&counts.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.id.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.next.to_le_bytes());
        bytes[24..].copy_from_slice(&self.link.to_le_bytes());
        bytes
    }

    /// Undoes [`Header::to_bytes`]; `None` when kind or length are illegal.
    pub(crate) fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| bytes[at..].first_chunk().map(|word| u32::from_le_bytes(*word));
        let long = |at: usize| bytes[at..].first_chunk().map(|word| u64::from_le_bytes(*word));
        let counts = long(8)?;
        let len = (counts >> 48) as u16 & 0x1fff;
        Some(Self {
            checksum: long(0)?,
            kind: Kind::from_number((counts >> 61) as u8)?,
            len: (usize::from(len) <= PAGE_SIZE).then_some(len)?,
            refs: (counts >> 24) as u32 & 0xff_ffff,
            holds: counts as u32 & 0xff_ffff,
            id: word(16)?,
            next: word(20)?,
            link: word(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nothing is lost in the packing. Method: every field at a telling value; all zeros is
    /// no header.
    #[test]
    fn headers_come_back() {
        let header = Header {
            checksum: 0x0123_4567_89ab_cdef,
            kind: Kind::Fill,
            len: 4096,
            refs: 0xff_fffe,
            holds: 0xab_cdef,
            id: 7,
            next: u32::MAX,
            link: 0x8000_0001,
        };
        assert_eq!(Header::read(&header.to_bytes()), Some(header));
        assert_eq!(Header::read(&[0; HEADER]), None);
    }
}
