//! A mutex that knows its place in the lock order.
//!
//! The held ranks of a thread are a small thread-local array, kept in debug builds on
//! std only (the checkers have their own threads). A panic while a lock is held does
//! not poison it: a broken invariant ends the process or the test, not the lock.
//! Blocking is safe inside a fault handler: a thread never touches a window while
//! it holds one of these locks, so the holder always gets on.

use crate::imp;
use crate::rank::Rank;
use std::ops::{Deref, DerefMut};

/// A lock around a `T`, with a [`Rank`].
#[derive(Debug)]
pub struct Mutex<T> {
    rank: Rank,
    inner: imp::Mutex<T>,
    door: door::Door,
}

/// The right to use what a [`Mutex`] guards.
pub struct MutexGuard<'a, T> {
    rank: Rank,
    inner: imp::MutexGuard<'a, T>,
    door: &'a door::Door,
}

impl<T> Mutex<T> {
    /// A free lock.
    pub fn new(rank: Rank, value: T) -> Self {
        Self {
            rank,
            inner: imp::Mutex::new(value),
            door: door::Door::new(rank),
        }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// In debug builds, when the thread holds a lock of this rank or a higher one.
    #[cfg_attr(loom, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.lock_at(self.rank)
    }

    /// Waits for the lock, which stands at `rank` at the moment: for things that are reused at
    /// different levels of the order.
    ///
    /// # Panics
    /// In debug builds, when the thread holds a lock of this rank or a higher one.
    #[cfg_attr(loom, track_caller)]
    pub fn lock_at(&self, rank: Rank) -> MutexGuard<'_, T> {
        held::check(rank);
        let inner = wait::until_free(&self.inner);
        held::add(rank);
        self.door.close();
        MutexGuard {
            rank,
            inner,
            door: &self.door,
        }
    }

    /// Takes the lock if it is free.
    #[cfg_attr(loom, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.door.is_closed() {
            return None;
        }
        let Some(inner) = wait::attempt(&self.inner) else {
            self.door.refuse();
            return None;
        };
        held::add(self.rank);
        self.door.close();
        Some(MutexGuard {
            rank: self.rank,
            inner,
            door: &self.door,
        })
    }

    /// Gives the lock a name in the log of an execution.
    #[cfg(loom)]
    pub fn call(&self, name: &str) {
        crate::trace::call(&self.door, name);
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        held::remove(self.rank);
        self.door.open();
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// Under loom: whether the lock is taken, where `try_lock` can see it.
///
/// Loom 0.7 lets a thread that is about to `try_lock` wait while another holds the lock, so that a
/// refusal is hardly ever explored; and nothing can come between `lock` and `unlock` when nothing
/// happens there. The door is a word that both change and `try_lock` looks at first. It orders
/// nothing, and may be seen closed a moment too long, as any refusal may. In the log of an
/// execution it stands for the lock.
#[cfg(loom)]
mod door {
    use crate::imp::unwatched::{AtomicBool, Ordering};
    use crate::trace::{What, event};

    use crate::rank::Rank;

    #[derive(Debug)]
    pub struct Door(AtomicBool, Rank);

    impl Door {
        pub fn new(rank: Rank) -> Self {
            Self(AtomicBool::new(false), rank)
        }

        #[track_caller]
        pub fn close(&self) {
            // Relaxed: the lock orders, the door must not.
            self.0.store(true, Ordering::Relaxed);
            event(self, What::Locked(self.1), None);
        }

        pub fn open(&self) {
            // Relaxed: as above.
            self.0.store(false, Ordering::Relaxed);
            event(self, What::Unlocked(self.1), None);
        }

        #[track_caller]
        pub fn is_closed(&self) -> bool {
            // Relaxed: as above.
            let closed = self.0.load(Ordering::Relaxed);
            if closed {
                self.refuse();
            }
            closed
        }

        #[track_caller]
        pub fn refuse(&self) {
            event(self, What::Busy(self.1), None);
        }
    }
}

#[cfg(not(loom))]
mod door {
    use crate::rank::Rank;

    #[derive(Debug)]
    pub struct Door;

    impl Door {
        pub fn new(_: Rank) -> Self {
            Self
        }

        pub fn close(&self) {}

        pub fn open(&self) {}

        pub fn is_closed(&self) -> bool {
            false
        }

        pub fn refuse(&self) {}
    }
}

/// Taking a lock, and waiting for one, at first without the system.
///
/// Most of these locks are held for some microseconds. A thread that sleeps and is woken costs both
/// sides more than that: a quarter of all processor time of two threads that faulted in one space.
/// So a thread looks for some tens of microseconds, with longer and longer pauses, and sleeps then.
mod wait {
    use crate::imp;
    use std::sync::{PoisonError, TryLockError};

    /// The lock, if it is free.
    #[inline]
    #[cfg_attr(loom, track_caller)]
    pub fn attempt<T>(lock: &imp::Mutex<T>) -> Option<imp::MutexGuard<'_, T>> {
        match lock.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The lock, however long that takes.
    #[inline]
    #[cfg_attr(loom, track_caller)]
    pub fn until_free<T>(lock: &imp::Mutex<T>) -> imp::MutexGuard<'_, T> {
        #[cfg(not(any(loom, shuttle)))]
        if let Some(guard) = attempt(lock).or_else(|| a_while(lock)) {
            return guard;
        }
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, if it becomes free soon.
    #[cfg(not(any(loom, shuttle)))]
    #[cold]
    fn a_while<T>(lock: &imp::Mutex<T>) -> Option<imp::MutexGuard<'_, T>> {
        /// Looks before the thread sleeps, each after twice the pauses of the one before.
        const LOOKS: u32 = 40;
        /// The most pauses before a look.
        const PAUSES: u32 = 32;
        let mut pauses = 1;
        (0..LOOKS).find_map(|_| {
            (0..pauses).for_each(|_| std::hint::spin_loop());
            pauses = PAUSES.min(pauses * 2);
            attempt(lock)
        })
    }
}

