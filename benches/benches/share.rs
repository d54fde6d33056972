//! What a background merger with 2 % of a core costs: its own processor time, and the throughput of
//! calls beside it.
//!
//! Two memories hold the same instances of a real program, warmed up one by one; one of them merges
//! in the background, the other does not. Both are merged by one round first, then called in turns,
//! in short slices of the same calls, so that other work on the machine meets both. Printed per
//! program: the merger's share of a core by the scheduler's own account, and calls per second
//! beside it, as a ratio of medians over all slices, by the clock and by the calling thread's
//! processor time. The programs are built by `cargo xtask programs`.

use memfold::{Memory, Merging};
use memfold_benches::is_smoke_test;
use memfold_wasmtime::{ForkInstance, Template, configure, prepare};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wasmtime::{Config, Engine, Linker, Store, TypedFunc};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

const PERCENT: f64 = 2.0;

/// One instance, warmed up.
struct Guest {
    store: Store<WasiP1Ctx>,
    instance: ForkInstance<WasiP1Ctx>,
    run: TypedFunc<(i32, i32), i32>,
}

/// A memory with its instances, and what a slice of calls cost.
struct Side {
    memory: Memory,
    guests: Vec<Guest>,
    calls: i32,
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Side {
    fn new(wasm: &[u8], guests: usize) -> Self {
        let memory = Memory::builder()
            .merging(Merging::On)
            .build()
            .expect("userfaultfd works here");
        let mut config = Config::new();
        configure(&mut config, &memory);
        let engine = Engine::new(&config).expect("an engine");
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |wasi: &mut WasiP1Ctx| wasi).expect("WASI");
        let prepared = prepare(wasm).expect("the program can be forked");
        let template = Template::new(&memory, &linker, &prepared).expect("it compiles");
        let guests = (0..guests).map(|_| Guest::new(&engine, &template)).collect();
        let _ = memory.merge_now().expect("no limit");
        Self {
            memory,
            guests,
            calls: 0,
            wall: Vec::new(),
            cpu: Vec::new(),
        }
    }

    /// The next call of each instance, `rounds` times.
    fn slice(&mut self, rounds: i32) {
        let (begin, cpu) = (Instant::now(), memfold::linux::thread_cpu_time());
        for call in self.calls..self.calls + rounds {
            for (number, guest) in self.guests.iter_mut().enumerate() {
                let called = guest
                    .instance
                    .call(&mut guest.store, &guest.run, (number as i32, call));
                called.expect("the program answers");
            }
        }
        self.calls += rounds;
        self.wall.push(begin.elapsed());
        self.cpu.push(memfold::linux::thread_cpu_time() - cpu);
    }
}

impl Guest {
    fn new(engine: &Engine, template: &Template<WasiP1Ctx>) -> Self {
        let mut store = Store::new(engine, WasiCtxBuilder::new().build_p1());
        let instance = template.instantiate(&mut store).expect("an instance");
        for name in ["_initialize", "warm"] {
            let warm = instance.instance().get_typed_func::<(), ()>(&mut store, name);
            let warm = warm.expect("the program has it");
            instance.call(&mut store, &warm, ()).expect("it warms up");
        }
        let run = instance.instance().get_typed_func(&mut store, "run");
        Self {
            run: run.expect("the program has it"),
            store,
            instance,
        }
    }
}

/// Where the scheduler's account of the merging thread stands, in nanoseconds.
fn merger_clock() -> Option<PathBuf> {
    fs::read_dir("/proc/self/task").ok()?.flatten().find_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        (name.trim() == "memfold-merge").then(|| task.path().join("schedstat"))
    })
}

fn used(clock: &Path) -> Duration {
    let text = fs::read_to_string(clock).expect("the merger lives");
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// Per cent by which the throughput of `with` is below that of `without`.
fn loss(with: &[Duration], without: &[Duration]) -> f64 {
    (1.0 - median(without) / median(with)) * 100.0
}

fn program(name: &str, wasm: &[u8], guests: usize, time: Duration) {
    let (mut without, mut with) = (Side::new(wasm, guests), Side::new(wasm, guests));
    let mut rounds = 1;
    while rounds < 1 << 20 && without.wall.last().is_none_or(|&last| last < time / 500) {
        rounds *= 2;
        without.slice(rounds);
        with.slice(rounds);
    }
    for side in [&mut without, &mut with] {
        side.wall.clear();
        side.cpu.clear();
    }
    with.memory.merge_in_background(PERCENT);
    std::thread::sleep(Duration::from_millis(10));
    let clock = merger_clock().expect("the merger was started");
    let (begin, before, merged) = (Instant::now(), used(&clock), with.memory.stats().counts.merged);
    while begin.elapsed() < time {
        without.slice(rounds);
        with.slice(rounds);
    }
    let share = (used(&clock) - before).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    println!(
        "{name:>8} {:>7} {:>11} {:>11.2} % {:>11.1} % {:>11.1} %",
        with.wall.len(),
        with.memory.stats().counts.merged - merged,
        share,
        loss(&with.wall, &without.wall),
        loss(&with.cpu, &without.cpu),
    );
}

fn main() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/programs");
    let (guests, time) = if is_smoke_test() { (2, 1) } else { (50, 30) };
    println!("a budget of {PERCENT} % of a core; lost: throughput of calls beside it");
    println!(
        "{:>8} {:>7} {:>11} {:>13} {:>13} {:>13}",
        "program", "slices", "merged", "of a core", "lost (clock)", "lost (cpu)"
    );
    for name in ["lua", "sqlite", "quickjs"] {
        match fs::read(programs.join(format!("{name}.wasm"))) {
            Ok(wasm) => program(name, &wasm, guests, Duration::from_secs(time)),
            Err(error) => println!("{name:>8} skipped ({error}): run `cargo xtask programs` first"),
        }
    }
}
