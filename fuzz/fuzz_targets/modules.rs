//! The fuzzer's door to `memfold_prepare::promises::check`, by way of modules that are valid.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(wasm) = memfold_fuzz::smith::module(data) {
        memfold_prepare::promises::check(&wasm);
    }
});
