//! What holds whichever policy is chosen: each test runs on all of them.
//!
//! Method: frames alone, without a manager; `Cache` does what reclaim does, and like it sees the
//! use of a frame only when it is watched.

use super::*;
use crate::frame::Put;
use std::collections::{BTreeMap, BTreeSet};

fn each(test: impl Fn(Replacement)) {
    for &replacement in Replacement::ALL {
        println!("{replacement:?}");
        test(replacement);
    }
}

/// Pages from this number on are those of files.
const FILES: u32 = 1 << 20;

fn kind_of(page: u32) -> Kind {
    if page < FILES { Kind::Anonymous } else { Kind::File }
}

/// Pages in so many frames.
struct Cache {
    frames: Slots<Frame>,
    replacer: Replacer,
    room: usize,
    held: BTreeMap<u32, FrameNo>,
    gone: BTreeMap<u32, u32>,
    watched: BTreeSet<FrameNo>,
    early: u32,
}

impl Cache {
    fn new(replacement: Replacement, room: usize) -> Self {
        Self {
            frames: Slots::new(room as u32, Frame::new),
            replacer: Replacer::new(replacement),
            room,
            held: BTreeMap::new(),
            gone: BTreeMap::new(),
            watched: BTreeSet::new(),
            early: 0,
        }
    }

    /// The same, full of pages that were touched once: 0, 1 and so on.
    fn full(replacement: Replacement, room: usize) -> Self {
        let mut cache = Self::new(replacement, room);
        cache.touch_all(room as u32);
        cache
    }

    /// Uses a page; whether it was held.
    fn touch(&mut self, page: u32) -> bool {
        if let Some(no) = self.held.get(&page) {
            if self.watched.remove(no) {
                self.frames.get(no.0).mark_referenced();
            }
            return true;
        }
        // Ends: a policy gives every frame its turn.
        for _ in 0..100 {
            if self.held.len() < self.room {
                break;
            }
            self.round(1);
        }
        let no = FrameNo(self.frames.alloc(|_| true).expect("there is room"));
        self.frames.get(no.0).count.begin();
        let kind = kind_of(page);
        let origin = self.gone.remove(&page);
        let origin = origin.map_or(Origin::New, |at| Origin::Evicted { at });
        self.early += u32::from(self.replacer.add(&self.frames, no, kind, origin));
        self.held.insert(page, no);
        false
    }

    /// Uses the first so many pages.
    fn touch_all(&mut self, pages: u32) {
        for page in 0..pages {
            self.touch(page);
        }
    }

    /// One round of reclaim, as `Mm::reclaim` has them; the pages that went.
    fn round(&mut self, most: usize) -> Vec<u32> {
        let mut batch: Vec<Option<Isolated>> = (0..most).map(|_| None).collect();
        for _ in 0..8 {
            self.replacer.isolate_to_age(&self.frames, &mut batch);
            let mut idle = 0;
            for isolated in batch.iter_mut().filter_map(Option::take) {
                let used = self.frames.get(isolated.no.0).test_and_clear_referenced();
                if !used {
                    self.watched.insert(isolated.no);
                    idle += 1;
                }
                self.put_back(isolated, if used { Finding::Used } else { Finding::Idle });
            }
            if idle == 0 {
                break;
            }
        }
        self.replacer.isolate_victims(&self.frames, &mut batch);
        let mut went = Vec::new();
        for isolated in batch.into_iter().flatten() {
            if self.frames.get(isolated.no.0).test_and_clear_referenced() {
                self.put_back(isolated, Finding::Used);
            } else {
                went.push(self.evict(&isolated));
            }
        }
        went
    }

    fn put_back(&self, isolated: Isolated, found: Finding) {
        let no = self.replacer.settle(&self.frames, isolated, found);
        assert_eq!(self.frames.get(no.0).count.put(), Put::Held);
    }

    fn evict(&mut self, isolated: &Isolated) -> u32 {
        let no = isolated.no;
        let (&page, _) = self
            .held
            .iter()
            .find(|(_, held)| **held == no)
            .expect("it is held");
        self.held.remove(&page);
        self.watched.remove(&no);
        self.gone.insert(page, self.replacer.evicted());
        assert_eq!(self.frames.get(no.0).count.unmap(), Put::Held);
        assert_eq!(self.frames.get(no.0).count.put(), Put::Last);
        self.frames.free(no.0);
        page
    }

