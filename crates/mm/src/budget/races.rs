//! Race models of the budget.
//!
//! Goal: the limit is never passed, not for a moment, and nothing is lost. Method: threads that
//! together want more than there is; what each got is added up outside the model.

use super::*;
use memfold_sync::model::Preemptions::All;
use memfold_sync::model::{Outside, Rule, part, race};
#[cfg(test)]
use memfold_sync::model::{Preemptions::UpTo, holds};
use memfold_sync::{Arc, trace};

const LIMIT: u64 = 1 << 20;

struct Scene {
    budget: Budget,
    held: Outside<u64>,
}

/// How bytes are taken.
#[derive(Clone, Copy)]
enum Take {
    /// Looks whether they fit, then adds them.
    LookThenAdd,
    /// The rule: one compare-exchange.
    Charge,
}

impl Scene {
    fn new() -> Arc<Self> {
        let scene = Arc::new(Self {
            budget: Budget::new(LIMIT),
            held: Outside::new(0),
        });
        trace::name(&scene.budget.total, "the total", |bytes| {
            format!("{} KiB", bytes >> 10)
        });
        scene
    }

    fn charge(&self, how: Take, bytes: u64) -> bool {
        let took = match how {
            Take::Charge => self.budget.charge(Class::Pool, bytes, Need::Reclaim),
            Take::LookThenAdd => {
                // Relaxed: the defect is in the two steps.
                let fits = self.budget.total.load(Ordering::Relaxed) + bytes <= LIMIT;
                if fits {
                    // Relaxed: as above.
                    self.budget.total.fetch_add(bytes, Ordering::Relaxed);
                }
                fits
            }
        };
        if took {
            self.held.with(|held| {
                *held += bytes;
                assert!(*held <= LIMIT, "the limit was passed");
            });
        }
        took
    }

    #[cfg(test)]
    fn refund(&self, bytes: u64) {
        self.held.with(|held| *held -= bytes);
        self.budget.refund(Class::Pool, bytes);
    }
}

fn charge_twice(how: Take) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let want = || {
            part(&scene, move |s: &Scene| {
                s.charge(how, LIMIT / 2 + 1);
            })
        };
        race([want().called("one that charges"), want().called("another")]);
        assert_eq!(scene.budget.usage().total, LIMIT / 2 + 1, "one of the two fits");
    }
}

/// The limit is never passed: what is charged is looked at and added in one step.
pub(crate) fn limit_rule() -> Rule {
    let title = "budget: two charges, room for one";
    Rule::new(title, All, charge_twice(Take::Charge)).defect(
        ["look-then-charge", "budget: a look, then an addition"],
        "There was room when each of the two looked; there is room for one. Each adds what was right by its own look.",
        "the limit was passed",
        charge_twice(Take::LookThenAdd),
    )
}

/// Goal: the limit holds. Method: two charges of which one fits, in one step and in two.
#[test]
fn the_limit_holds() {
    limit_rule().prove();
}

/// Goal: charges and refunds lose nothing. Method: three threads take and give back; two of three
/// fit at a time.
#[test]
fn nothing_is_lost() {
    holds("budget: charge and refund, three threads", UpTo(2), || {
        let scene = Scene::new();
        let user = || {
            part(&scene, |s: &Scene| {
                if s.charge(Take::Charge, LIMIT / 2) {
                    s.refund(LIMIT / 2);
                }
            })
        };
        race([user(), user(), user()]);
        let usage = scene.budget.usage();
        assert_eq!((usage.total, usage.pool), (0, 0));
        assert!(usage.peak <= LIMIT, "the peak is above the limit");
    });
}

/// Goal: a step that fails keeps nothing, whatever runs beside it. Method: a charge dropped, a part
/// of one kept.
#[test]
fn a_dropped_charge_is_refunded() {
    holds("budget: a charge dropped, a part of one kept", UpTo(3), || {
        let scene = Scene::new();
        let fails = part(&scene, |s: &Scene| {
            drop(Charge::take(&s.budget, Class::Private, 100, Need::Normal));
        });
        let keeps = part(&scene, |s: &Scene| {
            let charge = Charge::take(&s.budget, Class::Private, 30, Need::Normal);
            charge.expect("there is room").split(10).keep();
        });
        race([fails, keeps]);
        let usage = scene.budget.usage();
        assert_eq!((usage.total, usage.private), (10, 10));
    });
}
