//! Published modules, of packages that `cargo xtask published` fetches: emscripten's and
//! wasm-bindgen's output, side modules, and what was written by hand.

use crate::draw::Draw;
use crate::modules::Sides;
use crate::{Tally, number};
use std::path::Path;

/// Where they are put.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/programs/published");

/// Without the packages there is nothing to compare, which is said.
#[test]
fn published_modules_run_as_on_stock_wasmtime() {
    let Ok(files) = std::fs::read_dir(FOLDER) else {
        eprintln!("SKIPPED: no packages are there (`cargo xtask published` fetches them)");
        return;
    };
    let mut files: Vec<_> = files
        .map(|file| file.expect("the folder can be read").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "wasm"));
    files.sort();
    let sides = Sides::new(1 << 30);
    let mut tally = Tally::default();
    for path in &files {
        eprintln!("{}", name(path));
        let wasm = std::fs::read(path).expect("the file can be read");
        let mut draw = Draw::new(number("MEMFOLD_SEED").unwrap_or(1));
        tally.note(sides.compare(&wasm, &mut draw));
    }
    eprintln!("{} modules: {tally:?}", files.len());
    assert_eq!(tally.refused, 0, "{tally:?}");
    assert!(tally.equal > 0, "{tally:?}");
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
