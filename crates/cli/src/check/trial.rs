//! The trial: a small program on memfold's memory, forked, changed, evicted and read back, by way
//! of real faults.
//!
//! Every answer is known beforehand, the spaces do not fit into the budget
//! together, and at the end the manager checks its own invariants.

use super::Line;
use memfold::Memory;
use memfold_wasmtime::{Error, ForkInstance, Template};
use std::time::Instant;
use wasmtime::{Config, Engine, Linker, Store};

const BUDGET: u64 = 4 << 20;
/// Pages of the program's memory.
const PAGES: u32 = 512;
/// Pages that each fork changes.
const CHANGED: u32 = 128;
const FORKS: u32 = 16;

/// Writes one word into each of the pages from 0 on, and adds up one word of each of the pages:
///
/// ```wat
/// (module
///   (memory 32)
///   (func (export "fill") (param $seed i32) (param $pages i32)
///     (loop $next
///       (local.set $pages (i32.sub (local.get $pages) (i32.const 1)))
///       (i32.store
///         (i32.mul (local.get $pages) (i32.const 4096))
///         (i32.mul (i32.xor (local.get $pages) (local.get $seed)) (i32.const 40503)))
///       (br_if $next (local.get $pages))))
///   (func (export "sum") (param $pages i32) (result i32) (local $sum i32)
///     (loop $next
///       (local.set $pages (i32.sub (local.get $pages) (i32.const 1)))
///       (local.set $sum
///         (i32.add
///           (i32.mul (local.get $sum) (i32.const 31))
///           (i32.load (i32.mul (local.get $pages) (i32.const 4096)))))
///       (br_if $next (local.get $pages)))
///     (local.get $sum)))
/// ```
const PROGRAM: &[u8] = b"\
    \0asm\x01\0\0\0\
    \x01\x0b\x02\x60\x02\x7f\x7f\0\x60\x01\x7f\x01\x7f\
    \x03\x03\x02\0\x01\
    \x05\x03\x01\0\x20\
    \x07\x0e\x02\x04fill\0\0\x03sum\0\x01\
    \x0aK\x02\
    \x23\0\x03\x40\x20\x01A\x01k\x21\x01\x20\x01A\x80\x20l\x20\x01\x20\0sA\xb7\xbc\x02l\
    \x36\x02\0\x20\x01\x0d\0\x0b\x0b\
    \x25\x01\x01\x7f\x03\x40\x20\0A\x01k\x21\0\x20\x01A\x1fl\x20\0A\x80\x20l\x28\x02\0\
    j\x21\x01\x20\0\x0d\0\x0b\x20\x01\x0b";

/// The lines of the report: how it went, and what the memory warned of.
pub(super) fn lines() -> Vec<Line> {
    let begin = Instant::now();
    let memory = Memory::builder().budget_bytes(BUDGET).build();
    let warnings = memory.as_ref().map(Memory::warnings).unwrap_or_default();
    let outcome = memory.map_err(Failure::from).and_then(|memory| run(&memory));
    let warned = warnings
        .into_iter()
        .map(|warning| Line::warning("trial", "warned", warning.to_string()));
    warned.chain([line(begin, outcome)]).collect()
}

fn line(begin: Instant, outcome: Result<(), Failure>) -> Line {
    match outcome {
        Ok(()) => {
            let found = format!(
                "{FORKS} forks changed, evicted and read back in {} KiB: all right, {:.0} ms",
                BUDGET >> 10,
                begin.elapsed().as_secs_f64() * 1000.0
            );
            Line::ok("trial", found)
        }
        Err(Failure::Memory(error)) => Line::missing("trial", "failed", error.to_string()),
        Err(Failure::Wrong(what)) => Line::missing("trial", "WRONG", format!("{what}: please report this")),
    }
}

#[derive(Debug)]
enum Failure {
    /// memfold said no.
    Memory(Error),
    /// memfold did something wrong.
    Wrong(String),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Memory(error.into())
    }
}

struct Instance {
    store: Store<()>,
    instance: ForkInstance<()>,
}

