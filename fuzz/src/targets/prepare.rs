//! Any bytes as a module: none panics, and what is accepted is a module that keeps its promises.

use memfold_wasmtime::{Given, Prepared, prepare, prepare_with};
use wasmparser::{Validator, WasmFeatures};

/// One module.
pub fn run(wasm: &[u8]) {
    match prepare(wasm) {
        Ok(prepared) => check(wasm, &prepared),
        Err(refused) => assert!(!refused.reasons.is_empty(), "refused without a reason"),
    }
    // Imported globals that are its own.
    if let Ok(prepared) = prepare_with(wasm, &Given::new().zeros()) {
        check(wasm, &prepared);
    }
}

fn check(wasm: &[u8], prepared: &Prepared) {
    let validate = |wasm: &[u8]| Validator::new_with_features(WasmFeatures::all()).validate_all(wasm);
    assert!(validate(wasm).is_ok(), "an invalid module was prepared");
    let valid = validate(prepared.wasm());
    assert!(valid.is_ok(), "what was prepared is not valid: {:?}", valid.err());
    let memory = prepared.memory();
    assert!(
        memory
            .maximum_pages
            .is_none_or(|most| most >= memory.minimum_pages)
    );
    for segment in prepared.segments() {
        let end = u128::from(segment.offset) + segment.bytes.len() as u128;
        assert!(
            end <= u128::from(memory.minimum_pages) << 16,
            "a segment is outside of the memory"
        );
    }
    // What is left has nothing that a start would do, and the same state.
    let again = prepare(prepared.wasm()).expect("what was prepared can be prepared");
    assert!(
        again.segments().iter().all(|segment| segment.bytes.is_empty()) && again.start().is_none(),
        "a start was left"
    );
    assert_eq!(again.globals().len(), prepared.globals().len());
}
