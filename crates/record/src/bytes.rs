//! For fuzzing: any bytes as a record. Panics when a promise of the reader's does not hold.

use crate::{Decoder, Recording};

/// Reads the bytes in pieces and as a whole, with and without a record's first bytes before them,
/// and compares what both say.
pub fn check(data: &[u8]) {
    let (cut, bytes) = data.split_first().map_or((0, data), |(cut, rest)| (*cut, rest));
    agree(bytes.to_vec(), cut.into());
    let mut record = b"memfold\x01".to_vec();
    record.extend_from_slice(bytes);
    agree(framed(&record, bytes), cut.into());
    agree(record, cut.into());
}

/// The bytes as the bodies of frames whose sums are right: what a checksum would keep from the
/// rest of the reader. The first byte of each is its kind, the second its length.
fn framed(begin: &[u8], mut bytes: &[u8]) -> Vec<u8> {
    let mut record = begin[..8].to_vec();
    while let [kind, len, rest @ ..] = bytes {
        let (body, after) = rest.split_at(rest.len().min((*len).into()));
        crate::frame::put_frame(&mut record, b"SKDx"[usize::from(kind % 4)], body);
        bytes = after;
    }
    record
}

/// A reader that gets pieces, and one that gets all, find the same samples.
fn agree(bytes: Vec<u8>, piece: usize) {
    let mut decoder = Decoder::new();
    let mut found = Vec::new();
    let mut failed = None;
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        // Ends: each turn takes a frame off the bytes.
        loop {
            match decoder.next_sample() {
                Ok(Some(sample)) => found.push(sample),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(*failed.get_or_insert(error), error, "an error does not change");
                    break;
                }
            }
        }
    }
    let Ok(Some(recording)) = Recording::of(bytes) else {
        assert!(found.is_empty(), "samples were found in no record");
        return;
    };
    assert!(recording.len() >= found.len(), "the index has all samples");
    for (no, sample) in found.iter().enumerate() {
        assert_eq!(recording.sample(no).as_ref(), Ok(sample), "sample {no}");
        assert_eq!(recording.at_us(no), sample.at_us);
    }
    if recording.len() > found.len() {
        assert!(failed.is_some() && recording.sample(found.len()).is_err());
    }
}

#[cfg(test)]
mod tests {
    //! Goal: no bytes make the reader panic, and both readers agree. Method: any bytes, and the
    //! fuzzer's corpus.
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            check(&data);
        }
    }
}
