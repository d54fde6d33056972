//! Race models of the counts: who may take a reference, who frees, what a freeze proves.
//!
//! Goal: a dying or frozen frame gives no reference; exactly one holder is the last; a freezer is
//! alone. Method: the `content` witness in `Count` is read under every reference and written by who
//! freed or froze the frame, so that loom reports whoever came too late; beside each rule stand the
//! historic ways to get it wrong. `memfold explain` tells the rules here.

mod freeze;

#[cfg(feature = "explored")]
pub(crate) use freeze::{freeze_rule, pin_rule};

use super::*;
use crate::frame::{MappingWord, Owner};
use crate::table::{LeafSlot, TableNo};
use memfold_sync::model::Preemptions::All;
use memfold_sync::model::{Outside, Rule, part, race};
#[cfg(test)]
use memfold_sync::model::{Part, Preemptions::UpTo, holds};
use memfold_sync::{Arc, Mutex, Rank, thread, trace};

const ONE: Counts = Counts {
    refs: 1,
    maps: 1,
    pins: 0,
};

/// Counts as the log of an execution shows them, legal or not.
fn show(word: u64) -> String {
    if word == FROZEN {
        return "frozen".to_owned();
    }
    let named = |count: u64, name: &str| match count {
        0 => None,
        1 => Some(format!("1 {name}")),
        _ => Some(format!("{count} {name}s")),
    };
    let fields = [
        named(word & FIELD, "ref"),
        named(word >> 24 & FIELD, "map"),
        named(word >> 48, "pin"),
    ];
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    match fields.is_empty() {
        true => "nothing".to_owned(),
        false => fields.join(", "),
    }
}

/// Names the counts in the log of an execution.
pub(crate) fn name(count: &Count) {
    trace::name(&count.word, "the counts", show);
    trace::call(&count.content, "the frame's content");
}

fn owner(leaf: u32) -> LeafSlot {
    LeafSlot {
        leaf: TableNo(leaf),
        slot: 0,
    }
}

struct Scene {
    count: Count,
    /// Who owns the frame: leaf 1 alone, or, when it was merged, leaf 2 with others.
    word: MappingWord,
    /// The frame lock, under which mappings and pins change.
    lock: Mutex<()>,
    /// Plain data of each holder.
    work: [Witness; 3],
    /// How many holders were told that they are the last.
    last: Outside<u32>,
}

impl Scene {
    /// A frame with one mapping and `extra` references besides.
    fn new(extra: u32) -> Arc<Self> {
        let count = Count::new();
        count.begin();
        (0..extra).for_each(|_| assert!(count.try_get()));
        let word = MappingWord::new();
        word.set(Owner::Exclusive(owner(1)));
        let scene = Arc::new(Self {
            count,
            word,
            lock: Mutex::new(Rank::Frame, ()),
            work: [Witness::new(), Witness::new(), Witness::new()],
            last: Outside::new(0),
        });
        name(&scene.count);
        crate::frame::word::races::name(&scene.word);
        scene.lock.call("the frame lock");
        for (n, work) in scene.work.iter().enumerate() {
            trace::call(work, &format!("what holder {n} did"));
        }
        scene
    }

    fn tell(&self, put: Put) {
        if put == Put::Last {
            self.last.with(|n| *n += 1);
        }
    }

    /// A reclaimer: isolates the frame, decides by the word how to walk, and looks at the word
    /// again where it walks.
    fn walk(&self) {
        if !self.count.try_get() {
            return trace::note("is refused: leaves the frame where it is");
        }
        trace::note("holds the frame (isolate_lru_page)");
        let decided = self.word.load();
        trace::note("decides how to walk (page_referenced)");
        let walked = self.word.load();
        assert_eq!(
            decided, walked,
            "the frame became a merged one while somebody held it"
        );
        self.tell(self.count.put());
    }

    /// Who takes a reference, uses the frame and drops it: a reclaimer.
    #[cfg(test)]
    fn isolate(&self) {
        if self.count.try_get() {
            self.tell(self.count.put());
        }
    }

    fn check_freed_once(&self) {
        self.last
            .with(|n| assert_eq!(*n, 1, "a frame was freed {n} times"));
        assert!(!self.count.try_get(), "a freed frame gave a reference");
    }
}

/// How a reference is taken by who holds none.
#[derive(Clone, Copy)]
enum Get {
    /// Without a look at what the count was (Linux: `get_page`).
    Blindly,
    /// The rule.
    Try,
}

fn get(count: &Count, how: Get) -> bool {
    match how {
        Get::Try => count.try_get(),
        Get::Blindly => {
            // Acquire: the defect is not the ordering.
            count.word.fetch_add(REF, Ordering::Acquire);
            count.content.read();
            true
        }
    }
}

