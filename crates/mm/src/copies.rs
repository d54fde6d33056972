//! Copies of spaces: the door of [`Mm::fork`], and copies that are not ready yet.
//!
//! A fork has all that its parent has (`fork.rs`). Where an area says that forks are not to have
//! its pages as they are, the child gives them up again before anybody is told its number; its
//! areas say already what stands there instead. No data and no lock.

use crate::addr::{PageNo, SpaceNo};
use crate::create::NewSpace;
use crate::error::{SpaceError, Stop};
use crate::fork::Fork;
use crate::host::{Host, Store};
use crate::mm::Mm;

impl<H: Host, S: Store> Mm<H, S> {
    /// A copy-on-write copy of a space, in time that depends on what the space wrote since its last
    /// fork.
    ///
    /// Threads may run in the parent: each page is copied as it is at one moment during the call.
    ///
    /// # Errors
    /// [`SpaceError`]; the parent is as it was and there is no child. [`SpaceError::Fault`] when a
    /// fault of the parent has failed and nobody has taken that yet: its stores since then may be
    /// lost.
    pub fn fork(&self, parent: SpaceNo) -> Result<SpaceNo, SpaceError> {
        let child = NewSpace::take(self)?;
        let refused = |stop: Stop| stop.of_space(&self.budget, parent, PageNo(0));
        let kept = self
            .retry(|| Fork::begin(self, parent)?.run(child.no))
            .map_err(refused)?;
        let child = Unfinished {
            mm: self,
            no: child.live(),
        };
        for run in kept {
            self.discard(child.no, run)?;
        }
        self.counters.forks.one();
        Ok(child.finish())
    }
}

/// A space that nobody was told of yet; dropped before it is finished, it ends.
pub(crate) struct Unfinished<'m, H: Host, S: Store> {
    pub mm: &'m Mm<H, S>,
    pub no: SpaceNo,
}

impl<H: Host, S: Store> Unfinished<'_, H, S> {
    /// Somebody is told of it.
    pub fn finish(self) -> SpaceNo {
        std::mem::ManuallyDrop::new(self).no
    }
}

impl<H: Host, S: Store> Drop for Unfinished<'_, H, S> {
    fn drop(&mut self) {
        if self.mm.drop_space(self.no).is_err() {
            self.mm.doomed().add(self.no);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use crate::addr::{Access, PAGE_SIZE, PageNo};
    use crate::host::Piece;
    use crate::rig::{harness, read, run, sound, space, value, write};
    use crate::space::FaultError;
    use crate::{InFork, Rights};
    use memfold_sim::{Calls, Lasting, Plan, SimSource, When};

    /// Goal: forks do not have what is kept from them, wherever it is, and zeros are kept from
    /// their forks as well; what lies beside it they have; the parent keeps all.
    #[test]
    fn what_forks_are_not_to_have() {
        let mm = harness();
        let a = space(&mm, 40);
        let file = mm
            .files()
            .open(Box::new(SimSource::new(1, vec![9; 8 * PAGE_SIZE])))
            .expect("room");
        let mapped = mm
            .areas(a)
            .map(run(20, 8), &file, PageNo(0), Piece::Private, Rights::ReadWrite);
        assert_eq!(mapped, Ok(()));
        write(&mm, a, 0..12, 1);
        write(&mm, a, 22..24, 2);
        mm.evict(a, run(0, 2)).expect("it lives");
        assert_eq!(mm.areas(a).set_in_fork(run(1, 3), InFork::Zeros), Ok(()));
        assert_eq!(mm.areas(a).set_in_fork(run(6, 3), InFork::Nothing), Ok(()));
        assert_eq!(mm.areas(a).set_in_fork(run(23, 2), InFork::Zeros), Ok(()));
        let b = mm.fork(a).expect("room");
        write(&mm, b, 2..3, 3);
        let c = mm.freeze(b).expect("room");
        let seen = |space| [0, 1, 2, 3, 4, 5, 9, 20, 22, 23, 24].map(|page| value(&mm, space, page));
        assert_eq!(seen(a), [1, 1, 1, 1, 1, 1, 1, 9, 2, 2, 9]);
        assert_eq!(seen(b), [1, 0, 3, 0, 1, 1, 1, 9, 2, 0, 0]);
        assert_eq!(seen(c), [1, 0, 0, 0, 1, 1, 1, 9, 2, 0, 0]);
        for space in [b, c] {
            let refused = mm.fault(space, PageNo(7), Access::Read);
            assert!(
                matches!(refused, Err(FaultError::Forbidden { .. })),
                "{refused:?}"
            );
        }
        read(&mm, a, 7);
        assert_eq!(mm.areas(a).set_in_fork(run(0, 40), InFork::Same), Ok(()));
        let d = mm.fork(a).expect("room");
        assert_eq!(seen(d), seen(a));
        sound(&mm);
        for space in [a, b, c, d] {
            mm.drop_space(space).expect("it lives");
        }
        mm.files().close(file);
        sound(&mm);
    }

    /// Goal: a fork that cannot give up what it is not to have is none.
    #[test]
    fn a_fork_with_too_much_ends() {
        let mm = harness();
        let a = space(&mm, 40);
        write(&mm, a, 0..8, 1);
        assert_eq!(mm.areas(a).set_in_fork(run(2, 1), InFork::Zeros), Ok(()));
        let spaces = mm.spaces.used();
        let plan = |nth| Plan {
            calls: Calls::ALL,
            when: When::Nth(nth, Lasting::FromThenOn),
        };
        let mut refused = 0;
        for nth in 0..8 {
            refused += mm.host.under(plan(nth), || match mm.fork(a) {
                Ok(fork) => {
                    mm.drop_space(fork).expect("it lives");
                    0
                }
                Err(_) => 1,
            });
            assert_eq!((mm.spaces.used(), value(&mm, a, 2)), (spaces, 1));
        }
        assert!(refused > 0);
        sound(&mm);
    }
}
