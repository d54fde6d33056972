//! Two threads against one: accesses in spaces of their own, and in the two halves of one space.
//!
//! Each access is a fault. Both threads are kept on a core of their own. Rows are rates of two
//! threads together, as multiples of one thread's; beside them stand the kernel's own, of anonymous
//! memory. The cases take turns, the rows are medians. `managed` is without native runs, so what is
//! left under pressure. `ROUNDS=9` sets how many turns.
//! It needs no Wasm: `cargo bench -p memfold-benches --no-default-features --bench threads`.

use memfold::{Memory, Native, PAGE_SIZE, Space, SpaceSize};
use memfold_benches::schedule::{PRIORITY, first_in_line, pin};
use memfold_benches::{is_smoke_test, text};
use std::ptr::NonNull;
use std::sync::Barrier;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
enum Access {
    Load,
    Store,
}

/// Memory with faults before it.
enum Place {
    Space(Space),
    Kernel(Anonymous),
}

impl Place {
    fn base(&self) -> NonNull<u8> {
        match self {
            Self::Space(space) => space.as_ptr(),
            Self::Kernel(memory) => memory.base,
        }
    }
}

/// A mapping of the kernel's, without huge pages.
struct Anonymous {
    base: NonNull<u8>,
    len: usize,
}

impl Anonymous {
    fn new(len: usize) -> Self {
        // SAFETY: a fresh mapping touches nothing of ours.
        let base = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let allowed = libc::PROT_READ | libc::PROT_WRITE;
            let base = libc::mmap(std::ptr::null_mut(), len, allowed, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED, "no memory for {len} bytes");
            libc::madvise(base, len, libc::MADV_NOHUGEPAGE);
            base
        };
        let base = NonNull::new(base.cast()).expect("nothing is mapped at zero");
        Self { base, len }
    }
}

impl Drop for Anonymous {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, used by nobody any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// What a row needs.
struct Row<'a> {
    name: &'static str,
    access: Access,
    /// All pages in order, or one of each sixteen.
    step: usize,
    make: Box<dyn Fn() -> Place + 'a>,
    /// Rates of one thread, of two in spaces of their own, of two in one space.
    rates: [Vec<f64>; 3],
}

/// A base that a thread takes with it.
#[derive(Clone, Copy)]
struct Base(usize);

/// Has threads access these pages at the same time: pages a microsecond.
fn together(work: &[(Base, Vec<usize>)], access: Access) -> f64 {
    let barrier = Barrier::new(work.len());
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let threads: Vec<_> = work
            .iter()
            .enumerate()
            .map(|(n, (base, pages))| {
                let barrier = &barrier;
                scope.spawn(move || {
                    pin(n);
                    first_in_line(PRIORITY);
                    barrier.wait();
                    let begin = Instant::now();
                    for page in pages {
                        let at = (base.0 + page * PAGE_SIZE + 64) as *mut u8;
                        // SAFETY: inside the memory, which lives longer; no other thread has the
                        // page.
                        unsafe {
                            match access {
                                Access::Load => drop(at.read_volatile()),
                                Access::Store => at.write_volatile(7),
                            }
                        }
                    }
                    (begin, Instant::now())
                })
            })
            .collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("it ends"));
        times.collect()
    });
    let begin = times
        .iter()
        .map(|times| times.0)
        .min()
        .expect("one thread at least");
    let end = times
        .iter()
        .map(|times| times.1)
        .max()
        .expect("one thread at least");
    let pages: usize = work.iter().map(|(_, pages)| pages.len()).sum();
    pages as f64 / (end - begin).max(Duration::from_nanos(1)).as_secs_f64() / 1e6
}

