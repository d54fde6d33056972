//! Race models of backings: entries, bases, users.
//!
//! Goal: one frame stands at an entry, the next finds it emptied, one base wins, and the last user
//! gets all bases. Method: plain data for the pool page, the frame and the store's entry, written
//! by who owns them at the moment.

use super::*;
use memfold_sync::Witness;
use memfold_sync::model::Preemptions::{All, UpTo};
use memfold_sync::model::{Outside, holds, part, race};
use std::num::NonZeroU64;

const PAGE: PageNo = PageNo(1);

struct Scene {
    backings: Backings,
    backing: BackingNo,
    /// The pool page at the entry.
    pool_page: Witness,
    /// What each frame is, and each stored base.
    things: [Witness; 3],
    standing: Outside<u32>,
}

impl Scene {
    /// A backing of four pages with `users` users.
    fn new(users: u32) -> Arc<Self> {
        let backings = Backings::new(1);
        let (backing, _) = backings
            .create(4, Versions::Bases, |_| true)
            .expect("there is room");
        (1..users).for_each(|_| backings.join(backing));
        Arc::new(Self {
            backings,
            backing,
            pool_page: Witness::new(),
            things: [Witness::new(), Witness::new(), Witness::new()],
            standing: Outside::new(0),
        })
    }

    /// The same, with the records made: who makes them holds the backing's lock, which would order
    /// what is to be tested.
    fn recorded(users: u32) -> Arc<Self> {
        let scene = Self::new(users);
        assert_eq!(
            scene
                .backings
                .insert(scene.backing, PageNo(0), FrameNo(2), |_| true),
            Insertion::Done
        );
        scene.backings.remove(scene.backing, PageNo(0), FrameNo(2));
        scene
    }

    /// Takes the entry with a frame, if it is free; writes the page.
    fn stand(&self, frame: u32) -> bool {
        self.things[frame as usize].write();
        let took = self.backings.insert(self.backing, PAGE, FrameNo(frame), |_| true) == Insertion::Done;
        if took {
            self.standing.with(|n| {
                *n += 1;
                assert_eq!(*n, 1, "two frames stand at one entry");
            });
            self.pool_page.write();
        }
        took
    }

    fn leave(&self, frame: u32) {
        self.pool_page.write();
        self.standing.with(|n| *n -= 1);
        self.backings.remove(self.backing, PAGE, FrameNo(frame));
    }

    /// Offers a base; false when there was one.
    fn offer(&self, base: u64) -> bool {
        self.renew(None, base)
    }

    /// Offers a base in place of another; what was there is freed.
    fn renew(&self, old: Option<u64>, base: u64) -> bool {
        self.things[base as usize].write();
        let set = self
            .backings
            .set_base(self.backing, PAGE, old.map(stored), stored(base), |_| true);
        if set && let Some(old) = old {
            self.things[old as usize].write();
        }
        set
    }

    /// The sweep takes all bases out and frees them; which ones.
    fn sweep(&self) -> Vec<u64> {
        let mut freed = Vec::new();
        self.backings.sweep_bases(
            |_| true,
            |base| {
                self.things[base.0.get() as usize].write();
                freed.push(base.0.get());
            },
        );
        freed
    }
}

fn stored(base: u64) -> Stored {
    Stored(NonZeroU64::new(base).expect("not 0"))
}

/// Goal: one of two frames gets an entry, the other comes when it is emptied. Method: insert,
/// write, leave, twice.
#[test]
fn one_frame_at_a_place() {
    holds("backing: two frames insert and leave one entry", All, || {
        let scene = Scene::new(1);
        let come_and_go = |frame: u32| {
            part(&scene, move |s: &Scene| {
                if s.stand(frame) {
                    s.leave(frame);
                }
            })
        };
        race([come_and_go(1), come_and_go(2)]);
        assert_eq!(scene.backings.frame_at(scene.backing, PAGE), None);
        assert!(scene.stand(1), "an empty entry was refused");
    });
}

/// Goal: who asks for the frame sees the frame set up. Method: insert against `frame_at`.
#[test]
fn the_frame_is_published() {
    holds("backing: insert against frame_at", All, || {
        let scene = Scene::recorded(1);
        let stander = part(&scene, |s: &Scene| assert!(s.stand(1)));
        let asker = part(&scene, |s: &Scene| {
            if let Some(FrameNo(no)) = s.backings.frame_at(s.backing, PAGE) {
                s.things[no as usize].read();
            }
        });
        race([stander, asker]);
    });
}

