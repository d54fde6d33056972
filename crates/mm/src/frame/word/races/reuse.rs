//! Race models of a frame that is used again: generations, and numbers that were kept.

use super::*;
use crate::addr::{FrameNo, PoolPage};
use crate::frame::{Locked, Residence};

/// Goal: a reader without the lock sees a living owner or nobody, and generations only grow.
/// Method: the head leaves the chain, then the frame retires and is used again, against two loads.
#[test]
fn unmap_and_retire_show_whole_owners() {
    memfold_sync::model::holds("word: unmap, retire and reuse against two loads", All, || {
        let scene = Scene::new();
        let writer = part(&scene, |scene: &Scene| {
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            held.set_owner(Owner::Shared(leaf(TAKER)));
            held.retire();
            held.set_owner(Owner::Exclusive(leaf(SHARER)));
        });
        race([
            writer,
            part(&scene, |scene: &Scene| load_twice(&scene.frame.word)),
        ]);
    });
}

#[cfg(test)]
fn load_twice(word: &MappingWord) {
    let (first, second) = (word.load(), word.load());
    assert!(first.generation <= second.generation, "generations went back");
    for seen in [first, second] {
        let legal = match seen.owner {
            Owner::Shared(_) => seen.generation == 0,
            Owner::Nobody => seen.generation == 1,
            Owner::Exclusive(at) => seen.generation == 1 && at == leaf(SHARER),
            Owner::Merged(_) | Owner::File(_) => false,
        };
        assert!(legal, "{seen:?} was never written");
    }
}

/// Goal: who sees that a use of the frame is over sees it emptied. Method: its chain is taken
/// apart, the frame retires, a reader without the lock looks at the chain when it sees the next
/// generation.
#[test]
fn a_retired_frame_is_seen_emptied() {
    memfold_sync::model::holds("word: retire against a load", All, || {
        let scene = Scene::new();
        let last = part(&scene, |scene: &Scene| {
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            scene.chains[SHARER as usize].write();
            held.retire();
        });
        let reader = part(&scene, |scene: &Scene| {
            if scene.frame.word.load().generation == 1 {
                scene.chains[SHARER as usize].read();
            }
        });
        race([last, reader]);
    });
}

/// What a holder of an old number compares before it goes on.
#[derive(Clone, Copy)]
enum Compare {
    /// The owner alone: the same slot may have got the same frame again.
    Owner,
    /// The rule: the whole snapshot.
    Snapshot,
}

fn reuse(compare: Compare) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let before = scene.frame.word.load();
        let reuser = part(&scene, |scene: &Scene| {
            Locked::wait(FrameNo(1), &scene.frame).retire();
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            held.residence = Residence::Overflow(PoolPage(9));
            held.set_owner(Owner::Shared(leaf(SHARER)));
        });
        let follower = part(&scene, move |scene: &Scene| {
            let held = Locked::wait(FrameNo(1), &scene.frame);
            let now = held.frame.word.load();
            let same = match compare {
                Compare::Owner => now.owner == before.owner,
                Compare::Snapshot => now == before,
            };
            trace::note(match same {
                true => "finds what it remembers: goes on with this frame",
                false => "finds another: gives up",
            });
            let first_use = held.residence == Residence::Nowhere;
            assert!(
                !same || first_use,
                "followed a number into another use of its frame"
            );
        });
        race([
            reuser.called("frees the frame, uses it again"),
            follower.called("follows a number it kept"),
        ]);
    }
}

/// Who follows a frame's number compares the whole word with what it remembers, generation and all.
pub(crate) fn reuse_rule() -> Rule {
    let title = "word: stale number, the whole snapshot is compared";
    Rule::new(title, All, reuse(Compare::Snapshot)).defect(
        ["owner-without-recheck", "word: stale number, the owner alone is compared"],
        "The follower kept a frame's number, finds the owner that it remembers, and goes on. The frame was freed and \
         is used again, by the same slot of the same leaf: only its generation would have told.",
        "another use of its frame",
        reuse(Compare::Owner),
    )
}

/// Goal: a stale frame number is noticed after reuse. Method: retire and reuse for the very same
/// slot.
#[test]
fn a_stale_number_is_noticed() {
    reuse_rule().prove();
}
