//! Race models of tables: who may change one, and what an entry publishes.
//!
//! Goal: a space that finds itself the only parent of a table, and of the tables below it, sees all
//! that the other parents did, and is right. Method: plain data for what a table's slots say; a
//! parent that copies and lets go against one that asks whether it is alone.

use super::*;
#[cfg(test)]
use crate::addr::FrameNo;
#[cfg(test)]
use memfold_sync::model::holds;
use memfold_sync::model::{Preemptions::All, Rule, part, race};
use memfold_sync::{Arc, Witness, trace};

/// A root that two spaces share, and the leaf below it.
struct Scene {
    root: Table,
    leaf: Table,
    /// What the leaf's slots say.
    slots: Witness,
}

/// How a parent lets go.
#[derive(Clone, Copy)]
enum LetGo {
    /// Hands nothing on.
    Relaxed,
    /// The rule.
    AcqRel,
}

impl Scene {
    fn new() -> Arc<Self> {
        let scene = Self {
            root: Table::new(),
            leaf: Table::new(),
            slots: Witness::new(),
        };
        scene.root.add_ref();
        scene.root.add_ref();
        scene.leaf.add_ref();
        let scene = Arc::new(scene);
        trace::name(&scene.root.refs, "the root's parents", |n| n.to_string());
        trace::name(&scene.leaf.refs, "the leaf's parents", |n| n.to_string());
        trace::call(&scene.slots, "the leaf's slots");
        scene
    }

    fn drop_root(&self, how: LetGo) -> bool {
        match how {
            LetGo::AcqRel => self.root.drop_ref(),
            // Relaxed: the defect.
            LetGo::Relaxed => self.root.refs.fetch_sub(1, Ordering::Relaxed) == 1,
        }
    }

    /// A write fault's question: does the path belong to this space alone?
    fn write_if_alone(&self) -> bool {
        let alone = self.root.refs() == 1 && self.leaf.refs() == 1;
        if alone {
            trace::note("has both tables to itself: writes in place");
            self.slots.write();
        }
        alone
    }
}

fn reads_and_drops(how: LetGo) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let other = part(&scene, move |s: &Scene| {
            s.slots.read();
            assert!(!s.drop_root(how), "the asking space still points at the root");
        });
        let asker = part(&scene, |s: &Scene| {
            s.write_if_alone();
        });
        race([
            other.called("a space lets go"),
            asker.called("write fault of another"),
        ]);
    }
}

/// Goal: R08, alone means that the others are done. Method: a parent reads and lets go, another
/// asks, then writes.
#[test]
fn alone_means_that_others_are_done() {
    let [alone, _] = alone_rules();
    alone.prove();
}

fn copies_and_drops(how: LetGo) -> impl Fn() {
    move || {
        let scene = Scene::new();
        // The other space copies the root, whose copy is a second parent of the leaf, and lets the
        // old root go.
        let other = part(&scene, move |s: &Scene| {
            s.leaf.add_ref();
            assert!(!s.drop_root(how), "the asking space still points at the root");
        });
        let asker = part(&scene, |s: &Scene| {
            assert!(!s.write_if_alone(), "wrote to a leaf that another space shares");
        });
        race([
            other.called("a space copies the root"),
            asker.called("write fault of another"),
        ]);
    }
}

/// Who finds itself the only parent of a table sees what the other parents did.
pub(crate) fn alone_rules() -> [Rule; 2] {
    let alone = Rule::new("table: refs against drop_ref", All, reads_and_drops(LetGo::AcqRel)).defect(
        ["parent-gone-unseen", "table: drop_ref hands nothing on"],
        "The write fault finds the table its own, and writes. The other space let go by a count that hands nothing \
         on: what it did before, it may be doing still.",
        "Causality violation",
        reads_and_drops(LetGo::Relaxed),
    );
    let title = "table: refs down a path against a copy of its root";
    let path = Rule::new(title, All, copies_and_drops(LetGo::AcqRel)).defect(
        ["shared-leaf-unseen", "table: drop_ref hands nothing on, and the root was copied"],
        "The write fault finds the root its own, and asks the leaf's count, which does not show the other space's copy \
         of the root yet. It writes to a leaf that both have.",
        "another space shares",
        copies_and_drops(LetGo::Relaxed),
    );
    [alone, path]
}

/// Goal: who finds the root its own finds the leaf shared. Method: the other space copies the root
/// before it lets go.
#[test]
fn a_copied_root_leaves_the_leaf_shared() {
    let [_, path] = alone_rules();
    path.prove();
}

/// Goal: of two parents that let go, one frees, and sees what the other did. Method: both read the
/// slots first; who frees writes.
#[test]
fn the_last_parent_frees() {
    holds("table: two parents let go", All, || {
        let scene = Scene::new();
        let let_go = || {
            part(&scene, |s: &Scene| {
                s.slots.read();
                if s.root.drop_ref() {
                    s.slots.write();
                }
            })
        };
        race([let_go(), let_go()]);
        assert_eq!(scene.root.refs(), 0);
    });
}

/// Goal: an entry publishes what it names. Method: a frame is set up, stored in an entry, found
/// there by a walk without a lock.
#[test]
fn an_entry_publishes() {
    holds("table: an entry stored against a walk", All, || {
        let scene = Scene::new();
        let maker = part(&scene, |s: &Scene| {
            s.slots.write();
            s.leaf.slot(3).entry.set_leaf(LeafEntry::Frame(FrameNo(5)));
        });
        let walker = part(&scene, |s: &Scene| match s.leaf.slot(3).entry.leaf() {
            LeafEntry::Absent => (),
            found => {
                assert_eq!(found, LeafEntry::Frame(FrameNo(5)));
                s.slots.read();
            }
        });
        race([maker, walker]);
    });
}
