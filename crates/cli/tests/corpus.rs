//! Goal: sizes that fuzzing found stay found. Method: its corpus through the fuzz target's own
//! function, without cargo-fuzz.

#[path = "../../../fuzz/src/targets/size.rs"]
mod size;

#[test]
fn the_corpus_is_read_and_shown() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/size");
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let mut texts = 0;
    for file in files {
        size::run(&std::fs::read(file.expect("a file").path()).expect("it can be read"));
        texts += 1;
    }
    assert!(texts >= 10, "a corpus of {texts} is none");
}