fn run(memory: &Memory) -> Result<(), Failure> {
    let mut config = Config::new();
    memfold_wasmtime::configure(&mut config, memory);
    let engine = Engine::new(&config).map_err(Error::Instantiate)?;
    let prepared = memfold_wasmtime::prepare(PROGRAM).map_err(|error| Failure::Wrong(error.to_string()))?;
    let template = Template::new(memory, &Linker::new(&engine), &prepared)?;

    let mut store = Store::new(&engine, ());
    let instance = template.instantiate(&mut store)?;
    let mut parent = Instance { store, instance };
    parent.fill(1, PAGES)?;
    let snapshot = parent.instance.freeze(&mut parent.store)?;
    let mut forks = Vec::new();
    for seed in 2..2 + FORKS {
        let mut store = Store::new(&engine, ());
        let instance = snapshot.instantiate(&mut store)?;
        let mut fork = Instance { store, instance };
        fork.fill(seed, CHANGED)?;
        fork.instance.space().evict()?;
        forks.push((seed, fork));
    }
    for (seed, fork) in &mut forks {
        fork.expect("a fork", *seed)?;
    }
    parent.expect("the parent", 1)?;
    judge(memory)
}

impl Instance {
    fn fill(&mut self, seed: u32, pages: u32) -> Result<(), Error> {
        let instance = *self.instance.instance();
        let fill = instance.get_typed_func::<(u32, u32), ()>(&mut self.store, "fill");
        let fill = fill.map_err(Error::Program)?;
        self.instance.call(&mut self.store, &fill, (seed, pages))
    }

    /// Reads every page; those that were changed last are as `seed` says.
    fn expect(&mut self, who: &str, seed: u32) -> Result<(), Failure> {
        let instance = *self.instance.instance();
        let sum = instance.get_typed_func::<u32, u32>(&mut self.store, "sum");
        let sum = sum.map_err(Error::Program)?;
        let found = self.instance.call(&mut self.store, &sum, PAGES)?;
        let right = right(seed);
        if found == right {
            Ok(())
        } else {
            Err(Failure::Wrong(format!(
                "{who} has {found:#x} where {right:#x} was written"
            )))
        }
    }
}

/// What `sum` returns for a fork with this seed.
fn right(seed: u32) -> u32 {
    (0..PAGES).rev().fold(0, |sum: u32, page| {
        let seed = if page < CHANGED { seed } else { 1 };
        let word = (page ^ seed).wrapping_mul(40503);
        sum.wrapping_mul(31).wrapping_add(word)
    })
}

/// The budget was kept, and was too small for all without reclaim.
fn judge(memory: &Memory) -> Result<(), Failure> {
    let stats = memory.stats();
    if stats.usage.peak > BUDGET {
        return Err(Failure::Wrong(format!("{} bytes were held", stats.usage.peak)));
    }
    if stats.counts.evictions == 0 {
        return Err(Failure::Wrong("nothing was evicted".to_owned()));
    }
    memory
        .check()
        .map_err(|broken| Failure::Wrong(format!("broken invariants: {}", broken.join("; "))))
}

#[cfg(test)]
mod tests {
    //! Goal: the program is the one that is documented, and the trial passes here. Method: the text
    //! compiled; run it.
    use super::*;

    #[test]
    fn the_program_is_its_text() {
        let source = include_str!("trial.rs");
        let lines = source.lines().skip_while(|line| *line != "/// ```wat").skip(1);
        let text: String = lines
            .take_while(|line| *line != "/// ```")
            .map(|line| line.trim_start_matches('/').to_owned() + "\n")
            .collect();
        let found = wat::parse_str(text).unwrap();
        // What follows are the names of the text, a custom section.
        let names = found.strip_prefix(PROGRAM).expect("the same program");
        assert_eq!(names.first(), Some(&0));
    }

    #[test]
    fn the_trial_passes() {
        let memory = Memory::builder().budget_bytes(BUDGET).build().unwrap();
        run(&memory).unwrap();
    }
}
