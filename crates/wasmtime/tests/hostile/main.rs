//! Guests that are made to do harm, beside one that behaves.
//!
//! Goal: whatever a guest does in a full budget (bulk operations at every size, growth, traps in
//! the middle, deep recursion that faults), it fails alone: its call ends in an error or a right
//! answer, the budget holds, and a tenant beside it has its bytes and goes on. Method: random
//! scripts of calls of one module, most of which want more memory than there is; a second thread
//! calls the tenant all the time and compares its digest. What is held is what the kernel counts.
//!
//! `MEMFOLD_GUESTS` says how many guests there are (10,000 in `cargo xtask hostile`, which also
//! asks for the tenant's slowest call); `MEMFOLD_SEED` where the scripts begin.

mod outside;

use memfold::Memory;
use memfold_wasmtime::{Error, ForkInstance, Template, configure, prepare};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wasmtime::{Config, Engine, Linker, Store, TypedFunc};

const MIB: u64 = 1 << 20;
const BUDGET: u64 = 8 * MIB;
/// Pages of 64 KiB of a guest's memory: four times the budget.
const PAGES: u32 = 512;
/// What the tenant's slowest call may take, where that is asked for.
const SLOWEST: Duration = Duration::from_millis(50);

/// Noise does not compress, so that nothing makes room.
const HARM: &str = r#"(module
  (memory (export "memory") 512 1024)
  (data $some "0123456789abcdefghijklmnopqrstuvwxyz")
  (global $depth (mut i32) (i32.const 0))
  (func $noise (param $at i32) (param $len i32) (param $step i32) (local $x i64) (local $end i32)
    (local.set $x (i64.add (i64.extend_i32_u (local.get $at)) (i64.const 88172645463325253)))
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (loop $l
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (i64.store (local.get $at) (local.get $x))
      (local.set $at (i32.add (local.get $at) (local.get $step)))
      (br_if $l (i32.lt_u (local.get $at) (local.get $end)))))
  (func (export "noise") (param i32 i32 i32)
    (call $noise (local.get 0) (local.get 1) (i32.const 8)))
  (func (export "touch") (param i32 i32 i32)
    (call $noise (local.get 0) (local.get 1) (i32.const 4096)))
  (func (export "fill") (param i32 i32 i32)
    (memory.fill (local.get 0) (local.get 2) (local.get 1)))
  (func (export "copy") (param i32 i32 i32)
    (call $noise (local.get 2) (i32.const 65536) (i32.const 8))
    (memory.copy (local.get 0) (local.get 2) (local.get 1)))
  (func (export "init") (param i32 i32 i32)
    (memory.init $some (local.get 0) (i32.const 0) (i32.and (local.get 1) (i32.const 63))))
  (func (export "grow") (param i32 i32 i32)
    (drop (memory.grow (i32.and (local.get 1) (i32.const 255))))
    (call $noise (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)) (i32.const 65536) (i32.const 8)))
  (func (export "trap") (param i32 i32 i32)
    (call $noise (local.get 0) (local.get 1) (i32.const 8))
    (unreachable))
  (func $deep (param $at i32) (param $left i32)
    (i64.store (local.get $at) (i64.const -1))
    (if (local.get $left)
      (then (call $deep (i32.add (local.get $at) (i32.const 4096)) (i32.sub (local.get $left) (i32.const 1)))))
    (i64.store offset=8 (local.get $at) (i64.const -1)))
  (func (export "deep") (param i32 i32 i32)
    (call $deep (local.get 0) (i32.shr_u (local.get 1) (i32.const 10)))))"#;

const TENANT: &str = r#"(module
  (memory (export "memory") 16)
  (func (export "work") (param $round i32) (result i64) (local $at i32) (local $sum i64)
    (loop $l
      (i64.store (local.get $at)
        (i64.add (i64.load (local.get $at)) (i64.extend_i32_u (i32.mul (local.get $at) (local.get $round)))))
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 2048)))
      (br_if $l (i32.lt_u (local.get $at) (i32.const 1048576))))
    (local.get $sum)))"#;

const CALLS: [&str; 8] = ["noise", "touch", "fill", "copy", "init", "grow", "trap", "deep"];

/// What the tenant's memory and answers are, computed beside it.
#[derive(Default)]
struct Right {
    words: Vec<u64>,
}

impl Right {
    fn work(&mut self, round: u32) -> u64 {
        self.words.resize(512, 0);
        let mut sum = 0_u64;
        for (n, word) in (0_u32..).zip(&mut self.words) {
            *word = word.wrapping_add(u64::from((n * 2048).wrapping_mul(round)));
            sum = sum.wrapping_mul(31).wrapping_add(*word);
        }
        sum
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32 % end
    }

    /// Sizes of all magnitudes, a few beyond everything.
    fn size(&mut self) -> u32 {
        let bits = 1 + self.below(26);
        1 + self.below(1 << bits)
    }
}

