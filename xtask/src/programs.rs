//! `cargo xtask programs`: the test programs, C compiled for WebAssembly into
//! `target/programs/*.wasm`.
//!
//! What each is made of, and when it is built again, stands in `programs/Makefile`. Here is what
//! that needs: clang 19 with the C library for WASI, and make; what is missing is installed with
//! `apt-get`.

use crate::shell;
use anyhow::{Context, Result};

/// Debian's packages for all that a build needs.
const PACKAGES: [&str; 5] = [
    "clang-19",
    "lld-19",
    "wasi-libc",
    "libclang-rt-19-dev-wasm32",
    "make",
];

/// Whether a program for WASI can be compiled and linked.
const IS_COMPLETE: &str = r#"
    test -e "$(clang-19 --target=wasm32-wasi --print-libgcc-file-name)" &&
    test -e "$(clang-19 --target=wasm32-wasi --print-file-name=libc.a)" &&
    wasm-ld-19 --version && make --version"#;

/// Installs packages, with `sudo` where we are not root.
const INSTALL: &str = r#"
    if [ "$(id -u)" -ne 0 ]; then sudo="sudo --non-interactive"; fi
    $sudo apt-get --quiet update
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get --quiet install --yes --no-install-recommends "$@""#;

/// Builds the programs of these names (all, when there are none) that are not up to date.
pub(crate) fn build(names: &[String]) -> Result<()> {
    let mut complete = shell::command("sh -c");
    complete.arg(IS_COMPLETE);
    if !shell::succeeds(complete) {
        install(&PACKAGES).context("the programs need Debian 12's packages, or their like")?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let words = "make --no-print-directory --file=programs/Makefile --jobs";
    let mut make = shell::command(&format!("{words} {cores}"));
    make.args(names);
    shell::run(make)
}

/// Installs packages of Debian.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    let mut sh = shell::command("sh -e -c");
    sh.args([INSTALL, "install"]).args(packages);
    shell::run(sh).with_context(|| format!("cannot install {}", packages.join(" ")))
}
