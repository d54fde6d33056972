//! Files in the memory of spaces, on this machine, with both deliveries.

#[path = "common/deliveries.rs"]
mod deliveries;
#[path = "common/file.rs"]
mod file;

use file::{PAGE, Temporary, WORD, on_disk, words};
use memfold::{
    Advice, Error, Failure, FileAccess, FileError, MappedFile, Memory, PAGE_SIZE, PageSource, Rights,
    SourceError, Space, SpaceSize, Through,
};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// A file of its own. The words of page `n` are `n * 1000`, `n * 1000 + 1`, ...
fn numbered(name: &str, pages: u64) -> Temporary {
    let file = Temporary::new(name, pages);
    let word = |n: u64| (n / 512 * 1000 + n % 512).to_ne_bytes();
    let bytes: Vec<u8> = (0..pages * 512).flat_map(word).collect();
    std::fs::write(&file.0, bytes).expect("room for a small file");
    file
}

fn get(space: &Space, page: u64, at: usize) -> u64 {
    let value = words(space, page)[at].load(WORD);
    assert!(space.failure().is_none(), "page {page}: {:?}", space.failure());
    value
}

fn set(space: &Space, page: u64, at: usize, value: u64) {
    words(space, page)[at].store(value, WORD);
    assert!(space.failure().is_none(), "page {page}: {:?}", space.failure());
}

fn memories(limit: u64) -> impl Iterator<Item = Memory> {
    // What is written, and when, is for the tests to say.
    deliveries::memories(limit, |builder| builder.write_back(std::time::Duration::ZERO))
}

fn map(space: &Space, at: u64, file: &MappedFile, pages: std::ops::Range<u64>, through: Through) {
    let bytes = pages.start * PAGE..pages.end * PAGE;
    let mapped = space.map(at * PAGE, file, bytes, through, Rights::ReadWrite);
    mapped.expect("there is room");
}

/// Goal: spaces that map a file at different places share its pages and each other's stores;
/// private stores stay their own; forks see what they shall; after a sync the file has the stores.
#[test]
fn shared_and_private() {
    for memory in memories(32 << 20) {
        let disk = numbered("shared", 64);
        let file = memory.open(&disk.0, FileAccess::ReadWrite).expect("it is there");
        let [a, b] = [(); 2].map(|()| memory.create(SpaceSize::fixed(256 * PAGE)).expect("room"));
        map(&a, 8, &file, 0..64, Through::Shared);
        map(&b, 100, &file, 10..40, Through::Shared);
        map(&b, 200, &file, 0..20, Through::Private);
        for page in 0..64 {
            assert_eq!(get(&a, page + 8, 3), page * 1000 + 3);
        }
        let reads = memory.stats().counts.file_reads;
        assert_eq!(
            (get(&b, 100, 0), get(&b, 210, 0), get(&b, 99, 0)),
            (10_000, 10_000, 0)
        );
        assert_eq!(memory.stats().counts.file_reads, reads, "a page is read once");
        set(&a, 18, 0, 1);
        set(&b, 101, 0, 2);
        set(&b, 215, 0, 3);
        assert_eq!((get(&b, 100, 0), get(&a, 19, 0), get(&a, 23, 0)), (1, 2, 15_000));
        assert_eq!((get(&b, 210, 0), get(&b, 215, 1)), (1, 15_001));
        let c = b.fork().expect("room");
        set(&b, 100, 1, 4);
        set(&c, 215, 0, 5);
        set(&c, 216, 0, 6);
        assert_eq!((get(&c, 100, 1), get(&a, 18, 1), get(&b, 215, 0)), (4, 4, 3));
        assert_eq!((get(&b, 216, 0), get(&c, 215, 1)), (16_000, 15_001));
        assert_eq!(on_disk(&disk.0, 10)[0], 10_000, "nothing was written yet");
        file.sync(0..file.len()).expect("there is room on the disk");
        let on = [(10, 0), (10, 1), (11, 0), (15, 0)].map(|(page, at)| on_disk(&disk.0, page)[at]);
        assert_eq!(on, [1, 4, 2, 15_000]);
        set(&a, 18, 0, 7);
        file.sync(10 * PAGE..11 * PAGE)
            .expect("there is room on the disk");
        assert_eq!(
            on_disk(&disk.0, 10)[0],
            7,
            "a store after a sync is in the next one"
        );
        assert_eq!(memory.check(), Ok(()));
        b.unmap(100 * PAGE..215 * PAGE).expect("it was mapped");
        assert_eq!((get(&b, 100, 0), get(&b, 214, 0), get(&b, 215, 0)), (0, 0, 3));
        assert_eq!(b.areas().expect("it lives").len(), 1);
        drop((a, b, c, file));
        assert_eq!(memory.check(), Ok(()));
    }
}