#[cfg(all(debug_assertions, not(any(loom, shuttle))))]
mod held {
    use crate::rank::Rank;
    use std::cell::Cell;

    const RANKS: usize = Rank::ALL.len();

    thread_local! {
        static HELD: Cell<[u16; RANKS]> = const { Cell::new([0; RANKS]) };
    }

    pub fn check(rank: Rank) {
        let held = HELD.get();
        if let Some(at) = (rank as usize..RANKS).find(|&r| held[r] != 0) {
            panic!(
                "lock order: waits for a {rank:?} lock while holding a {:?} lock",
                Rank::ALL[at]
            );
        }
    }

    pub fn add(rank: Rank) {
        let mut held = HELD.get();
        held[rank as usize] += 1;
        HELD.set(held);
    }

    pub fn remove(rank: Rank) {
        let mut held = HELD.get();
        held[rank as usize] -= 1;
        HELD.set(held);
    }
}

#[cfg(not(all(debug_assertions, not(any(loom, shuttle)))))]
mod held {
    use crate::rank::Rank;

    pub fn check(_: Rank) {}
    pub fn add(_: Rank) {}
    pub fn remove(_: Rank) {}
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: the declared order is accepted and its reverse is not. Method: take two locks both
    /// ways.
    #[test]
    #[cfg(debug_assertions)]
    fn order_is_asserted() {
        let space = Mutex::new(Rank::Space, ());
        let frame = Mutex::new(Rank::Frame, ());
        {
            let _s = space.lock();
            let _f = frame.lock();
        }
        let wrong = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _f = frame.lock();
            let _s = space.lock();
        }));
        assert!(wrong.is_err());
    }

    /// Goal: who waits for longer than a few looks gets the lock. Method: held for some
    /// milliseconds.
    #[test]
    fn long_waits_end() {
        let lock = Mutex::new(Rank::Frame, 0);
        std::thread::scope(|scope| {
            let held = lock.lock();
            let waits = scope.spawn(|| *lock.lock());
            std::thread::sleep(std::time::Duration::from_millis(5));
            drop(held);
            assert_eq!(waits.join().expect("it gets the lock"), 0);
        });
    }

    /// Goal: `try_lock` may go against the order, and says no when the lock is taken.
    #[test]
    fn try_lock_goes_any_way() {
        let a = Mutex::new(Rank::Frame, 1);
        let b = Mutex::new(Rank::Frame, 2);
        let held = a.lock();
        assert_eq!(b.try_lock().as_deref(), Some(&2));
        assert!(a.try_lock().is_none());
        drop(held);
        assert!(a.try_lock().is_some());
    }
}
