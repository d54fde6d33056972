//! The fuzzer's door to `memfold_prepare::promises::check_component`, by way of components that are
//! valid, and by itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    memfold_prepare::promises::check_component(data);
    if let Some(wasm) = memfold_fuzz::smith::component(data) {
        memfold_prepare::promises::check_component(&wasm);
    }
});