    fn victims<const N: usize>(&self) -> [Option<Isolated>; N] {
        let mut out = [const { None }; N];
        self.replacer.isolate_victims(&self.frames, &mut out);
        out
    }

    fn numbers(&self) -> BTreeSet<FrameNo> {
        let all = self.replacer.numbers(&self.frames);
        let set: BTreeSet<_> = all.iter().copied().collect();
        assert_eq!(all.len(), set.len(), "a frame stands on two queues");
        set
    }
}

/// Goal: what is touched once goes in the order in which it came, and a frame that is isolated
/// cannot be isolated twice.
#[test]
fn the_oldest_goes_first() {
    each(|replacement| {
        let cache = Cache::full(replacement, 40);
        let out = cache.victims::<2>();
        let first = out[0].as_ref().expect("there are many").no;
        assert_eq!(
            [first, out[1].as_ref().expect("there are many").no],
            [cache.held[&0], cache.held[&1]]
        );
        assert!(cache.replacer.isolate(&cache.frames, first).is_none());
        assert_eq!(cache.replacer.census().total(), 38);
        out.into_iter()
            .flatten()
            .for_each(|isolated| cache.put_back(isolated, Finding::Used));
        assert_eq!(
            cache.replacer.census(),
            Census {
                proven: 2,
                candidates: 38
            }
        );
        assert_eq!(
            cache.victims::<1>()[0].as_ref().expect("there are many").no,
            cache.held[&2]
        );
    });
}

/// Goal: a dying frame is passed over and can still be forgotten.
#[test]
fn dying_frames_stay() {
    each(|replacement| {
        let cache = Cache::full(replacement, 3);
        let [a, b, c] = [0, 1, 2].map(|page| cache.held[&page]);
        assert_eq!(cache.frames.get(a.0).count.unmap(), Put::Last);
        assert!(cache.replacer.isolate(&cache.frames, a).is_none());
        let out = cache.victims::<3>().map(|isolated| isolated.map(|i| i.no));
        assert_eq!(out, [Some(b), Some(c), None]);
        cache.replacer.forget(&cache.frames, a);
        cache.replacer.forget(&cache.frames, a);
        assert_eq!(cache.numbers(), BTreeSet::new());
    });
}

/// Goal: every finding keeps the frame, deferred and cold ones are the next, spared and used ones
/// are not.
#[test]
fn findings_order_frames() {
    let next = [Finding::Deferred, Finding::Cold];
    let later = [Finding::Spared, Finding::Used, Finding::Stayed, Finding::Idle];
    each(|replacement| {
        for found in next.into_iter().chain(later) {
            let cache = Cache::full(replacement, 40);
            let [isolated] = cache.victims::<1>();
            let isolated = isolated.expect("there are many");
            let no = isolated.no;
            cache.put_back(isolated, found);
            assert_eq!(cache.numbers().len(), 40);
            let [again] = cache.victims::<1>();
            let again = again.expect("there are many").no;
            assert_eq!(again == no, next.contains(&found), "{found:?}");
        }
    });
}

/// Goal: advice finds a page wherever it is, and the page goes first.
#[test]
fn cold_pages_go_first() {
    each(|replacement| {
        for uses in 0..4 {
            let mut cache = Cache::full(replacement, 40);
            for _ in 0..uses {
                cache.round(8);
                cache.touch_all(40);
            }
            let no = cache.held[&20];
            let isolated = cache.replacer.isolate(&cache.frames, no).expect("it is there");
            cache.put_back(isolated, Finding::Cold);
            let [first] = cache.victims::<1>();
            assert_eq!(first.expect("there are many").no, no, "{uses}");
        }
    });
}

/// Goal: frames that cannot go are nobody's victims, and come back as useful ones. One that is
/// isolated is not moved.
#[test]
fn unevictable_frames_are_left_alone() {
    each(|replacement| {
        let cache = Cache::full(replacement, 10);
        let no = cache.held[&0];
        cache.replacer.bring_back(&cache.frames, no);
        cache.replacer.set_aside(&cache.frames, no);
        cache.replacer.set_aside(&cache.frames, no);
        assert_eq!(
            (cache.replacer.unevictable(), cache.replacer.census().total()),
            (1, 9)
        );
        assert!(cache.replacer.isolate_beside(&cache.frames, no).is_none());
        let rest = cache.victims::<10>();
        assert_eq!(rest.iter().flatten().filter(|i| i.no != no).count(), 9);
        cache.replacer.set_aside(&cache.frames, cache.held[&1]);
        assert_eq!(cache.replacer.unevictable(), 1, "it is isolated");
        let aside = rest.into_iter().flatten().next().expect("nine");
        let _ = cache.replacer.settle_aside(&cache.frames, aside);
        assert_eq!(cache.replacer.unevictable(), 2);
        cache.replacer.bring_back(&cache.frames, no);
        assert_eq!(
            cache.replacer.census(),
            Census {
                proven: 1,
                candidates: 0
            }
        );
        assert_eq!(cache.replacer.unevictable(), 1);
    });
}