/// Goal: one base wins and is published. Method: two threads offer one, a third asks for it.
#[test]
fn one_base_wins() {
    holds("backing: two bases for one entry, and a reader", UpTo(3), || {
        let scene = Scene::recorded(1);
        let won = Arc::new(Outside::new(Vec::new()));
        let offer = |base: u64| {
            let won = won.clone();
            part(&scene, move |s: &Scene| {
                if s.offer(base) {
                    won.with(|won| won.push(base));
                }
            })
        };
        let reader = part(&scene, |s: &Scene| {
            if let Some(base) = s.backings.base(s.backing, PAGE) {
                s.things[base.0.get() as usize].read();
            }
        });
        race([offer(1), offer(2), reader]);
        let base = scene.backings.base(scene.backing, PAGE).expect("one was offered");
        won.with(|won| assert_eq!(*won, [base.0.get()]));
    });
}

/// Goal: the last user gets the bases, each once, whoever it is. Method: two users, one offers a
/// base before it leaves.
#[test]
fn the_last_user_gets_the_bases() {
    holds("backing: two users leave, one with a base", All, || {
        let scene = Scene::new(2);
        let got = Arc::new(Outside::new(Vec::new()));
        let leave = |base: Option<u64>| {
            let got = got.clone();
            part(&scene, move |s: &Scene| {
                base.into_iter().for_each(|base| assert!(s.offer(base)));
                let mut bases = Vec::new();
                if s.backings.leave(s.backing, |base| bases.push(base)).is_some() {
                    bases.iter().for_each(|b| s.things[b.0.get() as usize].write());
                    got.with(|got| got.push(bases));
                }
            })
        };
        race([leave(Some(1)), leave(None)]);
        let base = Stored(NonZeroU64::new(1).expect("not 0"));
        got.with(|got| assert_eq!(*got, [vec![base]]));
    });
}

/// Goal: a base is freed once, by who replaced it or by the sweep. Method: both at once; then all
/// that was made is freed but what stands there.
#[test]
fn a_base_is_replaced_or_swept() {
    holds("backing: a base is renewed and swept", All, || {
        let scene = Scene::recorded(2);
        assert!(scene.offer(1));
        let freed = Arc::new(Outside::new(Vec::new()));
        let renews = {
            let freed = freed.clone();
            part(&scene, move |s: &Scene| {
                let gone = if s.renew(Some(1), 2) { 1 } else { 2 };
                freed.with(|freed| freed.push(gone));
            })
        };
        let sweeps = {
            let freed = freed.clone();
            part(&scene, move |s: &Scene| {
                let swept = s.sweep();
                freed.with(|freed| freed.extend(swept));
            })
        };
        race([renews, sweeps]);
        let stands = scene.backings.base(scene.backing, PAGE).map(|base| base.0.get());
        let mut all = freed.with(std::mem::take);
        all.extend(stands);
        all.sort_unstable();
        assert_eq!(all, [1, 2], "each base was freed once or stands");
    });
}

/// Goal: what the sweep takes out, the last user does not get. Method: both at once.
#[test]
fn a_backing_ends_while_it_is_swept() {
    holds(
        "backing: the last user leaves while the bases are swept",
        All,
        || {
            let scene = Scene::recorded(1);
            assert!(scene.offer(1));
            let freed = Arc::new(Outside::new(0));
            let leaves = {
                let freed = freed.clone();
                part(&scene, move |s: &Scene| {
                    let mut bases = Vec::new();
                    let left = s.backings.leave(s.backing, |base| bases.push(base));
                    left.expect("the last one");
                    bases.iter().for_each(|b| s.things[b.0.get() as usize].write());
                    freed.with(|freed| *freed += bases.len());
                })
            };
            let sweeps = {
                let freed = freed.clone();
                part(&scene, move |s: &Scene| {
                    let swept = s.sweep().len();
                    freed.with(|freed| *freed += swept);
                })
            };
            race([leaves, sweeps]);
            freed.with(|freed| assert_eq!(*freed, 1, "a base is freed once"));
        },
    );
}
