//! The steps with other threads in the middle of them.
//!
//! Every page's word `t` belongs to hammering thread `t`, which adds one and looks at what was
//! there before: a lost store, a hole read as zeros, or bytes of another page show at once.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use common::{COUNT, Harness, View, bounded, run};
use memfold_host::addr::{Access, PAGE_SIZE, PageBytes, PageNo, PoolPage, SpaceNo};
use memfold_host::{FaultReply, FaultSink};
use memfold_host::{Host, Protection, Taken};
use memfold_linux::{Delivery, LinuxHost};

const SPACE: SpaceNo = SpaceNo(3);
const PAGES: u32 = 64;
const THREADS: usize = 2;
const ROUND: Duration = Duration::from_secs(3);

/// A small generator, so that a run needs no crate for it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Where a page's bytes are.
enum Bytes {
    Zeros,
    Private,
    Stored(Box<PageBytes>),
    Pool,
}

/// A manager of one window, as small as can be: the truth about each page, under one lock.
struct Mini {
    host: Arc<LinuxHost>,
    pages: Mutex<Vec<Bytes>>,
    /// Faults do not wait for the lock but are repeated, so that a thread is never far from its
    /// next access.
    spin: bool,
}

impl FaultSink for Mini {
    fn fault(&self, _: SpaceNo, page: PageNo, access: Access) -> FaultReply {
        let mut pages = match (self.spin, self.pages.try_lock()) {
            (_, Ok(pages)) => pages,
            (true, Err(_)) => return FaultReply::Resolved,
            (false, Err(_)) => self.pages.lock().expect("no poison"),
        };
        self.resolve(&mut pages[page.0 as usize], page, access);
        FaultReply::Resolved
    }
}

impl Mini {
    fn resolve(&self, bytes: &mut Bytes, page: PageNo, access: Access) {
        let one = run(page.0, 1);
        match (&*bytes, access) {
            (Bytes::Zeros, Access::Read) => {
                if self.host.show_zero(SPACE, one).expect("zeros") != 0 {
                    *bytes = Bytes::Private;
                }
            }
            (Bytes::Zeros, Access::Write) => {
                // What was not reported as stored to shows zeros still: so nothing is lost by
                // either of these.
                let filled = match page.0 % 2 {
                    0 => self.host.fill_zero(SPACE, one),
                    _ => self.host.fill(SPACE, page, &[0; PAGE_SIZE], Protection::Writable),
                };
                filled.expect("memory");
                *bytes = Bytes::Private;
            }
            (Bytes::Private, _) => self.host.unprotect(SPACE, one).expect("unprotected"),
            (Bytes::Stored(kept), _) => {
                self.host
                    .fill(SPACE, page, kept, Protection::Protected)
                    .expect("memory");
                *bytes = Bytes::Private;
            }
            (Bytes::Pool, Access::Read) => self.host.show(SPACE, one).expect("shown"),
            (Bytes::Pool, Access::Write) => {
                self.host
                    .copy_from_pool(SPACE, page, PoolPage(0).plus(page.0))
                    .expect("memory");
                self.host.pool_free(PoolPage(0).plus(page.0), 1);
                *bytes = Bytes::Private;
            }
        }
    }

    /// Moves a page, whatever it is, a step on.
    fn stir(&self, page: PageNo, dice: &mut Dice) {
        let mut pages = self.pages.lock().expect("no poison");
        let bytes = &mut pages[page.0 as usize];
        let (one, backing) = (run(page.0, 1), PoolPage(0).plus(page.0));
        match (&*bytes, dice.roll(4)) {
            (Bytes::Private, 3) => {
                let (back, mut kept) = (dice.roll(2) == 0, None);
                let look = &mut |_: usize, bytes: &PageBytes| match back {
                    true => Taken::Back,
                    false => {
                        kept = Some(Box::new(*bytes));
                        Taken::Gone
                    }
                };
                let mut room = [0; PAGE_SIZE];
                self.host.take_private(&[(SPACE, page)], &mut room, look);
                if let Some(kept) = kept {
                    *bytes = Bytes::Stored(kept);
                }
            }
            (Bytes::Private, 0) => {
                let mut kept = Box::new([0; PAGE_SIZE]);
                self.host.protect(SPACE, one).expect("protected");
                self.host.read_private(SPACE, page, &mut kept).expect("there");
                self.host.drop_pages(SPACE, one);
                *bytes = Bytes::Stored(kept);
            }
            (Bytes::Private, 1) => {
                self.host.protect(SPACE, one).expect("protected");
                self.host.copy_to_pool(SPACE, one, backing).expect("memory");
                self.host.drop_pages(SPACE, one);
                *bytes = Bytes::Pool;
            }
            (Bytes::Private, _) => self.host.protect(SPACE, one).expect("protected"),
            (Bytes::Pool, 0) => {
                let mut kept = Box::new([0; PAGE_SIZE]);
                self.host.drop_pages(SPACE, one);
                self.host.pool_read(backing, &mut kept).expect("there");
                self.host.pool_free(backing, 1);
                *bytes = Bytes::Stored(kept);
            }
            (Bytes::Pool, 1) => drop(self.host.test_and_clear_young(SPACE, one)),
            (Bytes::Pool, _) => self.host.show(SPACE, one).expect("shown"),
            (Bytes::Stored(kept), 0) => {
                self.host.pool_write(backing, kept).expect("memory");
                *bytes = Bytes::Pool;
            }
            (Bytes::Stored(_), _) => {}
            (Bytes::Zeros, 0) => self.resolve(bytes, page, Access::Read),
            (Bytes::Zeros, _) => {}
        }
    }
}