/// Goal: frames that were set aside and are doubted are nobody's victims until they are tried, the
/// oldest first; they can be taken, set aside again and forgotten.
#[test]
fn doubted_frames_wait_for_their_trial() {
    each(|replacement| {
        let cache = Cache::full(replacement, 10);
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| cache.held[&n]);
        assert!(!cache.replacer.doubt(&cache.frames, a), "it was not set aside");
        for no in [a, b, c, d] {
            cache.replacer.set_aside(&cache.frames, no);
            assert!(cache.replacer.doubt(&cache.frames, no));
        }
        let counts = || (cache.replacer.doubted(), cache.replacer.census().total());
        assert_eq!((counts(), cache.replacer.unevictable()), ((4, 6), 0));
        assert!(cache.replacer.isolate_beside(&cache.frames, a).is_none());
        assert!(!cache.replacer.bring_back(&cache.frames, a));
        assert_eq!(cache.replacer.try_doubted(&cache.frames, 1), 1);
        assert_eq!(counts(), (3, 7));
        assert!(!cache.replacer.doubt(&cache.frames, a), "it is tried already");
        cache.replacer.set_aside(&cache.frames, b);
        cache.replacer.forget(&cache.frames, c);
        assert_eq!((counts(), cache.replacer.unevictable()), ((1, 7), 1));
        let taken = cache.replacer.isolate(&cache.frames, d).expect("it lives");
        let _ = cache.replacer.settle(&cache.frames, taken, Finding::Stayed);
        assert_eq!(counts(), (0, 8));
        assert_eq!(cache.replacer.try_doubted(&cache.frames, 9), 0);
        assert_eq!(cache.replacer.numbers(&cache.frames).len(), 9);
    });
}

/// Goal: what comes back before as many others went as are held has proved useful; the same
/// evictions later it has not.
#[test]
fn early_refaults_are_useful() {
    each(|replacement| {
        for (others, early) in [(0, 1), (38, 1), (39, 0), (1000, 0)] {
            let mut cache = Cache::full(replacement, 40);
            assert_eq!(cache.round(1), [0]);
            for _ in 0..others {
                cache.replacer.evicted();
            }
            assert_eq!(cache.replacer.clock(), others + 1);
            cache.touch(0);
            assert_eq!(
                (cache.early, cache.replacer.census().proven),
                (early, early),
                "{others}"
            );
        }
    });
}

/// Goal: every frame has its turn, whatever it was found to be before, and when nothing is used all
/// go.
#[test]
fn all_go_in_the_end() {
    each(|replacement| {
        for uses in 0..4 {
            let mut cache = Cache::full(replacement, 200);
            for _ in 0..uses {
                cache.round(16);
                cache.touch_all(200);
            }
            let mut rounds = 0;
            while !cache.held.is_empty() && rounds < 100 {
                cache.round(16);
                rounds += 1;
            }
            assert_eq!(cache.replacer.census().total(), 0, "{uses}");
        }
    });
}

/// Goal: a pass over many pages that are used once leaves those that are used again and again.
/// Method: 40 pages are used by turns, two for each page of the pass, in a cache of 100; nearly all
/// of the pass misses, and nearly none of the 40.
#[test]
fn a_scan_leaves_what_is_used() {
    each(|replacement| {
        let mut cache = Cache::full(replacement, 100);
        let mut missed = 0;
        for n in 0..4_000 {
            cache.touch(1_000 + n);
            for page in [n * 2 % 40, (n * 2 + 1) % 40] {
                missed += u32::from(!cache.touch(page) && n > 1_000);
            }
        }
        println!("{missed} of 6000");
        assert!(missed < 60, "{replacement:?}: {missed}");
    });
}

mod balance;
mod loops;
