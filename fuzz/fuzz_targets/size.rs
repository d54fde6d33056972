//! The fuzzer's door to `memfold_size::round::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memfold_size::round::check(data));
