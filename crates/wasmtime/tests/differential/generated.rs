//! Modules out of random bytes, by wasm-smith.

use crate::draw::Draw;
use crate::modules::Sides;
use crate::{Tally, seeds};
use wasm_smith::{Config, Module};

/// A module; what it may use is drawn, too.
pub fn module(draw: &mut Draw, max_imports: usize) -> Option<Vec<u8>> {
    let kind = draw.number();
    let on = |bit: u8| kind & 1 << bit != 0;
    let config = Config {
        min_memories: 1,
        max_memories: if on(0) { 2 } else { 1 },
        max_tables: if on(1) { 3 } else { 1 },
        memory64_enabled: on(2) && on(3),
        simd_enabled: on(4),
        bulk_memory_enabled: on(5),
        reference_types_enabled: on(6),
        exceptions_enabled: on(7) && on(8),
        gc_enabled: on(9) && on(10) && on(6),
        disallow_traps: on(12),
        custom_page_sizes_enabled: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_table_elements: 50,
        min_funcs: 3,
        max_funcs: 12,
        max_globals: 12,
        max_imports,
        export_everything: true,
        ..Config::default()
    };
    let bytes = draw.bytes(if on(11) { 600 } else { 3000 });
    let module = Module::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?;
    Some(module.to_bytes())
}

#[test]
fn modules_run_as_the_originals_do() {
    let sides = Sides::new(1 << 21);
    let mut tally = Tally::default();
    for seed in seeds(60) {
        eprintln!("module {seed}");
        let mut draw = Draw::new(seed);
        if let Some(wasm) = module(&mut draw, 4) {
            tally.note(sides.compare(&wasm, &mut draw));
        }
    }
    eprintln!("{tally:?}");
    // A comparison of nothing would always pass.
    assert!(tally.equal >= 10 && tally.calls >= 50, "{tally:?}");
}
