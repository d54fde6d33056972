//! `memfold-explain`: see `memfold explain --help`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    memfold_explain::command::main()
}
