//! What it costs to evict pages that many windows can show, and what others wait for meanwhile.
//!
//! A template of text is warmed up and cloned so many times that 1 to 30,000 windows map the same
//! range of the pool, within a hard budget. Either one clone shows the pages, or every clone does.
//! Then reclaim moves all shared pages to the store: measured is the time of it for a page, once
//! while the program rests, and once while another thread reads pages of clones, whose reads are
//! timed, and a third makes clones of the template, which are timed too. Page tables come on top of
//! the budget: the windows of this benchmark fill more of them than there are shared pages. Beside
//! it stands the least that any manager must pay, without one: as many windows of a file in memory,
//! shown in the same way, from which runs of as many pages are punched (`bare`).
//! `SHAPES=10000:all,1:one` runs these alone.

use memfold::{Error, Memory, PAGE_SIZE, PageTables, Space, SpaceSize};
use memfold_benches::{is_smoke_test, percentiles, text};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Shared pages.
const PAGES: usize = 1024;

/// Pages that are asked for in one call of reclaim: what a fault asks for.
const ASKED: u32 = 32;

fn read(space: &Space, page: usize) {
    assert!(page * PAGE_SIZE < space.len() as usize);
    // SAFETY: inside the space, which lives and to which nobody stores.
    unsafe { space.as_ptr().as_ptr().add(page * PAGE_SIZE).read_volatile() };
}

/// Clones of a template in one memory.
struct Family {
    memory: Memory,
    template: Space,
    clones: Vec<Space>,
}

impl Family {
    fn new(clones: usize) -> Result<Self, Error> {
        let memory = Memory::builder()
            .budget_bytes((64 << 20) + clones as u64 * 1024)
            .page_tables(PageTables::OnTop)
            .max_spaces(clones as u32 + 64)
            .background(false)
            .build()?;
        let warm = memory.create(SpaceSize::fixed((PAGES * PAGE_SIZE) as u64))?;
        let mut page = [0; PAGE_SIZE];
        for number in 0..PAGES {
            text(number as u64, &mut page);
            warm.write((number * PAGE_SIZE) as u64, &page)?;
        }
        let template = warm.freeze()?;
        drop(warm);
        let clones = (0..clones).map(|_| template.fork()).collect::<Result<_, _>>()?;
        Ok(Self {
            memory,
            template,
            clones,
        })
    }

    /// So many of the clones show all pages.
    fn show(&self, clones: usize) {
        for clone in &self.clones[..clones.min(self.clones.len())] {
            (0..PAGES).for_each(|page| read(clone, page));
        }
    }

    /// Evicts all pages; the longest call, and how many calls found nothing.
    fn evict(&self) -> Evicted {
        let (start, mut found) = (Instant::now(), Evicted::default());
        let mut idle = 0;
        while found.pages < PAGES as u64 && idle < 20 {
            let begin = Instant::now();
            let went = self.memory.reclaim(ASKED);
            found.longest = found.longest.max(begin.elapsed());
            found.pages += u64::from(went);
            idle = if went == 0 { idle + 1 } else { 0 };
            found.fruitless += u32::from(went == 0);
        }
        found.time = start.elapsed();
        found
    }
}

#[derive(Default)]
struct Evicted {
    pages: u64,
    time: Duration,
    longest: Duration,
    fruitless: u32,
}

impl Evicted {
    fn per_page(&self) -> f64 {
        self.time.as_secs_f64() * 1e6 / self.pages.max(1) as f64
    }
}

/// Runs `step` again and again, with a pause after each, until `end` says so; how long each took.
fn timed(end: &AtomicBool, mut step: impl FnMut(usize)) -> Vec<Duration> {
    let mut times = Vec::new();
    // Relaxed: only says when to stop.
    while !end.load(Ordering::Relaxed) || times.is_empty() {
        let begin = Instant::now();
        step(times.len());
        times.push(begin.elapsed());
        std::thread::sleep(Duration::from_micros(300));
    }
    times
}

/// Windows of a file in memory, and no manager.
struct Bare {
    file: i32,
    windows: Vec<*mut libc::c_void>,
}

impl Bare {
    const BYTES: usize = PAGES * PAGE_SIZE;

