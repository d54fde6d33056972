//! Writes the modules that a corpus of the target `modules` means into a corpus of `prepare`, which
//! the gate replays.
//!
//! `cargo run --example write_modules -- target/corpus/modules corpus/prepare`, in `fuzz/`; then
//! `cargo fuzz cmin prepare`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let mut folders = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(from), Some(to)) = (folders.next(), folders.next()) else {
        return Err(std::io::Error::other("two folders are needed: from, to"));
    };
    for file in std::fs::read_dir(from)? {
        let file = file?;
        if let Some(wasm) = memfold_fuzz::smith::module(&std::fs::read(file.path())?) {
            std::fs::write(to.join(file.file_name()), wasm)?;
        }
    }
    Ok(())
}
