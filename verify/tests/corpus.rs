//! Goal: histories that fuzzing found stay found. Method: its corpus through the fuzz target's own
//! function, without cargo-fuzz.
#![cfg(not(shuttle))]

#[path = "../../fuzz/src/targets/ops.rs"]
mod ops;

#[test]
fn the_corpus_agrees_with_the_oracle() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/ops");
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let mut histories = 0;
    for file in files {
        let path = file.expect("a file").path();
        eprintln!("replays {}", path.display());
        ops::run(&std::fs::read(path).expect("it can be read"));
        histories += 1;
    }
    assert!(histories >= 10, "a corpus of {histories} is none");
}