    /// `None` where the machine refuses.
    fn new(windows: usize) -> Option<Self> {
        // SAFETY: a name that ends with a zero; the file is owned from here on.
        let file = unsafe { libc::memfd_create(c"bare".as_ptr(), libc::MFD_CLOEXEC) };
        let mut bare = Self {
            file,
            windows: Vec::new(),
        };
        let mut page = [0; PAGE_SIZE];
        for number in 0..PAGES {
            text(number as u64, &mut page);
            let at = (number * PAGE_SIZE) as i64;
            // SAFETY: reads a page that is there, writes a file.
            let written = unsafe { libc::pwrite(file, page.as_ptr().cast(), PAGE_SIZE, at) };
            (written == PAGE_SIZE as isize).then_some(())?;
        }
        for _ in 0..windows {
            let (protection, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
            // SAFETY: a new mapping at an address that the kernel chooses.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), Self::BYTES, protection, how, file, 0) };
            (at != libc::MAP_FAILED).then_some(())?;
            bare.windows.push(at);
        }
        Some(bare)
    }

    fn show(&self, windows: usize) {
        for &window in &self.windows[..windows.min(self.windows.len())] {
            for page in 0..PAGES {
                // SAFETY: inside the mapping, which lives and to which nobody stores.
                unsafe { window.cast::<u8>().add(page * PAGE_SIZE).read_volatile() };
            }
        }
    }

    /// Microseconds a page, when runs of so many go.
    fn punch(&self, run: usize) -> f64 {
        let begin = Instant::now();
        for first in (0..PAGES).step_by(run) {
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            let (at, len) = ((first * PAGE_SIZE) as i64, (run * PAGE_SIZE) as i64);
            // SAFETY: changes a file that nobody else has.
            unsafe { libc::fallocate(self.file, mode, at, len) };
        }
        begin.elapsed().as_secs_f64() * 1e6 / PAGES as f64
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for &window in &self.windows {
            // SAFETY: a mapping of this value's, which nobody reads any more.
            unsafe { libc::munmap(window, Self::BYTES) };
        }
        // SAFETY: this value's file.
        unsafe { libc::close(self.file) };
    }
}

/// What it costs to empty a page of a file that so many windows map and so many show.
fn bare(windows: usize, shown: usize) -> Option<f64> {
    let bare = Bare::new(windows)?;
    bare.show(shown);
    Some(bare.punch(ASKED as usize))
}

fn shape(clones: usize, shown: usize) -> Result<(), Error> {
    let least = bare(clones, shown).map_or("-".to_owned(), |us| format!("{us:.1}"));
    let family = Family::new(clones)?;
    family.show(shown);
    let quiet = family.evict();
    // Everything comes back, and goes again while others are at work: in the store already, so that
    // it costs the punch.
    family.show(shown);
    let again = family.evict();
    family.show(shown);
    let end = AtomicBool::new(false);
    let (busy, mut reads, mut forks) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // Far from each other, and never the clones that are asked first.
            timed(&end, |n| read(&family.clones[n * 7919 % clones], n * 331 % PAGES))
        });
        let maker = scope.spawn(|| {
            timed(&end, |_| {
                drop(family.template.fork().expect("a clone needs next to nothing"))
            })
        });
        let busy = family.evict();
        // Relaxed: as above.
        end.store(true, Ordering::Relaxed);
        (
            busy,
            reader.join().expect("it reads"),
            maker.join().expect("it forks"),
        )
    });
    let worst = |times: &[Duration]| times.iter().max().map_or(0.0, |t| t.as_secs_f64() * 1e3);
    let (read_worst, fork_worst) = (worst(&reads), worst(&forks));
    println!(
        "{clones:>7} {:>5} {:>6} {least:>9} {:>9.1} {:>9.1} {:>9.1} {:>10.1} {:>5} {:>8.0} {:>8.1} {:>8.0} {:>8.1}",
        if shown == 1 { "one" } else { "all" },
        quiet.pages.min(again.pages).min(busy.pages),
        quiet.per_page(),
        again.per_page(),
        busy.per_page(),
        quiet.longest.max(again.longest).as_secs_f64() * 1e3,
        quiet.fruitless + again.fruitless,
        percentiles(&mut reads).0,
        read_worst,
        percentiles(&mut forks).0,
        fork_worst,
    );
    Ok(())
}

fn main() {
    let all = if is_smoke_test() {
        "4:one,20:all".to_owned()
    } else {
        let usual = "1:one,100:one,100:all,1000:one,1000:all,10000:one,10000:all,30000:one";
        std::env::var("SHAPES").unwrap_or_else(|_| usual.to_owned())
    };
    println!("{PAGES} shared pages of text; us a page, unless it says ms");
    println!(
        "{:>7} {:>5} {:>6} {:>9} {:>9} {:>9} {:>9} {:>10} {:>5} {:>17} {:>17}",
        "windows",
        "shown",
        "pages",
        "bare",
        "new",
        "stored",
        "busy",
        "longest ms",
        "none",
        "read p50/worst ms",
        "fork p50/worst ms"
    );
    for shape_of in all.split(',') {
        let (clones, shown) = shape_of.split_once(':').expect("windows:one or windows:all");
        let clones = clones.parse().expect("a number of windows");
        let shown = if shown == "one" { 1 } else { clones };
        if let Err(error) = shape(clones, shown) {
            println!("{clones:>7} left out: {error}");
        }
    }
}
