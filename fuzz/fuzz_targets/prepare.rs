//! The fuzzer's door to `memfold_prepare::promises::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memfold_prepare::promises::check(data));
