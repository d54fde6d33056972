//! What a machine or a store knows, behind one lock.
//!
//! Under loom it stands outside of the model: to ask a machine orders nothing there, so what orders
//! two calls on one page is a lock of the manager, or nothing, and then the [`Witnesses`] of the
//! host say so. Elsewhere it is a ranked lock like any other.

#[cfg(not(loom))]
pub(crate) use memfold_sync::{Mutex as Guarded, MutexGuard as Guard};
#[cfg(loom)]
pub(crate) use outside::{Guard, Guarded, Witnesses};
#[cfg(not(loom))]
pub(crate) use unwatched::Witnesses;

#[cfg(not(loom))]
mod unwatched {
    use memfold_host::addr::{PoolPage, Run, SpaceNo};

    /// Nobody watches which pages a call concerns.
    #[derive(Debug, Default)]
    pub(crate) struct Witnesses {}

    impl Witnesses {
        pub fn concerns(&self, _: SpaceNo, _: Run) {}

        pub fn concerns_pool(&self, _: PoolPage, _: u32) {}
    }
}

#[cfg(loom)]
mod outside {
    use memfold_host::addr::{PoolPage, Run, SpaceNo};
    use memfold_sync::model::Outside;
    pub(crate) use memfold_sync::model::OutsideGuard as Guard;
    use memfold_sync::{Rank, Witness};
    use std::collections::BTreeMap;

    /// State that the model does not see.
    #[derive(Debug)]
    pub(crate) struct Guarded<T>(Outside<T>);

    impl<T> Guarded<T> {
        pub fn new(_: Rank, value: T) -> Self {
            Self(Outside::new(value))
        }

        pub fn lock(&self) -> Guard<'_, T> {
            self.0.lock()
        }
    }

    /// Plain data beside each page: each call writes that of every page that it concerns, so that
    /// loom reports two calls on one page that no lock of the manager orders.
    #[derive(Debug, Default)]
    pub(crate) struct Witnesses {
        pages: Outside<BTreeMap<(u32, u32), Witness>>,
        pool: Outside<BTreeMap<u64, Witness>>,
    }

    impl Witnesses {
        /// A call concerns these pages of a window.
        pub fn concerns(&self, space: SpaceNo, run: Run) {
            self.pages.with(|pages| {
                for page in run.pages() {
                    pages.entry((space.0, page.0)).or_default().write();
                }
            });
        }

        /// A call concerns so many pages of the pool.
        pub fn concerns_pool(&self, first: PoolPage, len: u32) {
            self.pool.with(|pool| {
                for at in (0..len).map(|n| first.plus(n)) {
                    pool.entry(at.0).or_default().write();
                }
            });
        }
    }
}
