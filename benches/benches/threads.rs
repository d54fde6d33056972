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
    /// 1: all pages in order; 16: one of each sixteen.
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
        let how = if self.step == 1 { "all pages" } else { "one of 16" };
        println!("| {}, {how} | {us:.2} | {own:.2} | {same:.2} |", self.name);
    }
}

/// Memories and templates that rows are made of, of so many pages each.
struct Stock {
    managed: Memory,
    /// Of a memory with native runs, and of one without.
    native: Space,
    plain: Space,
    pages: usize,
}

impl Stock {
    fn new(pages: usize) -> Self {
        let memory = |native| {
            Memory::builder()
                .native(native)
                .build()
                .expect("userfaultfd works here")
        };
        let managed = memory(Native::Off);
        let frozen = |memory| filled(memory, pages, 1).freeze().expect("no limit");
        Self {
            native: frozen(&memory(Native::On)),
            plain: frozen(&managed),
            managed,
            pages,
        }
    }

    fn empty(&self) -> Place {
        Place::Space(empty(&self.managed, self.pages))
    }

    fn evicted(&self, step: usize) -> Place {
        let space = filled(&self.managed, self.pages, step);
        space.evict().expect("the pages go");
        Place::Space(space)
    }

    /// Each kind of fault, on all pages in order, or on one of each sixteen.
    fn rows(&self, step: usize) -> Vec<Row<'_>> {
        let fork = |template: &Space| Place::Space(template.fork().expect("no limit"));
        let kernel = || Place::Kernel(Anonymous::new(self.pages * PAGE_SIZE));
        let row = |name, access, make| Row {
            name,
            access,
            step,
            make,
            rates: Default::default(),
        };
        let (load, store) = (Access::Load, Access::Store);
        vec![
            row("kernel: first store", store, Box::new(kernel)),
            row("first store", store, Box::new(|| self.empty())),
            row("load of a template", load, Box::new(move || fork(&self.native))),
            row(
                "managed: load of a template",
                load,
                Box::new(move || fork(&self.plain)),
            ),
            row("copy-on-write", store, Box::new(move || fork(&self.native))),
            row(
                "managed: copy-on-write",
                store,
                Box::new(move || fork(&self.plain)),
            ),
            row("swap-in", load, Box::new(move || self.evicted(step))),
        ]
    }
}

fn empty(memory: &Memory, pages: usize) -> Space {
    let size = SpaceSize::fixed((pages * PAGE_SIZE) as u64);
    memory.create(size).expect("no limit")
}

fn filled(memory: &Memory, pages: usize, step: usize) -> Space {
    let space = empty(memory, pages);
    let mut page = [0; PAGE_SIZE];
    for n in (0..pages).step_by(step) {
        text(n as u64, &mut page);
        space.write((n * PAGE_SIZE) as u64, &page).expect("no limit");
    }
    space
}

fn main() {
    let smoke = is_smoke_test();
    let (pages, usual) = if smoke { (256, 1) } else { (32 << 10, 7) };
    let rounds = std::env::var("ROUNDS").map_or(usual, |n| n.parse().expect("a number of rounds"));
    let stock = Stock::new(pages);
    let mut rows: Vec<_> = [1, 16].into_iter().flat_map(|step| stock.rows(step)).collect();
    for round in 0..=rounds {
        rows.iter_mut()
            .for_each(|row| row.turn(pages, round > 0 || smoke));
    }
    println!("| fault | one thread, us | two, own spaces | two, one space |");
    println!("| --- | --- | --- | --- |");
    rows.iter_mut().for_each(Row::print);
}
