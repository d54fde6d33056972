//! Goal: what is written is read again, up to wherever it is cut; a file stays within its size and
//! keeps what is new. Method: samples drawn from a number, cut at every byte; a small file that is
//! written for long.

use super::*;
use crate::{Latency, Made, Nature, PageMap, PageState, Recording, Row, Series, Unit};
use std::sync::Arc;

fn schema() -> Schema {
    let series =
        ["held.private", "held.pool", "faults.all"].map(|name| Series::new(name, Unit::Bytes, Nature::Gauge));
    Schema {
        began_unix_us: 1_700_000_000_000_000,
        labels: vec![("pid".to_owned(), "7".to_owned())],
        series: series.to_vec(),
        latencies: vec!["load".to_owned()],
    }
}

/// The sample of this number: most of it stays as it was in the one before.
fn sample(no: u64) -> Sample {
    let mut latency = Latency::default();
    latency.counts[(no % 7) as usize + 40] = no;
    let row = |birth: u64| {
        let mut map = PageMap {
            cell_pages: 1,
            ..PageMap::default()
        };
        map.push(PageState::Inherited, 7);
        map.push(PageState::Exclusive, (no / 9) as u32 % 40 + 1);
        Arc::new(Row {
            parent: birth.checked_sub(1),
            made: if birth == 1 { Made::Frozen } else { Made::Forked },
            condemned: no % 11 == birth,
            len: 50,
            pages: (!birth.is_multiple_of(3)).then_some([3; PageState::ALL.len()]),
            looked_at_us: if birth.is_multiple_of(3) { 0 } else { no / 5 },
            map: if birth.is_multiple_of(3) {
                PageMap::default()
            } else {
                map
            },
        })
    };
    let spaces = (no / 20..no / 20 + 6).map(|birth| (birth + 1, row(birth + 1)));
    Sample {
        at_us: no * 100_000,
        values: vec![
            Some(no * 4096),
            (!no.is_multiple_of(4)).then_some(u64::MAX - no),
            Some(no / 50),
        ],
        latencies: vec![latency],
        spaces: spaces.collect(),
        marks: if no % 30 == 3 {
            vec![format!("mark {no}")]
        } else {
            Vec::new()
        },
    }
}

fn path(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("memfold-record-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

#[test]
fn a_record_cut_at_any_byte_opens_up_to_there() {
    let path = path("cut");
    let mut file = RecordFile::create(&path, &schema(), 1 << 20).unwrap();
    let mut ends = Vec::new();
    for no in 0..150 {
        file.write(&sample(no)).unwrap();
        ends.push(file.bytes());
    }
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for cut in 0..=bytes.len() {
        let whole = ends.partition_point(|&end| end <= cut as u64);
        let found = Recording::of(bytes[..cut].to_vec()).unwrap();
        assert_eq!(found.as_ref().map_or(0, Recording::len), whole, "{cut}");
        let Some(recording) = found else { continue };
        assert_eq!(
            recording.ending().is_none(),
            ends.contains(&(cut as u64)),
            "{cut}"
        );
        let last = whole - 1;
        assert_eq!(recording.sample(last), Ok(sample(last as u64)), "{cut}");
    }
    // From the beginning, in a row, and by time.
    let recording = Recording::of(bytes).unwrap().unwrap();
    let mut next = 0;
    recording
        .each(0..150, |found| {
            assert_eq!(*found, sample(next));
            next += 1;
        })
        .unwrap();
    assert_eq!(
        (
            next,
            recording.by(0),
            recording.by(1_234_567),
            recording.by(u64::MAX)
        ),
        (150, 0, 12, 149)
    );
    assert_eq!(*recording.schema(), schema());
}

#[test]
fn a_damaged_record_is_read_up_to_there() {
    let mut encoder = Encoder::new(&schema());
    let mut bytes = encoder.begin();
    for no in 0..70 {
        bytes.extend(encoder.sample(&sample(no)));
    }
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x41;
        match Recording::of(bad) {
            Ok(Some(recording)) => {
                assert!(recording.len() <= 70 && recording.ending().is_some(), "{at}");
                let last = recording.len() - 1;
                assert_eq!(recording.sample(last), Ok(sample(last as u64)), "{at}");
            }
            Ok(None) => (),
            Err(RecordError::NotARecord | RecordError::Version { .. }) => assert!(at < 8),
            Err(RecordError::Damaged { .. }) => assert!(at >= 8),
        }
    }
}

#[test]
fn a_file_stays_within_its_size_and_keeps_what_is_new() {
    let path = path("thinned");
    let mut file = RecordFile::create(&path, &schema(), 0).unwrap();
    for no in 0..6000 {
        file.write(&sample(no)).unwrap();
        assert!(file.bytes() <= 64 << 10);
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes());
    assert!(!path.with_extension("thinned").exists());
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.ending(), None);
    fs::remove_file(&path).unwrap();
    let (mut times, mut marks) = (Vec::new(), Vec::new());
    recording
        .each(0..recording.len(), |found| {
            let no = found.at_us / 100_000;
            let mut expected = sample(no);
            marks.extend(found.marks.clone());
            expected.marks.clone_from(&found.marks);
            assert_eq!(*found, expected);
            times.push(no);
        })
        .unwrap();
    let all_marks: Vec<_> = (0..6000).flat_map(|no| sample(no).marks).collect();
    assert_eq!(marks, all_marks, "marks outlive their samples");
    assert_eq!(times.last(), Some(&5999));
    let new = times.len() - times.len() / 4;
    let steps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps[new..].iter().all(|&step| step == 1), "what is new is whole");
    assert!(steps[0] > 8, "what is old is not: {steps:?}");
    assert!(steps.is_sorted_by(|a, b| a >= b || *b <= 2 * a), "{steps:?}");
}

#[test]
fn only_its_owner_reads_a_record() {
    use std::os::unix::fs::PermissionsExt;
    let path = path("mode");
    fs::write(&path, "what was there").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = RecordFile::create(&path, &schema(), 0).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes());
    assert!(matches!(
        Recording::open(&path),
        Err(crate::OpenError::Empty { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        Recording::open(&path),
        Err(crate::OpenError::System { .. })
    ));
    assert_eq!(
        Recording::of(b"#!/bin/sh\n".to_vec()).unwrap_err(),
        RecordError::NotARecord
    );
    assert_eq!(
        Recording::of(b"memfold\x02".to_vec()).unwrap_err(),
        RecordError::Version { found: 2 }
    );
}