fn dying(how: Get) -> impl Fn() {
    move || {
        let scene = Scene::new(0);
        let reclaim = part(&scene, move |s: &Scene| {
            if get(&s.count, how) {
                s.tell(s.count.put());
            }
        });
        let unmap = part(&scene, |s: &Scene| s.tell(s.count.unmap()));
        race([
            reclaim.called("reclaimer (isolate_lru_page)"),
            unmap.called("the last mapper goes"),
        ]);
        scene.check_freed_once();
    }
}

/// A dying frame gives no reference.
pub(crate) fn get_rule() -> Rule {
    let title = "count: try_get against the last put";
    Rule::new(title, All, dying(Get::Try)).defect(
        ["get-of-a-dying-frame", "count: a reference is taken without a look"],
        "The reclaimer adds its reference without a look at what the count was. It was nothing: the last mapper has \
         gone and frees the frame, which now has a user and an undertaker.",
        "",
        dying(Get::Blindly),
    )
}

/// Goal: R42, a dying frame gives no reference. Method: a reclaimer gets one while the last mapper
/// goes.
#[test]
fn a_dying_frame_is_refused() {
    get_rule().prove();
}

/// Three holders let go, each in its way; the last one reads what all did.
#[cfg(test)]
fn three_let_go(scene: &Arc<Scene>, ways: [fn(&Count) -> Put; 3]) {
    let let_go = |n: usize| -> Part {
        part(scene, move |s: &Scene| {
            s.work[n].write();
            let put = ways[n](&s.count);
            if put == Put::Last {
                s.work.iter().for_each(Witness::read);
            }
            s.tell(put);
        })
    };
    race([let_go(0), let_go(1), let_go(2)]);
    scene.check_freed_once();
}

/// Goal: one of three holders is the last, and sees what the others did. Method: each changes plain
/// data of its own first, which the last one reads; references, mappings and pins.
#[test]
fn one_holder_is_the_last() {
    holds("count: three holders, one is the last", UpTo(3), || {
        three_let_go(&Scene::new(2), [Count::put, Count::put, Count::unmap]);
    });
    holds("count: the same, one by a pin", UpTo(3), || {
        let scene = Scene::new(1);
        assert!(scene.count.pin());
        three_let_go(&scene, [Count::put, Count::unpin, Count::unmap]);
    });
}

/// Goal: mapping and unmapping by sharers loses no reference of a reclaimer. Method: a second leaf
/// maps and unmaps, a reclaimer takes a reference and drops it, the first leaf unmaps.
#[test]
fn mapping_and_isolating_do_not_disturb() {
    holds("count: map, unmap and try_get, three threads", UpTo(3), || {
        // The leaf that is to map holds a reference meanwhile.
        let scene = Scene::new(1);
        let sharer = part(&scene, |s: &Scene| {
            {
                let _held = s.lock.lock();
                s.count.map();
            }
            let _held = s.lock.lock();
            s.tell(s.count.put());
            s.tell(s.count.unmap());
        });
        let first = part(&scene, |s: &Scene| {
            let _held = s.lock.lock();
            s.tell(s.count.unmap());
        });
        race([sharer, first, part(&scene, Scene::isolate)]);
        scene.check_freed_once();
    });
}

/// Goal: whoever sees that it is alone (`load`) sees what the others did. Method: the write fault's
/// question, is this the only mapping, against a sharer that lets go.
#[test]
fn alone_means_alone() {
    holds("count: load against the unmap of a sharer", All, || {
        let scene = Scene::new(0);
        scene.count.map();
        let sharer = part(&scene, |s: &Scene| {
            s.work[0].read();
            assert_eq!(s.count.unmap(), Put::Held);
        });
        let writer = part(&scene, |s: &Scene| {
            if s.count.load() == ONE {
                s.work[0].write();
            }
        });
        race([sharer, writer]);
    });
}

/// Goal: who finds a frame by an old number sees it set up, or is refused. Method: free, reuse, and
/// a `try_get` meanwhile.
#[test]
fn a_reused_frame_is_seen_set_up() {
    holds("count: begin against try_get by an old number", All, || {
        let scene = Scene::new(0);
        fn put(s: &Scene, put: Put) {
            if put == Put::Last {
                // The next user fills the frame.
                s.work[0].write();
                s.count.begin();
            }
        }
        let user = part(&scene, |s: &Scene| put(s, s.count.unmap()));
        let finder = part(&scene, |s: &Scene| {
            if s.count.try_get() {
                s.work[0].read();
                put(s, s.count.put());
            }
        });
        race([user, finder]);
        assert_eq!(scene.count.load(), ONE);
    });
}