fn template(memory: &Memory, engine: &Engine, text: &str) -> Template<()> {
    let wasm = wat::parse_str(text).expect("the text is right");
    let prepared = prepare(&wasm).unwrap_or_else(|refused| panic!("{refused}"));
    Template::new(memory, &Linker::new(engine), &prepared).expect("room for the program")
}

fn number(name: &str, default: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.map_or(default, |said| said.parse().expect("a number"))
}

/// One guest's life; how many of its calls ended in an error, and what was held at its end.
fn harm(engine: &Engine, template: &Template<()>, rng: &mut Rng) -> (u64, u64) {
    let mut store = Store::new(engine, ());
    // No room for its tables is an answer as well.
    let Ok(guest) = template.instantiate(&mut store) else {
        return (1, 0);
    };
    let mut failed = 0;
    for _ in 0..1 + rng.below(4) {
        let name = CALLS[rng.below(CALLS.len() as u32) as usize];
        let call: TypedFunc<(i32, i32, i32), ()> = guest
            .instance()
            .get_typed_func(&mut store, name)
            .expect("the module has it");
        let (at, len) = (rng.below(PAGES << 16), rng.size());
        let from = rng.below(PAGES << 16);
        match guest.call(&mut store, &call, (at as i32, len as i32, from as i32)) {
            Ok(()) => (),
            Err(Error::MemoryLost { .. } | Error::Program(_)) => failed += 1,
            Err(other) => panic!("{name}({at}, {len}, {from}): {other}"),
        }
        // Some are forked after what they did, and the fork goes on.
        if rng.below(8) == 0 {
            fork(engine, &guest, &mut store, rng);
        }
    }
    (failed, outside::held_bytes())
}

fn fork(engine: &Engine, guest: &ForkInstance<()>, store: &mut Store<()>, rng: &mut Rng) {
    let mut child = Store::new(engine, ());
    let Ok(fork) = guest.fork(store, &mut child) else {
        return;
    };
    let call: TypedFunc<(i32, i32, i32), ()> = fork
        .instance()
        .get_typed_func(&mut child, "touch")
        .expect("the module has it");
    let (at, len) = (rng.below(PAGES << 16), rng.size());
    let _ = fork.call(&mut child, &call, (at as i32, len as i32, 0));
}

/// Calls the tenant until it is told to stop: how often, and what the slowest call took.
fn behave(memory: &Memory, engine: &Engine, template: &Template<()>, stop: &AtomicBool) -> (u32, Duration) {
    let mut store = Store::new(engine, ());
    let tenant = template.instantiate(&mut store).expect("the tenant came first");
    let work: TypedFunc<i32, i64> = tenant
        .instance()
        .get_typed_func(&mut store, "work")
        .expect("the module has it");
    let (mut right, mut slowest, mut round) = (Right::default(), Duration::ZERO, 1);
    // Relaxed: nothing else is told by it.
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let got = tenant.call(&mut store, &work, round as i32);
        slowest = slowest.max(begin.elapsed());
        let got =
            got.unwrap_or_else(|error| panic!("round {round} of the tenant: {error}; {:?}", memory.stats()));
        assert_eq!(got as u64, right.work(round), "round {round} of the tenant");
        round += 1;
    }
    (round, slowest)
}

#[test]
fn guests_do_no_harm() {
    let guests = number("MEMFOLD_GUESTS", 150);
    let seed = number("MEMFOLD_SEED", 1);
    let memory = Memory::builder()
        .budget_bytes(BUDGET)
        .build()
        .expect("userfaultfd works here");
    let mut config = Config::new();
    configure(&mut config, &memory);
    let engine = Engine::new(&config).expect("the configuration is valid");
    let (harmful, tenant) = (
        template(&memory, &engine, HARM),
        template(&memory, &engine, TENANT),
    );
    let stop = AtomicBool::new(false);
    let (mut failed, mut most) = (0, 0);
    let begin = Instant::now();
    let (rounds, slowest) = std::thread::scope(|scope| {
        let behaving = scope.spawn(|| behave(&memory, &engine, &tenant, &stop));
        for n in 0..guests {
            let mut rng = Rng((seed << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let (errors, held) = harm(&engine, &harmful, &mut rng);
            (failed, most) = (failed + errors, most.max(held));
            if behaving.is_finished() {
                break;
            }
        }
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
        behaving.join().expect("the tenant has its bytes")
    });
    println!(
        "{guests} guests in {:.1?}: {failed} calls failed; at most {most} bytes held of {BUDGET}; \
         {rounds} rounds of the tenant, the slowest in {slowest:.1?}",
        begin.elapsed()
    );
    assert!(failed > guests / 4, "most of them should want more than there is");
    assert!(
        most <= BUDGET + MIB,
        "{most} bytes are held in a budget of {BUDGET}"
    );
    assert!(memory.stats().usage.peak <= BUDGET);
    if std::env::var_os("MEMFOLD_GUESTS").is_some() {
        assert!(slowest <= SLOWEST, "a call of the tenant took {slowest:?}");
    }
}