fn mini(delivery: Delivery, spin: bool) -> (Arc<Mini>, View) {
    let host = LinuxHost::builder()
        .delivery(delivery)
        .build()
        .expect("these tests need userfaultfd");
    let host = Arc::new(host);
    host.open(SPACE, PoolPage(0), PAGES, PAGES).expect("a window");
    let pages = Mutex::new((0..PAGES).map(|_| Bytes::Zeros).collect());
    let mini = Arc::new(Mini {
        host: Arc::clone(&host),
        pages,
        spin,
    });
    let weak: std::sync::Weak<Mini> = Arc::downgrade(&mini);
    host.attach(weak);
    let view = View {
        base: host.window(SPACE).expect("open").base.as_ptr() as usize,
    };
    (mini, view)
}

/// Goal: pages wander between all their places while threads store to them, and no store is lost.
/// Method: random steps of a small manager, checked at every addition.
#[test]
fn pages_wander_under_stores() {
    bounded(|| {
        for delivery in [Delivery::InThread, Delivery::Thread] {
            let (mini, view) = mini(delivery, false);
            let stop = AtomicBool::new(false);
            let added = AtomicU64::new(0);
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (stop, added) = (&stop, &added);
                    scope.spawn(move || {
                        let mut dice = Dice(77 + thread as u64);
                        let mut mine = vec![0; PAGES as usize];
                        while !stop.load(COUNT) {
                            let page = dice.roll(u64::from(PAGES)) as u32;
                            let expected = mine[page as usize];
                            if dice.roll(3) == 0 {
                                assert_eq!(view.get(page, thread), expected, "page {page} read");
                            } else {
                                assert_eq!(view.add(page, thread, 1), expected, "page {page} added to");
                                mine[page as usize] += 1;
                            }
                        }
                        added.fetch_add(mine.iter().sum::<u64>(), COUNT);
                    });
                }
                let mut dice = Dice(5);
                let end = Instant::now() + ROUND;
                let mut steps = 0u64;
                while Instant::now() < end {
                    mini.stir(PageNo(dice.roll(u64::from(PAGES)) as u32), &mut dice);
                    steps += 1;
                }
                stop.store(true, COUNT);
                println!("{delivery:?}: {steps} steps");
            });
            let total: u64 = (0..PAGES)
                .flat_map(|page| (0..THREADS).map(move |t| view.get(page, t)))
                .sum();
            assert_eq!(total, added.load(COUNT));
            println!("{delivery:?}: {total} additions");
            assert!(total > 1000, "the threads got on");
        }
    });
}