/// Goal: a file larger than the budget is read and stored to by two threads through several spaces,
/// and no store is lost.
#[test]
fn larger_than_the_budget() {
    for memory in memories(4 << 20) {
        let pages = 2048;
        let disk = numbered("large", pages);
        let file = memory.open(&disk.0, FileAccess::ReadWrite).expect("it is there");
        let spaces = [(); 4].map(|()| memory.create(SpaceSize::fixed(2200 * PAGE)).expect("room"));
        for (n, space) in spaces.iter().enumerate() {
            map(space, n as u64 * 40, &file, 0..pages, Through::Shared);
        }
        std::thread::scope(|scope| {
            for thread in 0..2_u64 {
                let spaces = &spaces;
                scope.spawn(move || {
                    for n in 0..6000_u64 {
                        let page = (n * 7919 + thread * 13) % pages;
                        let by = (n % 4) as usize;
                        let at = page + by as u64 * 40;
                        assert_eq!(get(&spaces[by], at, 100), page * 1000 + 100, "page {page}");
                        words(&spaces[by], at)[thread as usize].fetch_add(1 << 32, WORD);
                    }
                });
            }
        });
        for space in &spaces {
            assert!(space.take_failure().is_none());
        }
        file.sync(0..file.len()).expect("there is room on the disk");
        let stats = memory.stats();
        assert!(stats.usage.peak <= 4 << 20, "{stats:?}");
        let bytes = std::fs::read(&disk.0).expect("it is there");
        let at = |page: u64, word: usize| {
            let at = page as usize * PAGE_SIZE + word * 8;
            u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
        };
        let stores = |thread| (0..pages).map(|page| at(page, thread) >> 32).sum::<u64>();
        assert_eq!([stores(0), stores(1)], [6000; 2], "no store is lost");
        assert!((0..pages).all(|page| at(page, 0) as u32 == page as u32 * 1000));
        drop((spaces, file));
        assert_eq!(memory.check(), Ok(()));
    }
}

/// Goal: what must be refused is, with a reason.
#[test]
fn refusals() {
    let memory = memories(32 << 20).next().expect("one");
    let disk = numbered("refusals", 4);
    let file = memory.open(&disk.0, FileAccess::ReadOnly).expect("it is there");
    let space = memory.create(SpaceSize::fixed(16 * PAGE)).expect("room");
    let map = |at, bytes, through| space.map(at, &file, bytes, through, Rights::ReadWrite);
    assert!(matches!(
        map(0, 0..4 * PAGE, Through::Shared),
        Err(Error::Space(_))
    ));
    assert!(matches!(map(1, 0..PAGE, Through::Private), Err(Error::Unaligned)));
    assert!(matches!(
        map(0, 0..PAGE - 1, Through::Private),
        Err(Error::Unaligned)
    ));
    assert!(matches!(
        map(0, 0..5 * PAGE, Through::Private),
        Err(Error::Space(_))
    ));
    assert!(matches!(
        map(15 * PAGE, 0..2 * PAGE, Through::Private),
        Err(Error::OutOfRange { .. })
    ));
    assert!(matches!(
        memory.open("/", FileAccess::ReadOnly),
        Err(Error::Open(_))
    ));
    let other = memories(32 << 20).next().expect("one");
    let elsewhere = other.create(SpaceSize::fixed(16 * PAGE)).expect("room");
    let foreign = elsewhere.map(0, &file, 0..PAGE, Through::Private, Rights::Read);
    assert!(matches!(foreign, Err(Error::ForeignFile)));
    assert!(space.areas().expect("it lives").is_empty());
    assert!(matches!(file.truncate(PAGE), Err(Error::File(_))));
}

