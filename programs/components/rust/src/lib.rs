//! The component's program in Rust; `../python/app.py` and `../javascript/app.js` are the same.

use std::cell::RefCell;
use std::collections::HashMap;

wit_bindgen::generate!({ path: "../world.wit" });

const MASK: u64 = (1 << 61) - 1;

#[derive(Default)]
struct State {
    words: HashMap<String, Vec<u64>>,
    rows: Vec<u64>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

struct Program;

impl Guest for Program {
    fn warm() {
        STATE.with_borrow_mut(|state| {
            for number in 0..20_000 {
                let row = vec![number, number * number % 977];
                state.words.insert(format!("word {number}"), row);
            }
            state.rows = (0..5_000).collect();
        });
    }

    fn run(clone: u32, call: u32) -> u64 {
        let (clone, call) = (u64::from(clone), u64::from(call));
        STATE.with_borrow_mut(|State { words, rows }| {
            let word = format!("word {}", (clone * 131 + call * 17) % 20_000);
            let row = words.get_mut(&word).expect("it was put there");
            row.push(clone + call);
            let place = (clone * 7 + call) as usize % rows.len();
            rows[place] += clone;
            let taken = rows.iter().skip(clone as usize % 100).step_by(97);
            let total = taken.fold(0, |total, value| (total * 31 + value) & MASK);
            total + row.iter().sum::<u64>()
        })
    }
}

export!(Program);
