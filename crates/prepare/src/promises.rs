//! Any bytes as a module or as a component: what fuzzing calls, and the test that replays its
//! corpus.
//!
//! Only in tests and with the feature `promises`. None panics, and what is accepted is a module
//! or a component that keeps its promises.

use crate::{Given, MOST_BYTES, MemoryPlan, Prepared, prepare, prepare_with};
#[cfg(feature = "component")]
use crate::{PreparedComponent, prepare_component};
use wasmparser::{Validator, WasmFeatures};

/// Prepares the bytes, with and without values for what they import.
///
/// # Panics
/// When what was accepted is not valid before or after, a segment would be out of bounds, or
/// something is left that a start would do; when there is no reason to what was refused.
pub fn check(wasm: &[u8]) {
    match prepare(wasm) {
        Ok(prepared) => kept(wasm, &prepared),
        Err(refused) => assert!(!refused.reasons.is_empty(), "refused without a reason"),
    }
    // Imported globals that are its own.
    if let Ok(prepared) = prepare_with(wasm, &Given::new().zeros()) {
        kept(wasm, &prepared);
    }
}

/// Prepares the bytes as a component.
///
/// # Panics
/// As [`check`].
#[cfg(feature = "component")]
pub fn check_component(wasm: &[u8]) {
    match prepare_component(wasm) {
        Ok(prepared) => kept_component(wasm, &prepared),
        Err(refused) => assert!(!refused.reasons.is_empty(), "refused without a reason"),
    }
}

#[cfg(feature = "component")]
fn kept_component(wasm: &[u8], prepared: &PreparedComponent) {
    valid(wasm, prepared.wasm());
    possible(prepared.memories());
    assert!(
        prepared.drops().end == prepared.cells().len() && !wasm_has(wasm, prepared.accessor()),
        "{prepared:?}"
    );
    assert!(wasm_has(prepared.wasm(), prepared.accessor()), "{prepared:?}");
}

/// Whether a name stands somewhere in it.
#[cfg(feature = "component")]
fn wasm_has(wasm: &[u8], name: &str) -> bool {
    wasm.windows(name.len()).any(|bytes| bytes == name.as_bytes())
}

fn valid(wasm: &[u8], prepared: &[u8]) {
    let validate = |wasm: &[u8]| Validator::new_with_features(WasmFeatures::all()).validate_all(wasm);
    assert!(validate(wasm).is_ok(), "what is invalid was prepared");
    let valid = validate(prepared);
    assert!(valid.is_ok(), "what was prepared is not valid: {:?}", valid.err());
}

fn possible(memories: &[MemoryPlan]) {
    assert!(!memories.is_empty(), "there is nothing to fork");
    for memory in memories {
        let most = memory.maximum_pages.unwrap_or(u64::MAX);
        assert!(
            most >= memory.minimum_pages && memory.minimum_bytes() <= MOST_BYTES,
            "{memory:?}"
        );
    }
}

fn kept(wasm: &[u8], prepared: &Prepared) {
    valid(wasm, prepared.wasm());
    let memories = prepared.memories();
    possible(memories);
    for segment in prepared.segments() {
        let memory = memories.iter().find(|memory| memory.index == segment.memory);
        let memory = memory.expect("a segment is of a memory");
        assert!(
            segment.offset.saturating_add(segment.bytes.len() as u64) <= memory.minimum_bytes(),
            "a segment is outside of the memory"
        );
    }
    // What is left has nothing that a start would do, and all of the state; the flags of what it
    // drops and changes are globals of its own then, and have flags again.
    let again = prepare(prepared.wasm()).expect("what was prepared can be prepared");
    assert!(
        again.segments().iter().all(|segment| segment.bytes.is_empty()) && again.start().is_none(),
        "a start was left"
    );
    assert!(again.globals().len() >= prepared.globals().len());
}

#[cfg(test)]
mod tests {
    /// Goal: modules that fuzzing found stay found. Method: its corpus, without the fuzzer.
    #[test]
    fn the_corpus_is_prepared_or_refused() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/prepare");
        let files = std::fs::read_dir(folder).expect("the corpus is there");
        let (mut modules, mut prepared) = (0, 0);
        for file in files {
            let path = file.expect("a file").path();
            eprintln!("replays {}", path.display());
            let wasm = std::fs::read(path).expect("it can be read");
            super::check(&wasm);
            modules += 1;
            prepared += usize::from(crate::prepare(&wasm).is_ok());
        }
        // Some of each: a corpus that is refused as a whole tests nothing of what is written.
        assert!(
            prepared >= 5 && modules >= prepared + 5,
            "{prepared} of {modules} were prepared"
        );
    }
}