/// Pages of the memory that spaces share, in the tests below.
const SHARED: u64 = 1024;

fn add(space: &Space, page: u64, more: u64) {
    words(space, page)[(page % 500) as usize].fetch_add(more, WORD);
}

/// Goal: two threads in two spaces and a fork add to the same words of shared memory twice as large
/// as the budget, and none of it is lost on the way to the store and back; a private mapping keeps
/// its own; with its last user all of it is gone.
#[test]
fn shared_memory() {
    for memory in memories(2 << 20) {
        let shared = memory.create_shared(SHARED * PAGE - 5).expect("room");
        assert_eq!(shared.len(), SHARED * PAGE);
        let mapping = |through| {
            let space = memory.create(SpaceSize::fixed(2 * SHARED * PAGE)).expect("room");
            map(&space, 0, &shared, 0..SHARED, through);
            space
        };
        let [a, b] = [(); 2].map(|()| mapping(Through::Shared));
        let own = mapping(Through::Private);
        add(&own, 7, 1000);
        let child = a.fork().expect("room");
        std::thread::scope(|scope| {
            for (space, more) in [(&a, 1), (&b, 2)] {
                let all = (0..3).flat_map(|round| (0..SHARED).map(move |page| (page * 37 + round) % SHARED));
                scope.spawn(move || all.for_each(|page| add(space, page, more)));
            }
        });
        let at = |page: u64| (page % 500) as usize;
        (0..SHARED).for_each(|page| assert_eq!(get(&child, page, at(page)), 9, "page {page}"));
        assert_eq!((get(&own, 7, 7), get(&own, 8, 8)), (1000, 9));
        let stats = memory.stats();
        assert!(stats.counts.file_evictions > SHARED && stats.usage.peak <= 2 << 20);
        shared.sync(0..shared.len()).expect("there is nothing to do");
        shared.truncate(10 * PAGE).expect("it may");
        shared.truncate(SHARED * PAGE).expect("it may");
        let seen = [9, 10, 1000].map(|page| get(&b, page, at(page)));
        assert_eq!(seen, [9, 0, 0], "what lay behind the end is gone");
        drop(shared);
        add(&child, 9, 1);
        assert_eq!(get(&b, 9, 9), 10, "mappings keep it");
        drop((a, b, own, child));
        assert_eq!(memory.check(), Ok(()));
        let usage = memory.stats().usage;
        assert_eq!((usage.private, usage.pool), (0, 0));
        let none = memory.create_shared(0);
        assert!(matches!(none, Err(Error::BadSize { .. })), "{none:?}");
    }
}

/// What a file that fails does.
const WORKS: u64 = 0;
const EIO: u64 = 5;
const ENOSPC: u64 = 28;
const ENDED: u64 = 99;

