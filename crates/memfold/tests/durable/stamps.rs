//! Two threads, four spaces, one file, and a model of every page.

use super::{PAGE, Rng, Temporary, WORD, WORDS, number, on_disk, words};
use memfold::{FileAccess, MappedFile, Memory, Rights, Space, SpaceSize, Through};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Three times the budget.
const PAGES: u64 = 6144;
const BUDGET: u64 = 8 << 20;
/// Where each space maps the file, and which page of it first; the first two share stores.
const PLACES: [(u64, u64); 4] = [(0, 0), (77, 31), (1, 500), (300, 1)];
/// In every stamp of a private store, and in no other.
const PRIVATE: u64 = 1 << 63;

/// One thread, the pages that are its own (those whose number is so, modulo 2), and what they are.
struct Thread<'a> {
    own: u64,
    spaces: &'a [Space; 4],
    file: &'a MappedFile,
    path: &'a std::path::Path,
    rng: Rng,
    stamp: u64,
    shared: BTreeMap<u64, u64>,
    private: [BTreeMap<u64, u64>; 4],
}

impl Thread<'_> {
    /// A page of its own that the space maps, and where.
    fn page(&mut self, space: usize) -> (u64, u64) {
        let (at, first) = PLACES[space];
        let page = first + self.rng.below(PAGES - first);
        let page = page / 2 * 2 + self.own;
        let page = if page < first { page + 2 } else { page };
        (page, page - first + at)
    }

    fn step(&mut self) {
        let space = self.rng.below(4) as usize;
        let (page, at) = self.page(space);
        match self.rng.below(200) {
            0 => self.sync(page),
            1..90 => self.store(space, page, at),
            _ => self.load(space, page, at),
        }
    }

    /// All words, so that a page that is half one and half another is noticed.
    fn store(&mut self, space: usize, page: u64, at: u64) {
        self.stamp += 2;
        let shared = space < 2;
        let stamp = self.stamp | if shared { 0 } else { PRIVATE };
        for word in words(&self.spaces[space], at) {
            word.store(stamp, WORD);
        }
        let model = if shared {
            &mut self.shared
        } else {
            &mut self.private[space]
        };
        model.insert(page, stamp);
    }

    fn load(&mut self, space: usize, page: u64, at: u64) {
        let own = self.private[space].get(&page);
        let wanted = *own.or_else(|| self.shared.get(&page)).unwrap_or(&0);
        let word = self.rng.below(WORDS as u64) as usize;
        for word in [0, word, WORDS - 1] {
            let found = words(&self.spaces[space], at)[word].load(WORD);
            assert_eq!(found, wanted, "page {page} in space {space}");
        }
    }

    /// After it the file itself has the last store of each page of the range that is its own.
    fn sync(&mut self, first: u64) {
        let end = (first + 1 + self.rng.below(600)).min(PAGES);
        self.file
            .sync(first * PAGE..end * PAGE)
            .expect("there is room on the disk");
        let own = (first..end).filter(|page| page % 2 == self.own);
        for page in own.step_by(7) {
            let wanted = *self.shared.get(&page).unwrap_or(&0);
            assert_eq!(
                on_disk(self.path, page),
                [wanted; WORDS],
                "page {page} after a sync"
            );
        }
    }
}

/// Works until the end, and says what the shared pages of its own are, and in how many steps.
fn work(mut thread: Thread<'_>, end: Instant) -> (BTreeMap<u64, u64>, u64) {
    let mut steps = 0;
    while Instant::now() < end {
        (0..200).for_each(|_| thread.step());
        steps += 200;
    }
    (thread.shared, steps)
}

fn spaces(memory: &Memory, file: &MappedFile) -> [Space; 4] {
    let size = SpaceSize::fixed((PAGES + 400) * PAGE);
    let spaces = [(); 4].map(|()| memory.create(size).expect("room"));
    for (n, (space, (at, first))) in spaces.iter().zip(PLACES).enumerate() {
        let through = if n < 2 { Through::Shared } else { Through::Private };
        let range = first * PAGE..PAGES * PAGE;
        let mapped = space.map(at * PAGE, file, range, through, Rights::ReadWrite);
        mapped.expect("there is room");
    }
    spaces
}

/// Goal: after a sync the file has every shared store and no private one; loads see what was stored
/// to them, through whatever space, while all of it does not fit into the budget.
#[test]
fn no_store_is_lost() {
    let file_on_disk = Temporary::new("stamps", PAGES);
    let path = &*file_on_disk.0;
    let memory = Memory::builder().budget_bytes(BUDGET).build();
    let memory = memory.expect("userfaultfd works here");
    let file = memory.open(path, FileAccess::ReadWrite).expect("it is there");
    let spaces = spaces(&memory, &file);
    let end = Instant::now() + Duration::from_secs(number("MEMFOLD_SECONDS", 3));
    let done = std::thread::scope(|scope| {
        let threads = [0, 1].map(|own| {
            let thread = Thread {
                own,
                spaces: &spaces,
                file: &file,
                path,
                rng: Rng(0x9e37_79b9_7f4a_7c15 + own),
                stamp: 2 + own,
                shared: BTreeMap::new(),
                private: Default::default(),
            };
            scope.spawn(move || work(thread, end))
        });
        threads.map(|thread| thread.join().expect("no page was wrong"))
    });
    file.sync(0..file.len()).expect("there is room on the disk");
    for (page, stamp) in done.iter().flat_map(|(model, _)| model) {
        assert_eq!(on_disk(path, *page), [*stamp; WORDS], "page {page} at the end");
    }
    let stats = memory.stats();
    assert!(stats.usage.peak <= BUDGET);
    assert_eq!(memory.check(), Ok(()));
    let (counts, steps) = (stats.counts, done[0].1 + done[1].1);
    println!(
        "{steps} steps, {} pages read, {} written, {} dropped",
        counts.file_reads, counts.file_writes, counts.file_evictions
    );
    assert!(counts.file_evictions > 0, "the file should not fit");
    drop(spaces);
    for page in 0..PAGES {
        let stamps = on_disk(path, page);
        assert!(
            stamps[0] & PRIVATE == 0 && stamps == [stamps[0]; WORDS],
            "page {page}"
        );
    }
}
