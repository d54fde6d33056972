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
    //! Goal: no bytes make the reader panic, and both readers agree. Method: any bytes; records of
    //! which bytes were changed, with sums that are right all the same; the fuzzer's corpus.
    use super::*;
    use crate::frame::{Found, first, put_frame};
    use crate::{Encoder, Latency, Nature, PageMap, PageState, Row, Sample, Schema, Series, Unit};
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            check(&data);
        }

        #[test]
        fn changed_records_are_read_or_refused(
            changes in proptest::collection::vec((0..9usize, any::<usize>(), any::<u8>()), 1..6),
            piece in 1..300usize,
        ) {
            agree(changed(&changes), piece);
        }
    }

    /// The bodies of the frames of a small record, each with its kind.
    fn frames() -> Vec<(u8, Vec<u8>)> {
        let schema = Schema {
            labels: vec![("pid".to_owned(), "1".to_owned())],
            series: vec![Series::new("held.private", Unit::Bytes, Nature::Gauge); 3],
            latencies: vec!["load".to_owned()],
            ..Schema::default()
        };
        let mut encoder = Encoder::new(&schema);
        let mut bytes = encoder.begin();
        for no in 0..8u64 {
            let mut map = PageMap {
                cell_pages: 4,
                ..PageMap::default()
            };
            map.push(PageState::Merged, 9);
            map.push(PageState::Absent, 300 - no as u32);
            let pages = Some([no as u32; PageState::ALL.len()]);
            let row = Row {
                parent: no.checked_sub(2),
                len: 1200,
                pages,
                map,
                ..Row::default()
            };
            let mut latency = Latency::default();
            latency.counts[no as usize * 30] = no * no;
            bytes.extend(encoder.sample(&Sample {
                at_us: no * 1000,
                values: vec![Some(no << 20), None, Some(u64::MAX)],
                latencies: vec![latency],
                spaces: [(no, Arc::new(row.clone())), (no + 1, Arc::new(row))].into(),
                marks: vec!["é".to_owned()],
            }));
        }
        let (mut at, mut frames) = (8, Vec::new());
        while let Found::Frame(frame) = first(&bytes[at..]) {
            frames.push((frame.kind, frame.body.to_vec()));
            at += frame.len;
        }
        frames
    }

    /// The record with such bytes in place of others, of frames and bodies.
    fn changed(changes: &[(usize, usize, u8)]) -> Vec<u8> {
        let mut frames = frames();
        for &(frame, at, byte) in changes {
            let body = &mut frames[frame].1;
            let at = at % body.len();
            body[at] = byte;
        }
        let mut record = b"memfold\x01".to_vec();
        frames
            .iter()
            .for_each(|(kind, body)| put_frame(&mut record, *kind, body));
        record
    }

    #[test]
    fn an_unchanged_record_is_read_whole() {
        let record = Recording::of(changed(&[]))
            .expect("it is one")
            .expect("it has samples");
        assert_eq!((record.len(), record.ending()), (8, None));
        agree(changed(&[]), 7);
    }

    #[test]
    fn the_corpus_is_harmless() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/record");
        let files = std::fs::read_dir(folder).expect("the corpus is there");
        let mut inputs = 0;
        for file in files {
            check(&std::fs::read(file.expect("it can be listed").path()).expect("it can be read"));
            inputs += 1;
        }
        assert!(inputs >= 10, "a corpus of {inputs} is none");
    }
}
