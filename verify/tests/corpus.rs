//! Goal: histories that fuzzing found stay found. Method: its corpus, without the fuzzer.
#![cfg(not(shuttle))]

#[test]
fn the_corpus_agrees_with_the_oracle() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/ops");
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let mut histories = 0;
    for file in files {
        let path = file.expect("a file").path();
        eprintln!("replays {}", path.display());
        memfold_verify::bytes::check(&std::fs::read(path).expect("it can be read"));
        histories += 1;
    }
    assert!(histories >= 10, "a corpus of {histories} is none");
}
