//! What the fuzz targets and the example share: modules out of any bytes.
//!
//! What is fuzzed are functions of bytes that panic when something is wrong. They stand in the
//! packages that they are about; `fuzz_targets/` hands them to libFuzzer, and tests beside them
//! replay the corpus (`fuzz/corpus/`), so that a find stays found without cargo-fuzz.
#![forbid(unsafe_code)]

pub mod smith;
