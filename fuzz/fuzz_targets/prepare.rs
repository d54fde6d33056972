//! The fuzzer's door to `memfold_fuzz::targets::prepare`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memfold_fuzz::targets::prepare::run(data));
