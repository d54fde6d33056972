//! Race models of the queues: isolation against the last put, against itself, and putback.
//!
//! Goal: a frame on no list is never freed twice, one on a list never freed, and nobody isolates a
//! frame twice. Method: the scene frees a frame as the manager does (`forget`, then the free list)
//! and asserts what must hold at that moment; beside each order stands the historic one that fails.

use super::*;
use crate::frame::Put;
use memfold_sync::model::Preemptions::All;
use memfold_sync::model::{Outside, Rule, part, race};
#[cfg(test)]
use memfold_sync::model::{Part, Preemptions::UpTo, holds};
use memfold_sync::{Arc, trace};

struct Scene {
    frames: Slots<Frame>,
    replacer: Replacer,
    numbers: Vec<FrameNo>,
    freed: Outside<Vec<FrameNo>>,
    isolated: Outside<Vec<FrameNo>>,
}

impl Scene {
    /// `n` frames, each with one mapping, that are to be victims; the first is the next.
    fn new(n: usize) -> Arc<Self> {
        let mut scene = Self {
            frames: Slots::new(7, Frame::new),
            replacer: Replacer::new(Replacement::TwoLists),
            numbers: Vec::new(),
            freed: Outside::default(),
            isolated: Outside::default(),
        };
        for _ in 0..n {
            let no = FrameNo(scene.frames.alloc(|_| true).unwrap());
            scene.frames.get(no.0).count.begin();
            let _ = scene
                .replacer
                .add(&scene.frames, no, Kind::Anonymous, Origin::New);
            scene.numbers.push(no);
        }
        let scene = Arc::new(scene);
        scene.replacer.queues.call("the lock of the queues");
        for no in &scene.numbers {
            let frame = scene.frames.get(no.0);
            crate::frame::count::races::name(&frame.count);
            trace::name(&frame.links.on.0, "the frame's queue", |queue| {
                ["none", "unevictable", "doubted", "active", "inactive"][queue as usize].to_owned()
            });
            let frame_or_none = |no: u64| match no {
                0 => "nothing".to_owned(),
                no => format!("frame {no}"),
            };
            trace::name(&frame.links.next.0, "the link forth", frame_or_none);
            trace::name(&frame.links.prev.0, "the link back", frame_or_none);
        }
        scene
    }

    fn free_if_last(&self, no: FrameNo, put: Put) {
        if put == Put::Held {
            return;
        }
        trace::note("is the last holder: frees the frame");
        self.replacer.forget(&self.frames, no);
        self.freed.with(|freed| {
            assert!(!freed.contains(&no), "frame {no} was freed twice");
            freed.push(no);
        });
        self.frames.free(no.0);
    }

    fn unmap(&self, no: FrameNo) {
        self.free_if_last(no, self.frames.get(no.0).count.unmap());
    }

    fn enter(&self, no: FrameNo) {
        self.isolated.with(|isolated| {
            assert!(!isolated.contains(&no), "frame {no} was isolated twice");
            isolated.push(no);
        });
    }

    fn put_back(&self, isolated: Isolated, order: Order) {
        let no = isolated.no;
        self.isolated.with(|isolated| isolated.retain(|&n| n != no));
        let frame = self.frames.get(no.0);
        match order {
            Order::AddThenPut => {
                let no = self.replacer.settle(&self.frames, isolated, Finding::Used);
                self.free_if_last(no, frame.count.put());
            }
            Order::PutThenAdd => {
                self.free_if_last(no, frame.count.put());
                let _ = self.replacer.settle(&self.frames, isolated, Finding::Used);
            }
        }
    }

    /// Takes one frame off its list and puts it back.
    fn age(&self, no: FrameNo, order: Order) {
        if let Some(isolated) = self.replacer.isolate(&self.frames, no) {
            self.enter(no);
            self.put_back(isolated, order);
        }
    }

    /// Takes a batch off the tail and puts it back.
    #[cfg(test)]
    fn shrink(&self) {
        let mut batch = [const { None }; 2];
        self.replacer.isolate_victims(&self.frames, &mut batch);
        batch
            .iter()
            .flatten()
            .for_each(|isolated| self.enter(isolated.no));
        for isolated in batch.into_iter().flatten() {
            self.put_back(isolated, Order::AddThenPut);
        }
    }

