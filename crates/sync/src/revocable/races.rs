//! Race models of the gate: the look-up of an address, as a fault handler does it.
//!
//! Goal: who is inside sees fields that nobody changes, and those of the opening that let it in.
//! Method: a record whose fields are plain data (`Witness`), and a place that names it, as in the
//! table of addresses; an owner that opens, closes, reuses and opens again, and handlers that come
//! at any time.

use super::*;
use crate::model::Preemptions::{All, UpTo};
use crate::model::{Part, holds, part, race};
use crate::{Arc, Witness, thread};

/// A record, and the place of an address that names it or nothing.
#[derive(Default)]
struct Scene {
    place: AtomicU64,
    gate: Revocable,
    fields: Witness,
}

impl Scene {
    fn open(&self) {
        self.fields.write();
        self.gate.open();
        // Release: as the table of addresses publishes a record.
        self.place.store(1, Ordering::Release);
    }

    fn close(&self) {
        // Relaxed: a late handler is caught by the gate.
        self.place.store(0, Ordering::Relaxed);
        self.gate.close(thread::yield_now);
        self.fields.write();
    }
}

fn handler(scene: &Arc<Scene>) -> Part {
    part(scene, |s: &Scene| {
        // Acquire: pairs with the store that names the record.
        if s.place.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(inside) = s.gate.enter() {
            s.fields.read();
            drop(inside);
        }
    })
}

/// Goal: a handler meets the opening or nothing. Method: the first opening against two handlers.
#[test]
fn an_opening_publishes() {
    holds("gate: opened while two look an address up", All, || {
        let scene = Arc::new(Scene::default());
        race([part(&scene, Scene::open), handler(&scene), handler(&scene)]);
    });
}

/// Goal: the fields change only when nobody is inside. Method: an open gate is closed and its
/// fields are changed while handlers come and go.
#[test]
fn a_closing_waits() {
    holds("gate: closed while two are inside or come late", UpTo(3), || {
        let scene = Arc::new(Scene::default());
        scene.open();
        race([part(&scene, Scene::close), handler(&scene), handler(&scene)]);
    });
}

/// Goal: a handler with an old number meets the reused record whole, or closed. Method: close,
/// reuse and open again against one handler.
#[test]
fn a_reused_record_is_whole() {
    holds("gate: a record is reused under a late handler", UpTo(4), || {
        let scene = Arc::new(Scene::default());
        scene.open();
        let reuse = part(&scene, |s: &Scene| {
            s.close();
            s.open();
        });
        race([reuse, handler(&scene)]);
        scene.close();
    });
}
