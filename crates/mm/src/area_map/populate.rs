//! Pages made accessible before a program touches them: by need, with reclaim, or as far as there
//! is room.
//!
//! A page is resolved as by a fault, one at a time, so that the space's threads come in between.
//! What fails is told to the caller alone: no access of a program has failed.

use super::AreaMap;
use crate::addr::{Access, PageNo, Run};
use crate::error::{SpaceError, Stop};
use crate::fault::Fault;
use crate::files::balance_dirty;
use crate::host::{Host, Store};
use crate::reclaim::settled;
use crate::space::FaultError;

impl<H: Host, S: Store> AreaMap<'_, H, S> {
    /// Makes each page of the run as a program finds it after such an access. Reclaims where there
    /// is no room. Takes what that many faults take, but for their delivery.
    ///
    /// # Errors
    /// [`FaultError`], as the access would have failed; pages before that one are accessible. The
    /// space is not condemned.
    pub fn populate(&self, run: Run, access: Access) -> Result<(), FaultError> {
        let (mm, no) = (self.mm, self.space);
        for page in run.pages() {
            if access == Access::Write {
                balance_dirty(mm, no, page);
            }
            mm.retry(|| Fault::resolve(mm, &mut mm.lock_space(no)?, page, access))
                .map_err(|stop| stop.of_page(&mm.budget, no, page))?;
        }
        mm.reclaim.something_changed();
        Ok(())
    }

    /// Brings in what of the run is in the store or in files, as far as there is room without
    /// reclaim; returns how many pages it came to. Pages that allow no loads or cannot be had are
    /// passed over.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`], [`SpaceError::Fault`] when the space is condemned.
    pub fn bring_in(&self, run: Run) -> Result<u32, SpaceError> {
        let (mm, no) = (self.mm, self.space);
        let mut pages = 0;
        for page in run.pages() {
            if mm.budget.is_low() {
                break;
            }
            match settled(|| Fault::resolve(mm, &mut mm.lock_space(no)?, page, Access::Read)) {
                Ok(()) => pages += 1,
                Err(Stop::NoRoom) => break,
                Err(stop) => self.demand_alive(page, stop)?,
            }
        }
        mm.reclaim.something_changed();
        Ok(pages)
    }

    /// The error, when it is not of that page alone.
    fn demand_alive(&self, page: PageNo, stop: Stop) -> Result<(), SpaceError> {
        let mm = self.mm;
        match mm.lock_space(self.space)?.failure() {
            Some(_) => Err(stop.of_space(&mm.budget, self.space, page)),
            None => Ok(()),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use crate::addr::{Access, PAGE_SIZE, PageNo, SpaceNo};
    use crate::backing::areas::Rights;
    use crate::budget::{Class, Need};
    use crate::host::Piece;
    use crate::rig::{Harness, limited, resident, run, sound, space, value, write};
    use crate::space::FaultError;
    use crate::{OpenFile, Order};
    use memfold_sim::SimSource;

    fn mapped(mm: &Harness, space: SpaceNo, source: &SimSource) -> OpenFile {
        let file = mm.files().open(Box::new(source.clone())).expect("room");
        let areas = mm.areas(space);
        let mapped = areas.map(run(0, 60), &file, PageNo(0), Piece::Private, Rights::ReadWrite);
        assert_eq!(mapped, Ok(()));
        file
    }

    fn source() -> SimSource {
        SimSource::new(1, vec![7; 60 * PAGE_SIZE])
    }

    /// Goal: pages are there before they are touched, stores included; what is not allowed is told
    /// and condemns nobody.
    #[test]
    fn populated() {
        let (mm, source) = (limited(8 << 20), source());
        let a = space(&mm, 100);
        let file = mapped(&mm, a, &source);
        assert_eq!(mm.areas(a).populate(run(0, 20), Access::Read), Ok(()));
        assert_eq!(
            (source.traffic().0, resident(&mm, a)),
            (31, vec![]),
            "read ahead as well"
        );
        assert_eq!(mm.areas(a).populate(run(5, 2), Access::Write), Ok(()));
        assert_eq!(mm.areas(a).populate(run(70, 2), Access::Write), Ok(()));
        assert_eq!(resident(&mm, a), [5, 6, 70, 71]);
        assert_eq!(mm.areas(a).protect(run(90, 5), Rights::Read), Ok(()));
        let refused = mm.areas(a).populate(run(88, 5), Access::Write);
        assert!(
            matches!(refused, Err(FaultError::Forbidden { page: PageNo(90), .. })),
            "{refused:?}"
        );
        assert_eq!((mm.failure(a), resident(&mm, a).len()), (None, 6));
        sound(&mm);
        mm.drop_space(a).expect("it lives");
        mm.files().close(file);
    }

    /// Goal: what is stored or in a file comes in while there is room, and nothing goes for it.
    #[test]
    fn brought_in() {
        let (mm, source) = (limited(8 << 20), source());
        let a = space(&mm, 100);
        let file = mapped(&mm, a, &source);
        write(&mm, a, 60..100, 1);
        assert_eq!(mm.evict(a, run(60, 40)), Ok(40));
        assert_eq!(mm.areas(a).protect(run(10, 2), Rights::None), Ok(()));
        assert_eq!(mm.areas(a).bring_in(run(0, 70)), Ok(68));
        assert_eq!(source.traffic().0, 60);
        let there = resident(&mm, a);
        assert!((60..70).all(|page| there.contains(&page)) && !there.contains(&99));
        let free = mm.budget.free();
        assert!(mm.budget.charge(Class::Pool, free, Need::Normal));
        let evictions = mm.stats().evictions;
        assert_eq!(mm.areas(a).bring_in(run(96, 4)), Ok(0));
        assert_eq!((mm.stats().evictions, value(&mm, a, 99)), (evictions, 1));
        mm.budget.refund(Class::Pool, free);
        sound(&mm);
        mm.drop_space(a).expect("it lives");
        mm.files().close(file);
    }

    /// Goal: the order that is told decides how far a file is read ahead, in forks as well.
    #[test]
    fn order_is_heeded() {
        let (mm, source) = (limited(8 << 20), source());
        let a = space(&mm, 100);
        let file = mapped(&mm, a, &source);
        let read = |space, page| {
            let before = source.traffic().0;
            mm.fault(space, PageNo(page), Access::Read).expect("it may");
            source.traffic().0 - before
        };
        assert_eq!(mm.areas(a).set_order(run(20, 40), Order::Sequential), Ok(()));
        assert_eq!(mm.areas(a).list().expect("it lives").len(), 2);
        assert_eq!((read(a, 3), read(a, 20)), (1, 32));
        let b = mm.fork(a).expect("room");
        assert_eq!(read(b, 52), 8, "up to the file's end");
        assert_eq!(mm.areas(b).set_order(run(0, 60), Order::Random), Ok(()));
        assert_eq!([4, 5, 6, 7].map(|page| read(b, page)), [1; 4]);
        assert_eq!(mm.areas(b).set_order(run(0, 60), Order::Adaptive), Ok(()));
        assert_eq!([8, 10].map(|page| read(b, page)), [2, 4]);
        sound(&mm);
        for space in [a, b] {
            mm.drop_space(space).expect("it lives");
        }
        mm.files().close(file);
    }
}
