//! What a freeze of the counts proves, and that pins and freezes keep out of each other's way.
//!
//! The scene and the conditions are those of the file above; `memfold explain` tells these rules.

use super::*;

/// What a merger does before it converts a frame.
#[derive(Clone, Copy)]
enum Guard {
    /// Nothing.
    None,
    /// Compares the counts, then converts: the comparison may be stale by then.
    Check,
    /// Freezes, but ends the freeze by a relaxed store.
    RelaxedThaw,
    /// The rule.
    Freeze,
}

/// Converts the frame if the guard allows.
fn convert(s: &Scene, guard: Guard) {
    let proven = match guard {
        Guard::None => true,
        Guard::Check => s.count.load() == ONE,
        Guard::RelaxedThaw | Guard::Freeze => s.count.freeze(ONE),
    };
    if !proven {
        return trace::note("somebody holds it: does not merge");
    }
    trace::note(match guard {
        Guard::None => "merges the frame",
        _ => "nobody else holds it: merges the frame",
    });
    s.word.set(Owner::Shared(owner(2)));
    match guard {
        Guard::None | Guard::Check => (),
        Guard::RelaxedThaw => {
            s.count.content.write();
            // Relaxed: the defect.
            s.count.word.store(join(ONE), Ordering::Relaxed);
        }
        Guard::Freeze => {
            thread::yield_now();
            s.count.thaw(ONE);
        }
    }
}

fn merge(guard: Guard) -> impl Fn() {
    move || {
        let scene = Scene::new(0);
        let merger = part(&scene, move |s: &Scene| convert(s, guard));
        let reclaimer = part(&scene, Scene::walk);
        race([
            merger.called("merger (ksmd)"),
            reclaimer.called("reclaimer (shrink_active_list)"),
        ]);
        assert_eq!(scene.count.load(), ONE, "a reference was lost or left");
    }
}

/// Held means not becoming something else: only a freeze proves that nobody holds the frame.
pub(crate) fn freeze_rule() -> Rule {
    let title = "count: freeze against try_get, two looks and put";
    Rule::new(title, All, merge(Guard::Freeze))
        .defect(
            ["merge-uncounted", "count: a merger that does not count"],
            "The merger asks nobody. The reclaimer holds the frame and has decided how to walk its mappers; where it \
             walks, the frame is a merged one.",
            "became a merged one",
            merge(Guard::None),
        )
        .defect(
            ["check-then-convert", "count: a merger that counts, then converts"],
            "One reference, one mapping: that was true when the merger looked, and nothing kept it true. The reclaimer \
             isolated the frame after the look and before the conversion. A count that is only compared is no proof, \
             unless something else keeps it as it is.",
            "became a merged one",
            merge(Guard::Check),
        )
        .defect(
            ["relaxed-thaw", "count: a thaw that publishes nothing"],
            "The freeze kept everybody out, but the store that ends it publishes nothing. The next holder takes its \
             reference from that store, decides that the frame is its to use, and may see it as it was before.",
            "Causality violation",
            merge(Guard::RelaxedThaw),
        )
}

/// Goal: R02, held means not becoming something else. Method: conversion against a holder that
/// looks twice.
#[test]
fn a_freeze_is_the_only_proof() {
    freeze_rule().prove();
}

/// Goal: a freezer sees what earlier holders did. Method: a holder changes plain data and lets go;
/// who freezes reads it.
#[test]
fn a_freeze_sees_what_holders_did() {
    holds("count: freeze against the put of a holder", All, || {
        let scene = Scene::new(1);
        let holder = part(&scene, |s: &Scene| {
            s.work[0].write();
            assert_eq!(s.count.put(), Put::Held);
        });
        let freezer = part(&scene, |s: &Scene| {
            if s.count.freeze(ONE) {
                s.work[0].read();
                s.count.thaw(ONE);
            }
        });
        race([holder, freezer]);
        assert!(scene.count.freeze(ONE), "nobody else is left");
    });
}

/// Whether pin and freeze hold the frame lock.
#[derive(Clone, Copy, PartialEq)]
enum Under {
    Nothing,
    FrameLock,
}

fn pin_and_freeze(under: Under) -> impl Fn() {
    move || {
        let scene = Scene::new(0);
        let pinner = part(&scene, move |s: &Scene| {
            let held = (under == Under::FrameLock).then(|| s.lock.lock());
            assert!(s.count.pin());
            drop(held);
            // The device reads and writes the page here.
            s.count.content.read();
            let _held = (under == Under::FrameLock).then(|| s.lock.lock());
            assert_eq!(s.count.unpin(), Put::Held);
        });
        let merger = part(&scene, move |s: &Scene| {
            let _held = (under == Under::FrameLock).then(|| s.lock.lock());
            convert(s, Guard::Freeze);
        });
        race([
            pinner.called("pin (pin_user_pages)"),
            merger.called("merger (ksmd)"),
        ]);
        assert_eq!(scene.count.load(), ONE);
    }
}

/// A pinned frame is not converted, and a frozen one not pinned.
pub(crate) fn pin_rule() -> Rule {
    let title = "count: pin against freeze, under the frame lock";
    Rule::new(title, All, pin_and_freeze(Under::FrameLock)).defect(
        ["pin-without-lock", "count: a pin without the frame lock"],
        "A pin adds to the counts without a look, because under the frame lock nobody can have frozen them. Without \
         the lock it adds to a frozen word.",
        "pinned a frozen frame",
        pin_and_freeze(Under::Nothing),
    )
}

/// Goal: a pinned frame is not converted. Method: pin, use, unpin against a freeze, under the frame
/// lock and without.
#[test]
fn a_pinned_frame_is_not_frozen() {
    pin_rule().prove();
}