/// Goal: zeros are shown over empty pages while threads store to them, and every store is kept and
/// reported. Method: rounds on an empty window; the threads retry without waiting, so that they hit
/// the moment between showing and protecting; another thread frees the pool pages of the same
/// places, which takes zero pages away.
#[test]
fn show_zero_under_stores() {
    bounded(|| {
        for delivery in [Delivery::InThread, Delivery::Thread] {
            let (mini, view) = mini(delivery, true);
            let (barrier, stop) = (Barrier::new(THREADS + 1), AtomicBool::new(false));
            let (pause, zapping) = (AtomicBool::new(false), AtomicBool::new(true));
            let added: Vec<AtomicU64> = (0..PAGES).map(|_| AtomicU64::new(0)).collect();
            let (mut caught, mut rounds) = (0, 0);
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (stop, pause, added, barrier) = (&stop, &pause, &added, &barrier);
                    scope.spawn(move || {
                        let mut dice = Dice(99 + thread as u64);
                        loop {
                            barrier.wait();
                            if stop.load(COUNT) {
                                return;
                            }
                            while !pause.load(COUNT) {
                                let page = dice.roll(u64::from(PAGES)) as u32;
                                view.add(page, thread, 1);
                                added[page as usize].fetch_add(1, COUNT);
                            }
                            barrier.wait();
                        }
                    });
                }
                scope.spawn(|| {
                    while zapping.load(COUNT) {
                        mini.host.pool_free(PoolPage(0), PAGES);
                        std::thread::yield_now();
                    }
                });
                let end = Instant::now() + ROUND;
                while Instant::now() < end {
                    caught += zero_round(&mini, &barrier, &pause, &added, view);
                    rounds += 1;
                }
                stop.store(true, COUNT);
                zapping.store(false, COUNT);
                barrier.wait();
            });
            println!("{delivery:?}: {rounds} rounds, {caught} pages stored to before protection stood");
            assert!(rounds > 10, "the threads got on");
        }
    });
}

/// One round: an empty window, zeros shown in pieces while the threads add, then the sums are
/// compared.
fn zero_round(mini: &Mini, barrier: &Barrier, pause: &AtomicBool, added: &[AtomicU64], view: View) -> u32 {
    let mut caught = 0;
    pause.store(false, COUNT);
    {
        // Held: the threads' faults are repeated until zeros are shown.
        let mut pages = mini.pages.lock().expect("no poison");
        mini.host.drop_pages(SPACE, run(0, PAGES));
        pages.iter_mut().for_each(|bytes| *bytes = Bytes::Zeros);
        added.iter().for_each(|sum| sum.store(0, COUNT));
        barrier.wait();
        std::thread::sleep(Duration::from_micros(50));
        for first in (0..PAGES).step_by(16) {
            let stored = mini.host.show_zero(SPACE, run(first, 16)).expect("zeros");
            caught += stored.count_ones();
            for n in 0..16 {
                if stored >> n & 1 != 0 {
                    pages[first as usize + n] = Bytes::Private;
                }
            }
        }
    }
    std::thread::sleep(Duration::from_micros(200));
    pause.store(true, COUNT);
    barrier.wait();
    for page in 0..PAGES {
        let sum: u64 = (0..THREADS).map(|thread| view.get(page, thread)).sum();
        assert_eq!(sum, added[page as usize].load(COUNT), "page {page} lost a store");
    }
    caught
}

/// Goal: a copy-on-write in a page that other threads read and store to is whole, and each window
/// has its own. Method: many windows on one backing; a barrier lets all threads loose on each page
/// at once.
#[test]
fn copy_on_write_under_stores() {
    bounded(|| {
        for delivery in [Delivery::InThread, Delivery::Thread] {
            let harness = Harness::with(delivery);
            for page in 0..PAGES {
                harness
                    .host
                    .pool_write(PoolPage(page.into()), &common::stamped(1000))
                    .err();
            }
            harness.host.reserve_pool(PAGES.into()).expect("sparse");
            for page in 0..PAGES {
                harness
                    .host
                    .pool_write(PoolPage(page.into()), &common::stamped(1000))
                    .expect("memory");
            }
            let owned = Mutex::new(std::collections::HashSet::new());
            harness.rule(move |host, space, page, access| {
                let mut owned = owned.lock().expect("no poison");
                match access {
                    _ if owned.contains(&(space, page)) => {}
                    Access::Read => host.show(space, run(page.0, 1)).expect("shown"),
                    Access::Write => {
                        host.copy_from_pool(space, page, PoolPage(0).plus(page.0))
                            .expect("memory");
                        owned.insert((space, page));
                    }
                }
                FaultReply::Resolved
            });
            for space in 10..30 {
                let view = harness.open(space, 0, PAGES);
                let start = Barrier::new(THREADS + 1);
                std::thread::scope(|scope| {
                    for thread in 0..=THREADS {
                        let start = &start;
                        scope.spawn(move || {
                            for page in 0..PAGES {
                                start.wait();
                                if thread == THREADS {
                                    assert_eq!(view.get(page, 100), 1100);
                                } else {
                                    assert_eq!(view.add(page, thread, 1), 1000 + thread as u64);
                                    assert_eq!(view.get(page, 200), 1200);
                                }
                            }
                        });
                    }
                });
                for page in 0..PAGES {
                    assert_eq!((view.get(page, 0), view.get(page, 1)), (1001, 1002));
                }
            }
        }
    });
}
