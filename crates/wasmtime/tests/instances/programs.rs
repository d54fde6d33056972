//! Goal: real programs behave in a fork as an unmodified module does on stock
//! Wasmtime. Method: the same calls on both, and equal answers; with the
//! memory swapped out before each call, with forks of forks, and from a
//! snapshot.

use crate::common::{Stock, Wasi, engine, memory, program, run, store, template, warm};
use memfold_wasmtime::ForkInstance;
use wasmtime::{Engine, Store};

const CALLS: i32 = 20;

/// An instance that has run its warm-up, in its store; and the same program on stock Wasmtime.
fn warmed(name: &str) -> (Stock, Engine, Store<Wasi>, ForkInstance<Wasi>) {
    let wasm = program(name);
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, &wasm);
    let mut store = store(&engine);
    let parent = template.instantiate(&mut store).unwrap();
    warm(&mut store, parent.instance());
    (Stock::new(&wasm), engine, store, parent)
}

/// Forks, their parent and a snapshot all answer as if each had been warmed by itself.
fn forks_equal_stock(name: &str) {
    let (stock, engine, mut parent_store, parent) = warmed(name);
    let snapshot = parent.freeze(&mut parent_store).unwrap();

    // Interleaved, so that a page shared by mistake would show.
    let mut clones: Vec<_> = (0..4)
        .map(|number| {
            let mut store = store(&engine);
            let clone = match number % 2 {
                0 => parent.fork(&mut parent_store, &mut store).unwrap(),
                _ => snapshot.instantiate(&mut store).unwrap(),
            };
            (store, clone, stock.answers(number, CALLS))
        })
        .collect();
    for call in 0..CALLS {
        for (number, (store, clone, right)) in (0..).zip(&mut clones) {
            assert_eq!(
                run(store, clone, number, call),
                right[call as usize],
                "{name}: clone {number}, call {call}"
            );
        }
    }

    let right = stock.answers(99, CALLS);
    for call in 0..CALLS {
        assert_eq!(
            run(&mut parent_store, &parent, 99, call),
            right[call as usize],
            "{name}: parent, call {call}"
        );
    }
}

/// A fork of a fork goes on from where its parent is, at any depth.
fn forks_of_forks_equal_stock(name: &str) {
    let (stock, engine, mut last_store, mut last) = warmed(name);
    for (call, right) in (0..).zip(stock.answers(5, 10)) {
        let mut next_store = store(&engine);
        let next = last.fork(&mut last_store, &mut next_store).unwrap();
        // What the parent does after the fork is not seen by the child.
        run(&mut last_store, &last, 1000, call);
        assert_eq!(
            run(&mut next_store, &next, 5, call),
            right,
            "{name}: depth {call}"
        );
        (last, last_store) = (next, next_store);
    }
}

/// Everything swapped out before each call, and nothing is different.
fn swapped_out_equals_stock(name: &str) {
    let (stock, engine, mut parent_store, parent) = warmed(name);
    let mut store = store(&engine);
    let clone = parent.fork(&mut parent_store, &mut store).unwrap();
    let mut evicted = 0;
    for (call, right) in (0..).zip(stock.answers(3, CALLS)) {
        evicted += clone.space().evict().unwrap();
        assert_eq!(run(&mut store, &clone, 3, call), right, "{name}: call {call}");
    }
    assert!(evicted > 0, "nothing was ever swapped out");
}

/// An instance that is reset after each request answers as a fresh one does.
fn resets_equal_stock(name: &str) {
    let (stock, engine, mut warming, parent) = warmed(name);
    let right = stock.answers(3, 4);
    let snapshot = parent.freeze(&mut warming).unwrap();
    let mut store = store(&engine);
    let instance = snapshot.instantiate(&mut store).unwrap();
    for round in 0..10 {
        for (call, right) in (0..).zip(&right) {
            let answer = run(&mut store, &instance, 3, call);
            assert_eq!(answer, *right, "{name}: round {round}, call {call}");
        }
        instance.reset(&mut store, &snapshot).unwrap();
    }
}

macro_rules! programs {
    ($($program:ident)*) => {$(
        mod $program {
            #[test]
            fn forks_equal_stock() {
                super::forks_equal_stock(stringify!($program));
            }

            #[test]
            fn forks_of_forks_equal_stock() {
                super::forks_of_forks_equal_stock(stringify!($program));
            }

            #[test]
            fn swapped_out_equals_stock() {
                super::swapped_out_equals_stock(stringify!($program));
            }

            #[test]
            fn resets_equal_stock() {
                super::resets_equal_stock(stringify!($program));
            }
        }
    )*};
}

programs!(sqlite lua quickjs touch);
