//! What holds between the two kinds of content, whichever policy is chosen.
//!
//! Method: as in the file above; pages of files have great numbers.

use super::*;
use memfold_sim::Rng;

/// A hundred frames, and a program that uses by turns one page of 60 of one kind, at random, and
/// one page more of the other kind, which nobody uses again.
struct Mixed {
    cache: Cache,
    rng: Rng,
    next: u32,
}

impl Mixed {
    fn new(replacement: Replacement) -> Self {
        Self {
            cache: Cache::new(replacement, 100),
            rng: Rng::new(7),
            next: 100,
        }
    }

    /// How many of so many uses of the 60 pages, which are of this kind, miss.
    fn misses(&mut self, kind: Kind, uses: u32) -> u32 {
        let [again, once] = match kind {
            Kind::Anonymous => [0, FILES],
            Kind::File => [FILES, 0],
        };
        let mut missed = 0;
        for _ in 0..uses {
            self.cache.touch(once + self.next);
            self.next += 1;
            missed += u32::from(!self.cache.touch(again + self.rng.below(60)));
        }
        missed
    }
}

/// Goal: what is used again stays, whatever kind it is, though pages of the other kind that are
/// used once come all the time; and it is noticed when that turns round. (Of two kinds that cost
/// the same each would give by its size: more than 4,000 of these uses would miss.)
#[test]
fn what_comes_back_stays() {
    each(|replacement| {
        let mut mixed = Mixed::new(replacement);
        for kind in [Kind::Anonymous, Kind::File, Kind::Anonymous] {
            let first = mixed.misses(kind, 3_000);
            let missed = mixed.misses(kind, 10_000);
            println!("{kind:?}: {first} of 3000, then {missed} of 10000");
            assert!(missed < 300, "{replacement:?}, {kind:?}: {missed}");
        }
    });
}

/// Goal: frames of a kind that costs much have their turn when those of the other kind cannot go,
/// and when nothing is used all go.
#[test]
fn nobody_is_stranded() {
    each(|replacement| {
        let mut cache = Cache::new(replacement, 100);
        (0..97).for_each(|n| _ = cache.touch(n));
        (0..3).for_each(|n| _ = cache.touch(FILES + n));
        cache.replacer.wrote(Kind::File, 1000);
        let mut rounds = 0;
        // What of the others is to go is always found to be used.
        while (0..3).any(|n| cache.held.contains_key(&(FILES + n))) && rounds < 500 {
            (0..97).for_each(|n| cache.frames.get(cache.held[&n].0).mark_referenced());
            cache.round(8);
            rounds += 1;
        }
        println!("{rounds} rounds");
        assert!(rounds < 500, "{replacement:?}");
        while !cache.held.is_empty() && rounds < 1000 {
            cache.round(8);
            rounds += 1;
        }
        assert_eq!(cache.replacer.census().total(), 0, "{replacement:?}");
    });
}

/// Goal: of both kinds frames are watched, whichever has more that are to be.
#[test]
fn both_kinds_are_watched() {
    each(|replacement| {
        let mut cache = Cache::new(replacement, 200);
        for n in 0..100 {
            cache.touch(n);
            cache.touch(FILES + n);
        }
        // All prove useful.
        for _ in 0..40 {
            let mut batch = [const { None }; 8];
            cache.replacer.isolate_victims(&cache.frames, &mut batch);
            let all = batch.into_iter().flatten();
            all.for_each(|isolated| cache.put_back(isolated, Finding::Used));
        }
        let mut seen = BTreeSet::new();
        for _ in 0..2 {
            let mut batch = [const { None }; 8];
            assert_ne!(cache.replacer.isolate_to_age(&cache.frames, &mut batch), 0);
            for isolated in batch.into_iter().flatten() {
                seen.insert(Kind::of(cache.frames.get(isolated.no.0)) as u32);
                cache.put_back(isolated, Finding::Idle);
            }
        }
        assert_eq!(seen.len(), 2, "{replacement:?}");
    });
}
