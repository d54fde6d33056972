//! The fuzzer's door to `memfold_fuzz::targets::prepare`, by way of modules that are valid.
#![no_main]

use memfold_fuzz::{smith, targets};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(wasm) = smith::module(data) {
        targets::prepare::run(&wasm);
    }
});
