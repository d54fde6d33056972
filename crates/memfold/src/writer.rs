//! The writer: a thread that writes out pages of files that were stored to, some time later, when
//! nobody syncs (Linux: the flusher threads).
//!
//! It is started with the first file that can be written. It sleeps without a clock while no page
//! waits; a fault that is the first to make one wait wakes it (a load, and a system call only
//! then). From then on it makes a pass in each interval, until nothing is left; where more pages
//! wait than should, it makes one at once. It holds the manager only weakly while it sleeps; the
//! manager's end wakes it, and ends it.

use crate::worker::Worker;
use std::thread;
use std::time::{Duration, Instant};

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing: no page waits.
    None,
    /// Pages wait; the next interval is early enough.
    Later,
    /// Too many wait.
    Now,
}

/// Whose pages are written.
pub(crate) trait Writes {
    /// What there is to do.
    fn work(&self) -> Work;

    /// One pass; whether pages are left.
    fn pass(&self) -> bool;
}

/// Starts the thread; without one (the system refuses) pages are written by reclaim, by syncs and
/// at the end. `with` is asked for whom it works, for one moment each; it answers nothing when the
/// memory has ended.
pub(crate) fn start<W: Writes>(interval: Duration, with: impl Fn() -> Option<W> + Send + 'static) -> Worker {
    Worker::start("memfold-write", move || run(interval, with))
}

fn run<W: Writes>(interval: Duration, with: impl Fn() -> Option<W>) {
    // When pages that wait have waited long enough.
    let mut due: Option<Instant> = None;
    loop {
        match due {
            None => thread::park(),
            Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
        }
        let Some(writes) = with() else { return };
        let now = Instant::now();
        let pass = match writes.work() {
            Work::Now => true,
            Work::Later => due.is_none_or(|due| now >= due),
            Work::None => due.is_some_and(|due| now >= due),
        };
        if pass {
            due = writes.pass().then(|| Instant::now() + interval);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: passes come when they are due, at once where too many pages wait, and never while none
    //! does. Method: pages that are numbers, and the machine's clock.
    use super::*;
    use std::sync::{Arc, Mutex, Weak};

    #[derive(Default)]
    struct State {
        news: bool,
        many: bool,
        left: bool,
        passes: u32,
    }

    #[derive(Default)]
    struct Pages(Mutex<State>);

    impl Pages {
        fn with<R>(&self, step: impl FnOnce(&mut State) -> R) -> R {
            step(&mut self.0.lock().expect("nobody panics"))
        }

        fn passes(&self) -> u32 {
            self.with(|state| state.passes)
        }

        fn come_to(&self, passes: u32) {
            let begun = Instant::now();
            while self.passes() < passes {
                assert!(begun.elapsed() < Duration::from_secs(20), "{}", self.passes());
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    impl Writes for Arc<Pages> {
        fn work(&self) -> Work {
            self.with(|state| match (state.many, state.news) {
                (true, _) => Work::Now,
                (false, true) => Work::Later,
                (false, false) => Work::None,
            })
        }

        fn pass(&self) -> bool {
            self.with(|state| {
                (state.news, state.many) = (false, false);
                state.passes += 1;
                state.left
            })
        }
    }

    fn writer(interval: Duration) -> (Arc<Pages>, Worker) {
        let pages = Arc::new(Pages::default());
        let weak: Weak<Pages> = Arc::downgrade(&pages);
        (pages, start(interval, move || weak.upgrade()))
    }

    #[test]
    fn passes_are_made_while_pages_are_left() {
        let (pages, writer) = writer(Duration::from_millis(2));
        thread::sleep(Duration::from_millis(20));
        assert_eq!(pages.passes(), 0, "nothing waits");
        pages.with(|state| (state.left, state.news) = (true, true));
        writer.wake();
        pages.come_to(3);
        let then = pages.with(|state| {
            state.left = false;
            state.passes
        });
        thread::sleep(Duration::from_millis(50));
        assert!(pages.passes() <= then + 1, "nothing is left");
    }

    #[test]
    fn many_pages_do_not_wait_for_the_interval() {
        let (pages, writer) = writer(Duration::from_secs(3600));
        pages.with(|state| (state.left, state.news) = (true, true));
        writer.wake();
        pages.come_to(1);
        writer.looks();
        pages.with(|state| state.news = true);
        writer.wake();
        thread::sleep(Duration::from_millis(20));
        assert_eq!(pages.passes(), 1, "an hour is not over");
        writer.looks();
        pages.with(|state| state.many = true);
        writer.wake();
        pages.come_to(2);
    }
}
