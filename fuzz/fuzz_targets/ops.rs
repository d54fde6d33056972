//! The fuzzer's door to `memfold_verify::bytes::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memfold_verify::bytes::check(data));
