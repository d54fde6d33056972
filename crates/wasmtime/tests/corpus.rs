//! Goal: modules that fuzzing found stay found. Method: its corpus through the fuzz target's own
//! function, without cargo-fuzz.

#[path = "../../../fuzz/src/targets/prepare.rs"]
mod prepare;

#[test]
fn the_corpus_is_prepared_or_refused() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/prepare");
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let (mut modules, mut prepared) = (0, 0);
    for file in files {
        let path = file.expect("a file").path();
        eprintln!("replays {}", path.display());
        let wasm = std::fs::read(path).expect("it can be read");
        prepare::run(&wasm);
        modules += 1;
        prepared += usize::from(memfold_wasmtime::prepare(&wasm).is_ok());
    }
    // Some of each: a corpus that is refused as a whole tests nothing of what is written.
    assert!(
        prepared >= 5 && modules >= prepared + 5,
        "{prepared} of {modules} were prepared"
    );
}
