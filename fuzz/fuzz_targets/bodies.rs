//! The fuzzer's door to `memfold_stores::bodies::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memfold_stores::bodies::check(data));
