//! The fuzzer's door to `memfold_record::bytes::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| memfold_record::bytes::check(data));
