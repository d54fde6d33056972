//! Valid modules out of any bytes, by wasm-smith: what the target `modules` feeds to `prepare`.

use arbitrary::Unstructured;

/// A module; its first byte says which proposals it may use. `None` when the bytes do not suffice.
#[must_use]
pub fn module(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, bytes) = data.split_first()?;
    let on = |bit: u8| kind & 1 << bit != 0;
    let config = wasm_smith::Config {
        min_memories: 1,
        max_memories: if on(0) { 2 } else { 1 },
        memory64_enabled: on(1),
        simd_enabled: on(2),
        bulk_memory_enabled: on(3),
        reference_types_enabled: on(4),
        exceptions_enabled: on(5),
        gc_enabled: on(6),
        min_funcs: usize::from(on(7)),
        max_imports: 4,
        ..wasm_smith::Config::default()
    };
    let module = wasm_smith::Module::new(config, &mut Unstructured::new(bytes)).ok()?;
    Some(module.to_bytes())
}
