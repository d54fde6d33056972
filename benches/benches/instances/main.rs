//! Instances of real programs beside stock Wasmtime with its pooling allocator and the warmed-up
//! memory baked into the module; and in a quarter of the memory, beside no budget.
//!
//! Both sides answer the same calls, and the answers are compared. They take turns, in one thread:
//! a start; a start and its first call; an end; calls of all instances in turn; calls of one
//! instance again and again. Rows are medians in microseconds, and ratios: of times (below 1 we are
//! faster) and of rates (above 1 we are). Anonymous memory is the kernel's count, after ten calls.
//! Under pressure a program is played twice, with no budget and with a part of what that held at
//! its peak: a ratio of times by the clock, and of processor times. There threads run where and
//! when the machine lets them, as a host's do. Starts, ends and calls need
//! `target/programs`, which `cargo xtask programs` builds. `ONLY=lua` names one program, `CLONES`
//! how many instances, `PART=4` which part of the peak.

mod ours;
mod stock;

use memfold_benches::is_smoke_test;
use memfold_benches::schedule::{PRIORITY, cpu_seconds, first_in_line, pin};
use ours::Ours;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use stock::Stock;
use wasmtime::{Engine, Linker, Store, TypedFunc};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

type Run = TypedFunc<(i32, i32), i32>;

/// What a program is warmed up by.
const WARM: [&str; 2] = ["_initialize", "warm"];

/// An instance of either side.
trait Guest {
    /// Asks for the answer to this call of this instance.
    fn call(&mut self, number: usize, call: usize) -> i64;
}

fn linker(engine: &Engine) -> Linker<WasiP1Ctx> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |wasi: &mut WasiP1Ctx| wasi).expect("WASI");
    linker
}

fn store(engine: &Engine) -> Store<WasiP1Ctx> {
    Store::new(engine, WasiCtxBuilder::new().build_p1())
}

/// How much of everything.
struct Sizes {
    starts: usize,
    clones: usize,
    rounds: usize,
    hot: usize,
    /// Instances and calls of each under pressure.
    crowd: usize,
    calls: usize,
    part: u64,
}

impl Sizes {
    fn new(smoke: bool) -> Self {
        let number = |name: &str, usual| std::env::var(name).map_or(usual, |n| n.parse().expect("a number"));
        let part = number("PART", 4) as u64;
        if smoke {
            return Self {
                starts: 2,
                clones: 2,
                rounds: 1,
                hot: 1,
                crowd: 4,
                calls: 2,
                part,
            };
        }
        let clones = number("CLONES", 200);
        Self {
            starts: 400,
            clones,
            rounds: 20,
            hot: 40,
            crowd: number("CROWD", 500),
            calls: 20,
            part,
        }
    }
}

fn main() {
    let sizes = Sizes::new(is_smoke_test());
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/programs");
    let only = std::env::var("ONLY").unwrap_or_default();
    for name in ["lua", "sqlite", "quickjs"]
        .into_iter()
        .filter(|name| name.contains(&only))
    {
        let path = programs.join(format!("{name}.wasm"));
        let wasm = match fs::read(&path) {
            Ok(wasm) => wasm,
            Err(error) => {
                println!("{name}: skipped ({error}): run `cargo xtask programs` first");
                continue;
            }
        };
        println!("\n{name}, {} instances; us, medians", sizes.clones);
        // In a thread that is pinned, as all threads would be that it starts.
        std::thread::scope(|scope| {
            scope.spawn(|| beside_stock(&wasm, &sizes));
        });
        under_pressure(&wasm, &sizes);
    }
}

