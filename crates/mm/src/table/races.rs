//! Race models of tables: who may change one, and what an entry publishes.
//!
//! Goal: a space that finds itself the only parent of a table, and of the tables below it, sees all
//! that the other parents did, and is right. Method: plain data for what a table's slots say; a parent that copies and lets go against
//! one that asks whether it is alone.

use super::*;
use crate::addr::FrameNo;
use memfold_sync::model::{Preemptions::All, caught, holds, part, race};
use memfold_sync::{Arc, Witness};

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
        Arc::new(scene)
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
        race([other, asker]);
    }
}

/// Goal: R08, alone means that the others are done. Method: a parent reads and lets go, another asks, then writes.
#[test]
fn alone_means_that_others_are_done() {
    holds(
        "table: refs against drop_ref",
        All,
        reads_and_drops(LetGo::AcqRel),
    );
    caught(
        "table: relaxed drop_ref",
        All,
        "Causality violation",
        reads_and_drops(LetGo::Relaxed),
    );
}

fn copies_and_drops(how: LetGo) -> impl Fn() {
    move || {
        let scene = Scene::new();
        // The other space copies the root, whose copy is a second parent of the leaf, and lets the old root go.
        let other = part(&scene, move |s: &Scene| {
            s.leaf.add_ref();
            assert!(!s.drop_root(how), "the asking space still points at the root");
        });
        let asker = part(&scene, |s: &Scene| {
            assert!(!s.write_if_alone(), "wrote to a leaf that another space shares");
        });
        race([other, asker]);
    }
}

/// Goal: who finds the root its own finds the leaf shared. Method: the other space copies the root before it lets go.
#[test]
fn a_copied_root_leaves_the_leaf_shared() {
    holds(
        "table: refs down a path against a copy of its root",
        All,
        copies_and_drops(LetGo::AcqRel),
    );
    caught(
        "table: the same, relaxed drop_ref",
        All,
        "another space shares",
        copies_and_drops(LetGo::Relaxed),
    );
}

/// Goal: of two parents that let go, one frees, and sees what the other did. Method: both read the slots first; who frees writes.
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

/// Goal: an entry publishes what it names. Method: a frame is set up, stored in an entry, found there by a walk without a lock.
#[test]
fn an_entry_publishes() {
    holds("table: an entry stored against a walk", All, || {
        let scene = Scene::new();
        let maker = part(&scene, |s: &Scene| {
            s.slots.write();
            s.leaf.slot(3).entry.store(Entry::Frame(FrameNo(5)));
        });
        let walker = part(&scene, |s: &Scene| match s.leaf.slot(3).entry.load() {
            Entry::Absent => (),
            found => {
                assert_eq!(found, Entry::Frame(FrameNo(5)));
                s.slots.read();
            }
        });
        race([maker, walker]);
    });
}