    /// Listed are exactly the frames that were not freed.
    fn check(&self) {
        let listed = self.replacer.numbers(&self.frames);
        let freed = self.freed.with(|freed| freed.clone());
        for &no in &self.numbers {
            let (listed, freed) = (listed.contains(&no), freed.contains(&no));
            assert!(listed != freed, "frame {no}: listed {listed}, freed {freed}");
        }
    }
}

/// What a reclaimer does first when it is done with a frame.
#[derive(Clone, Copy)]
enum Order {
    /// The rule: the last holder can still take the frame off its list.
    AddThenPut,
    /// R41: the frame may be freed and used again when it is put on a list.
    PutThenAdd,
}

fn isolate_and_die(order: Order) -> impl Fn() {
    move || {
        let scene = Scene::new(1);
        let no = scene.numbers[0];
        let age = part(&scene, move |s: &Scene| s.age(no, order));
        let unmap = part(&scene, move |s: &Scene| s.unmap(no));
        race([
            age.called("reclaimer (shrink_active_list)"),
            unmap.called("the last mapper goes"),
        ]);
        scene.check();
    }
}

/// A frame is put back on its list before the reference from its isolation is dropped.
pub(crate) fn putback_rule() -> Rule {
    let title = "lru: isolate and putback against the last put";
    Rule::new(title, All, isolate_and_die(Order::AddThenPut)).defect(
        ["put-before-putback", "lru: the reference is dropped before the putback"],
        "The reclaimer drops its reference, then puts the frame back on a list. The reference was the last one: what \
         it puts back is a free frame.",
        "frame",
        isolate_and_die(Order::PutThenAdd),
    )
}

/// Goal: R41, a frame on a list is never freed. Method: isolate and put back against the last
/// unmap, in both orders.
#[test]
fn putback_comes_before_put() {
    putback_rule().prove();
}

/// Goal: one frame is isolated by one. Method: two reclaimers and the last unmap, three threads.
#[test]
fn nobody_isolates_twice() {
    holds("lru: two reclaimers and the last put", UpTo(2), || {
        let scene = Scene::new(1);
        let no = scene.numbers[0];
        let age = || -> Part { part(&scene, move |s: &Scene| s.age(no, Order::AddThenPut)) };
        let unmap = part(&scene, move |s: &Scene| s.unmap(no));
        race([age(), age(), unmap]);
        scene.check();
    });
}

/// Goal: a batch passes over the dying and the isolated. Method: a batch of two against the unmap
/// of one and the isolation of the other.
#[test]
fn a_batch_takes_what_is_alive() {
    holds("lru: a batch against an unmap and an isolation", UpTo(2), || {
        let scene = Scene::new(2);
        let [a, b] = [scene.numbers[0], scene.numbers[1]];
        let unmap = part(&scene, move |s: &Scene| s.unmap(a));
        let age = part(&scene, move |s: &Scene| s.age(b, Order::AddThenPut));
        race([part(&scene, Scene::shrink), unmap, age]);
        scene.check();
    });
}

/// Goal: two batches share the list. Method: two reclaimers take batches of two from three frames.
#[test]
fn two_batches_share_a_list() {
    holds("lru: two batches from one list", All, || {
        let scene = Scene::new(3);
        race([part(&scene, Scene::shrink), part(&scene, Scene::shrink)]);
        scene.check();
        assert!(scene.freed.with(|freed| freed.is_empty()));
    });
}

/// Goal: R42, a list may give a reference to a frame that was reused, never to one that is free.
/// Method: unmap, reuse, and isolation by the old number.
#[test]
fn an_old_number_gives_no_free_frame() {
    holds("lru: isolation by the number of a reused frame", All, || {
        let scene = Scene::new(1);
        let no = scene.numbers[0];
        let reuse = part(&scene, move |s: &Scene| {
            s.unmap(no);
            let again = FrameNo(s.frames.alloc(|_| true).unwrap());
            s.freed.with(|freed| freed.retain(|&n| n != again));
            s.frames.get(again.0).count.begin();
            if again == no {
                let _ = s.replacer.add(&s.frames, again, Kind::Anonymous, Origin::New);
            }
        });
        let age = part(&scene, move |s: &Scene| s.age(no, Order::AddThenPut));
        race([reuse, age]);
        scene.check();
    });
}