impl Row<'_> {
    fn turn(&mut self, count: usize, keep: bool) {
        let all: Vec<usize> = (0..count).step_by(self.step).collect();
        let (low, high) = all.split_at(all.len() / 2);
        let base = |place: &Place| Base(place.base().as_ptr() as usize);
        let one = {
            let place = (self.make)();
            together(&[(base(&place), all.clone())], self.access)
        };
        let own = {
            let (a, b) = ((self.make)(), (self.make)());
            together(&[(base(&a), all.clone()), (base(&b), all.clone())], self.access)
        };
        let same = {
            let place = (self.make)();
            let base = base(&place);
            together(&[(base, low.to_vec()), (base, high.to_vec())], self.access)
        };
        if keep {
            let rates = self.rates.iter_mut().zip([one, own, same]);
            rates.for_each(|(rates, rate)| rates.push(rate));
        }
    }

    fn print(&mut self) {
        let [one, own, same] = self.rates.each_mut().map(|rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        let (us, own, same) = (1.0 / one, own / one, same / one);
        println!("| {} | {us:.2} | {own:.2} | {same:.2} |", self.name);
    }
}

fn main() {
    let smoke = is_smoke_test();
    let pages: usize = if smoke { 256 } else { 32 << 10 };
    let usual = if smoke { 1 } else { 7 };
    let rounds = std::env::var("ROUNDS").map_or(usual, |n| n.parse().expect("a number of rounds"));
    let memory = |native| {
        Memory::builder()
            .native(native)
            .build()
            .expect("userfaultfd works here")
    };
    let (ours, managed) = (memory(Native::On), memory(Native::Off));
    let bytes = (pages * PAGE_SIZE) as u64;
    let make = |memory: &Memory| memory.create(SpaceSize::fixed(bytes)).expect("no limit");
    let filled = |memory: &Memory, step: usize| {
        let space = make(memory);
        let mut page = [0; PAGE_SIZE];
        for n in (0..pages).step_by(step) {
            text(n as u64, &mut page);
            space.write((n * PAGE_SIZE) as u64, &page).expect("no limit");
        }
        space
    };
    let templates = [&ours, &managed].map(|memory| filled(memory, 1).freeze().expect("no limit"));
    let [native, plain] = &templates;
    let fork = |template: &Space| Place::Space(template.fork().expect("no limit"));
    let evicted = |step: usize| {
        let space = filled(&managed, step);
        space.evict().expect("the pages go");
        Place::Space(space)
    };
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut row = |name, access, step, make| {
        let rates = Default::default();
        rows.push(Row {
            name,
            access,
            step,
            make,
            rates,
        });
    };
    for step in [1, 16] {
        let name = |all, one| if step == 1 { all } else { one };
        let kernel = move || Place::Kernel(Anonymous::new(bytes as usize));
        row(
            name("kernel: first store, all pages", "kernel: first store, one of 16"),
            Access::Store,
            step,
            Box::new(kernel),
        );
        row(
            name("first store, all pages", "first store, one of 16"),
            Access::Store,
            step,
            Box::new(|| Place::Space(make(&managed))),
        );
        row(
            name("load of a template, all pages", "load of a template, one of 16"),
            Access::Load,
            step,
            Box::new(|| fork(native)),
        );
        row(
            name("managed: load, all pages", "managed: load, one of 16"),
            Access::Load,
            step,
            Box::new(|| fork(plain)),
        );
        row(
            name("copy-on-write, all pages", "copy-on-write, one of 16"),
            Access::Store,
            step,
            Box::new(|| fork(native)),
        );
        row(
            name(
                "managed: copy-on-write, all pages",
                "managed: copy-on-write, one of 16",
            ),
            Access::Store,
            step,
            Box::new(|| fork(plain)),
        );
        row(
            name("swap-in, all pages", "swap-in, one of 16"),
            Access::Load,
            step,
            Box::new(move || evicted(step)),
        );
    }
    for round in 0..=rounds {
        rows.iter_mut()
            .for_each(|row| row.turn(pages, round > 0 || smoke));
    }
    println!("| fault | one thread, us | two, own spaces | two, one space |");
    println!("| --- | --- | --- | --- |");
    rows.iter_mut().for_each(Row::print);
}
