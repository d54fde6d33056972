//! Goal: a record says what the memory says of itself, and what its pages are; a reader of the
//! socket gets the same, and a slow one keeps nobody waiting. Method: records of small histories,
//! beside `Memory::stats` and `Space::stats`.

use memfold::record::{Decoder, Made, PageState, Recording, Sample, Schema};
use memfold::{Memory, Native, PAGE_SIZE, RecordingError, Space, SpaceSize};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PAGE: u64 = PAGE_SIZE as u64;

fn memory() -> Memory {
    let builder = Memory::builder().budget_bytes(32 << 20).native(Native::Off);
    builder.build().expect("this machine can")
}

fn path(name: &str) -> PathBuf {
    let name = format!("memfold-recording-{}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

/// Stores to pages, through the addresses.
fn store(space: &Space, pages: std::ops::Range<u64>, value: u8) {
    for page in pages {
        // SAFETY: a byte inside of the space, which lives; no other thread uses it.
        unsafe { space.as_ptr().add((page * PAGE) as usize).write_volatile(value) };
    }
}

/// A record of some history, which is deleted.
fn recorded(name: &str, memory: &Memory, history: impl FnOnce(&memfold::Recorder)) -> Recording {
    let path = path(name);
    let recorder = memory
        .recorder()
        .file(&path)
        .interval(Duration::from_millis(2))
        .label("test", name)
        .start();
    let recorder = recorder.expect("a file can be written");
    history(&recorder);
    recorder.finish().expect("the file is written");
    let recording = Recording::open(&path).expect("it is a record");
    std::fs::remove_file(&path).expect("it is there");
    recording
}

fn last(recording: &Recording) -> Sample {
    recording.sample(recording.len() - 1).expect("it is whole")
}

/// What counts against the budget, part by part.
const PARTS: [&str; 6] = [
    "held.private",
    "held.shared",
    "held.compressed",
    "held.tables",
    "held.page_tables",
    "held.native",
];

fn sum(sample: &Sample, schema: &Schema, names: &[&str]) -> u64 {
    let value = |name: &&str| sample.value(schema, name).expect(name);
    names.iter().map(value).sum()
}

#[test]
fn the_last_sample_says_what_the_memory_says() {
    let memory = memory();
    let space = memory.create(SpaceSize::fixed(64 * PAGE)).expect("room");
    let mut spaces = Vec::new();
    let recording = recorded("last", &memory, |recorder| {
        store(&space, 0..20, 1);
        let template = space.freeze().expect("room");
        let fork = template.fork().expect("room");
        store(&fork, 3..8, 2);
        fork.evict_range(3 * PAGE..5 * PAGE).expect("it lives");
        recorder.mark("evicted");
        spaces.extend([template, fork]);
    });
    let (sample, schema) = (last(&recording), recording.schema());
    let stats = memory.stats();
    let (usage, counts) = (stats.usage, stats.counts);
    for (name, expected) in [
        ("budget.limit", usage.limit),
        ("held.total", usage.total),
        ("held.private", usage.private),
        ("held.shared", usage.pool),
        ("held.compressed", usage.stored),
        ("count.faults", counts.faults),
        ("count.evictions", counts.evictions),
        ("count.forks", counts.forks),
        ("store.pages", stats.store.pages),
        ("spaces.living", 3),
    ] {
        assert_eq!(sample.value(schema, name), Some(expected), "{name}");
    }
    assert_eq!(
        sample.value(schema, "held.nothing"),
        None,
        "what is not there is unknown"
    );
    assert_eq!(sum(&sample, schema, &PARTS), usage.total);
    let rest = sum(&sample, schema, &["budget.free", "budget.reserve"]);
    assert_eq!(usage.total + rest, usage.limit);
    let pid = std::process::id().to_string();
    assert_eq!(
        (schema.label("pid"), schema.label("test")),
        (Some(pid.as_str()), Some("last"))
    );

    rows_are_told(&sample, &spaces[1].stats());
    let mut marks = Vec::new();
    let all = recording.each(0..recording.len(), |sample| marks.extend(sample.marks.clone()));
    all.expect("they are whole");
    assert_eq!(marks, ["evicted"]);
}

/// A space, a frozen copy of it, and a fork of that which wrote five pages and lost sight of two.
fn rows_are_told(sample: &Sample, fork: &memfold::SpaceStats) {
    let rows: Vec<_> = sample.spaces.iter().collect();
    let [(first, a), (second, b), (_, c)] = rows.as_slice() else {
        panic!("three live: {rows:?}")
    };
    assert_eq!((a.made, a.parent), (Made::Created, None));
    assert_eq!((b.made, b.parent), (Made::Frozen, Some(**first)));
    assert_eq!((c.made, c.parent), (Made::Forked, Some(**second)));
    assert!(rows.iter().all(|(_, row)| row.len == 64 && !row.condemned));
    let count = |state| c.count(state).expect("it was looked at");
    // Pages beside those that were stored to may have been copied along.
    assert!(fork.exclusive >= 3, "{fork:?}");
    assert_eq!(
        (count(PageState::Exclusive), count(PageState::Compressed)),
        (fork.exclusive, 2)
    );
    assert_eq!((c.own(), c.holds()), (Some(fork.exclusive + 2), c.own()));
    assert!(b.holds() >= Some(20), "all that a template has is held for it");
    assert_eq!(a.pages.expect("looked at").iter().sum::<u32>(), 64);
    let told: Vec<_> = (0..8)
        .map(|cell| c.map.at(cell).expect("a page").letter())
        .collect();
    assert_eq!(told.into_iter().collect::<String>(), "sssccXXX");
}

#[test]
fn faults_and_forks_are_timed_while_somebody_records() {
    let memory = memory();
    let space = memory.create(SpaceSize::fixed(1024 * PAGE)).expect("room");
    store(&space, 0..100, 1);
    let recording = recorded("timed", &memory, |_| {
        let begun = Instant::now();
        // Until the thread has said that it wants times.
        for turn in 1.. {
            let fork = space.fork().expect("room");
            store(&fork, 0..64, turn as u8);
            if begun.elapsed() > Duration::from_millis(100) {
                break;
            }
        }
    });
    let (sample, schema) = (last(&recording), recording.schema());
    let of = |kind| sample.latency(schema, kind).expect(kind);
    assert!(of("store").total() > 10 && of("fork").total() > 0, "{sample:?}");
    assert_eq!(of("reset").total(), 0);
    let median = of("store").percentile_ns(50.0).expect("there were some");
    assert!((100..10_000_000).contains(&median), "{median} ns");
    // One in eight, and all that were timed are counted.
    let faults = sample.value(schema, "count.faults").expect("known");
    assert!(of("store").total() <= faults.div_ceil(4), "{faults}");
}

/// Reads until a sample is what is wanted.
fn read_until(stream: &mut UnixStream, decoder: &mut Decoder, wanted: impl Fn(&Sample) -> bool) -> Sample {
    let mut bytes = [0; 4096];
    loop {
        while let Some(sample) = decoder.next_sample().expect("it is whole") {
            if wanted(&sample) {
                return sample;
            }
        }
        let read = stream.read(&mut bytes).expect("it is served");
        assert_ne!(read, 0, "it goes on");
        decoder.push(&bytes[..read]);
    }
}

#[test]
fn a_socket_serves_whoever_comes_and_waits_for_nobody() {
    let memory = memory();
    let path = path("socket");
    let start = || {
        let recorder = memory.recorder().socket(&path).interval(Duration::from_millis(2));
        recorder.start().expect("a socket can be made")
    };
    let recorder = start();
    let mode = std::fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let spaces: Vec<_> = (0..200)
        .map(|_| memory.create(SpaceSize::fixed(PAGE)).expect("room"))
        .collect();
    // One that never reads, and two that do, the second one later.
    let _slow = UnixStream::connect(&path).expect("it listens");
    let mut readers: Vec<_> = (0..2u64)
        .map(|no| {
            let mut stream = UnixStream::connect(&path).expect("it listens");
            let mut decoder = Decoder::new();
            read_until(&mut stream, &mut decoder, |_| true);
            recorder.mark(&format!("reader {no}"));
            (stream, decoder)
        })
        .collect();
    let whole = |sample: &Sample| sample.spaces.len() == 200;
    for (stream, decoder) in &mut readers {
        read_until(stream, decoder, whole);
    }
    drop(spaces);
    for (stream, decoder) in &mut readers {
        read_until(stream, decoder, |sample| sample.spaces.is_empty());
        let schema = decoder.schema().expect("it was read").clone();
        let now = read_until(stream, decoder, |_| true);
        assert_eq!(now.value(&schema, "held.total"), Some(sum(&now, &schema, &PARTS)));
    }
    recorder.finish().expect("nothing was written");
    for (stream, _) in &mut readers {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it ends");
    }
    assert!(!path.exists(), "the socket goes with the recorder");

    std::fs::write(&path, "somebody's file").expect("it is written");
    let refused = memory.recorder().socket(&path).start();
    assert!(
        matches!(refused, Err(RecordingError::Socket { .. })),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(&path).expect("it is there"), b"somebody's file");
    std::fs::remove_file(&path).expect("it is there");
    let nowhere = memory.record("/nowhere/at/all");
    assert!(matches!(nowhere, Err(RecordingError::File { .. })), "{nowhere:?}");
}

#[test]
fn a_recording_ends_with_its_memory() {
    let memory = memory();
    let path = path("ends");
    let recorder = memory.record(&path).expect("it can be written");
    let space = memory.create(SpaceSize::fixed(PAGE)).expect("room");
    drop(memory);
    std::thread::sleep(Duration::from_millis(150));
    drop(space);
    recorder.finish().expect("it was written");
    let recording = Recording::open(&path).expect("it is a record");
    assert!(last(&recording).spaces.len() <= 1);
    std::fs::remove_file(&path).expect("it is there");
}