/// A file of 64 pages of bytes that fails as it is told.
#[derive(Clone, Default)]
struct Moody {
    mood: Arc<AtomicU64>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Moody {
    fn is(&self, mood: u64) -> bool {
        self.mood.load(WORD) == mood
    }

    fn set(&self, mood: u64) {
        self.mood.store(mood, WORD);
    }
}

impl PageSource for Moody {
    fn bytes(&self) -> Result<u64, SourceError> {
        Ok(64 * PAGE)
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn read(&self, page: u64, out: &mut [u8; PAGE_SIZE]) -> Result<(), SourceError> {
        if self.is(EIO) {
            return Err(SourceError::Os(EIO as i32));
        }
        if self.is(ENDED) && page >= 32 {
            return Err(SourceError::Ended);
        }
        let at = page as usize * PAGE_SIZE;
        out.copy_from_slice(&self.bytes.lock().expect("nobody panics")[at..at + PAGE_SIZE]);
        Ok(())
    }

    fn write(&self, page: u64, bytes: &[u8; PAGE_SIZE], len: usize) -> Result<(), SourceError> {
        let at = page as usize * PAGE_SIZE;
        // What does not fit is written in part.
        let full = self.is(ENOSPC);
        let len = if full { len / 2 } else { len };
        self.bytes.lock().expect("nobody panics")[at..at + len].copy_from_slice(&bytes[..len]);
        if full {
            Err(SourceError::Os(ENOSPC as i32))
        } else {
            Ok(())
        }
    }

    fn sync(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn resize(&self, _: u64) -> Result<(), SourceError> {
        Err(SourceError::ReadOnly)
    }
}

/// Words that do not compress, until there is no room.
fn fill_with_noise(space: &Space, pages: u64) {
    let mut noise = 1_u64;
    for page in 0..pages {
        for word in words(space, page) {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            word.store(noise ^ noise >> 29, WORD);
        }
        if space.take_failure().is_some() {
            return;
        }
    }
    panic!("the budget holds more than it has");
}

/// Goal: a file that fails while the budget is full of others' noise loses no store and harms
/// nobody else: what cannot be written stays, what cannot be read is a failure of who asks, what
/// lies behind an end that others moved is told as such; and when the file works again all of it
/// goes on.
#[test]
fn a_file_that_fails_in_a_full_budget() {
    for memory in memories(2 << 20) {
        let source = Moody::default();
        source
            .bytes
            .lock()
            .expect("nobody panics")
            .resize(64 * PAGE_SIZE, 0);
        let file = memory.open_source(source.clone()).expect("room");
        let create = |pages| memory.create(SpaceSize::fixed(pages * PAGE)).expect("room");
        let (space, own, other) = (create(64), create(64), create(700));
        map(&space, 0, &file, 0..64, Through::Shared);
        map(&own, 0, &file, 0..64, Through::Private);
        (0..64).for_each(|page| set(&space, page, 500, page + 1));
        source.set(ENOSPC);
        fill_with_noise(&other, 700);
        (0..64).for_each(|page| assert_eq!(get(&space, page, 500), page + 1));
        let refused = file.sync(0..file.len());
        let code = SourceError::Os(ENOSPC as i32);
        assert!(
            matches!(refused, Err(Error::File(FileError::Source(told))) if told == code),
            "{refused:?}"
        );
        source.set(WORKS);
        // What failed since is told once more.
        let _ = file.sync(0..file.len());
        file.sync(0..file.len()).expect("it works");
        let at = |page: usize| page * PAGE_SIZE + 500 * 8;
        let word = |page: usize| source.bytes.lock().expect("nobody panics")[at(page)];
        assert!((0..64).all(|page| word(page) == page as u8 + 1));

        source.set(EIO);
        memory.reclaim(10_000);
        let populate = |space: &Space| space.advise(0..64 * PAGE, Advice::PopulateRead);
        for space in [&space, &own] {
            let refused = populate(space);
            assert!(
                matches!(refused, Err(Error::Fault(Failure::Source { .. }))),
                "{refused:?}"
            );
            assert!(space.failure().is_none());
        }
        source.set(ENDED);
        for space in [&space, &own] {
            let refused = populate(space);
            assert!(
                matches!(refused, Err(Error::Fault(Failure::BeyondEnd { .. }))),
                "{refused:?}"
            );
            assert_eq!((get(space, 31, 500), space.failure()), (32, None));
        }
        source.set(WORKS);
        (0..64).for_each(|page| assert_eq!(get(&own, page, 500), page + 1));
        file.reload().expect("it works");
        (0..64).for_each(|page| assert_eq!(get(&space, page, 500), page + 1));
        assert_eq!(memory.check(), Ok(()));
        assert!(memory.stats().usage.peak <= 2 << 20);
        drop((space, own, other, file));
        assert_eq!(memory.check(), Ok(()));
    }
}