fn beside_stock(wasm: &[u8], sizes: &Sizes) {
    pin(0);
    first_in_line(PRIORITY);
    let (ours, stock) = (Ours::new(wasm, None), Stock::new(wasm, sizes.clones + 8));
    println!("| | memfold | stock | ratio |");
    println!("| --- | --- | --- | --- |");
    starts(&ours, &stock, sizes.starts);
    let before = anonymous_kib();
    let mut all: Vec<_> = (0..sizes.clones)
        .map(|_| ours.make(store(&ours.engine)))
        .collect();
    let sum = play(&mut all, 0..10);
    let middle = anonymous_kib();
    let mut theirs: Vec<_> = (0..sizes.clones)
        .map(|_| stock.make(store(&stock.engine)))
        .collect();
    assert_eq!(sum, play(&mut theirs, 0..10), "the answers differ");
    let kib = |from: u64, to: u64| to.saturating_sub(from) as f64 / sizes.clones as f64;
    row(
        "anonymous memory of one, KiB",
        kib(before, middle),
        kib(middle, anonymous_kib()),
    );
    let mut rates = (Vec::new(), Vec::new());
    for round in 0..sizes.rounds {
        let calls = 10 + round * 5..15 + round * 5;
        let (sum, time) = timed(|| play(&mut all, calls.clone()));
        let (same, their_time) = timed(|| play(&mut theirs, calls.clone()));
        assert_eq!(sum, same, "the answers differ");
        let count = (sizes.clones * 5) as f64 * 1e6;
        rates.0.push(count / time);
        rates.1.push(count / their_time);
    }
    row(
        "calls a second, all in turn",
        median(&mut rates.0),
        median(&mut rates.1),
    );
    let mut rates = (Vec::new(), Vec::new());
    for round in 0..sizes.hot {
        let calls = 1000 + round * 100..1100 + round * 100;
        let (sum, time) = timed(|| play(&mut all[..1], calls.clone()));
        let (same, their_time) = timed(|| play(&mut theirs[..1], calls.clone()));
        assert_eq!(sum, same, "the answers differ");
        rates.0.push(1e8 / time);
        rates.1.push(1e8 / their_time);
    }
    row(
        "calls a second, one again and again",
        median(&mut rates.0),
        median(&mut rates.1),
    );
}

/// Starts, first calls and ends, one instance at a time.
fn starts(ours: &Ours, stock: &Stock, count: usize) {
    let mut times: [(Vec<f64>, Vec<f64>); 3] = Default::default();
    for n in 0..count + count / 20 {
        let store_of_ours = store(&ours.engine);
        let (answer, mine) = life(|| ours.make(store_of_ours));
        let store_of_stock = store(&stock.engine);
        let (same, theirs) = life(|| stock.make(store_of_stock));
        assert_eq!(answer, same, "the answers differ");
        // The first few warm up the caches.
        if n >= count / 20 {
            for (times, (mine, theirs)) in times.iter_mut().zip(mine.into_iter().zip(theirs)) {
                times.0.push(mine);
                times.1.push(theirs);
            }
        }
    }
    let names = ["start", "start and first call", "end"];
    for (name, (mine, theirs)) in names.into_iter().zip(&mut times) {
        row(name, median(mine), median(theirs));
    }
}

/// Makes an instance, calls it, ends it: the answer, and the times of a start, of that and the
/// call, and of the end.
fn life<G: Guest>(make: impl FnOnce() -> G) -> (i64, [f64; 3]) {
    let begin = Instant::now();
    let mut guest = make();
    let start = us(begin.elapsed());
    let answer = guest.call(0, 0);
    let first = us(begin.elapsed());
    let ((), end) = timed(|| drop(guest));
    (answer, [start, first, end])
}

/// Calls all instances in turn, for each of these calls: the sum of the answers.
fn play<G: Guest>(all: &mut [G], calls: std::ops::Range<usize>) -> i64 {
    let mut sum = 0;
    for call in calls {
        for (number, guest) in all.iter_mut().enumerate() {
            sum += guest.call(number, call);
        }
    }
    sum
}

fn under_pressure(wasm: &[u8], sizes: &Sizes) {
    let once = |budget: Option<u64>| {
        let ours = Ours::new(wasm, budget);
        let mut all: Vec<_> = (0..sizes.crowd).map(|_| ours.make(store(&ours.engine))).collect();
        let cpu = cpu_seconds();
        let (sum, time) = timed(|| play(&mut all, 0..sizes.calls));
        (sum, time, cpu_seconds() - cpu, ours.memory.stats().usage.peak)
    };
    let (sum, free, free_cpu, peak) = once(None);
    let budget = peak / sizes.part;
    let (same, time, cpu, held) = once(Some(budget));
    assert_eq!(sum, same, "the answers differ");
    assert!(held <= budget, "{held} bytes held of {budget}");
    let calls = (sizes.crowd * sizes.calls) as f64;
    println!(
        "{} instances, {} calls each, in {} of {} MiB: {:.1} us a call, without a budget {:.1}: {:.2}; processor time {:.2}",
        sizes.crowd,
        sizes.calls,
        budget >> 20,
        peak >> 20,
        time / calls,
        free / calls,
        time / free,
        cpu / free_cpu,
    );
}

fn row(name: &str, ours: f64, theirs: f64) {
    println!("| {name} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, f64) {
    let begin = Instant::now();
    let result = work();
    (result, us(begin.elapsed()))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Anonymous memory of this process, as the kernel counts it.
fn anonymous_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0)
}
