#!/usr/bin/env bash
# What the steps `build` and `models`, and those after them, have cargo call in place of rustc for our own packages
# (`RUSTC_WORKSPACE_WRAPPER`): it compiles, and then clippy and rustdoc look at the same, where a warning is an error.
#
# `cargo clippy` and `cargo doc` by themselves have every library checked once more, since what they leave is of no use
# for a build. This way they read the libraries that the tests need anyway.
set -euo pipefail

# Questions about the compiler, and programs that run while building.
[[ "$*" == *" --emit="* && "$*" != *" --crate-name build_script_"* ]] || exec "$@"
# These tests take seconds to run, and two minutes less to compile if they are not optimised. (In race models they are
# what takes time.)
quick=()
case "$*" in
*" loom "*) ;;
*" --test "*)
    case "${CARGO_PKG_NAME-} ${CARGO_CRATE_NAME-}" in
    *" memfold_mm" | *" memfold_page" | *" memfold_prepare" | *" memfold_sim") quick=(-C opt-level=0) ;;
    "memfold-verify "memfold_verify | "memfold-verify "merging | "memfold-verify "protection) quick=(-C opt-level=0) ;;
    esac
    ;;
esac
# What clippy says as well need not be said twice.
"$@" "${quick[@]}" --cap-lints=allow

# The same words, without those that say what is written where and what cargo waits for.
words=() file='' out=''
shift
while [ $# -gt 0 ]; do
    case $1 in
    --crate-name) file=$2$file ;;
    extra-filename=*) file=$file${1#*=} ;;
    --out-dir) out=$2 ;;
    --test) for_tests=1 ;;
    esac
    case $1 in
    --emit=* | --test) ;;
    --out-dir) shift ;;
    incremental=*) words+=(debuginfo=0) ;;
    --json=*) words+=("${1/,artifacts/}") ;;
    *) words+=("$1") ;;
    esac
    shift
done
scratch=$(mktemp --directory)
trap 'rm -r "$scratch"' EXIT

# Clippy's list of what all this depends on stays, for `clippy.toml` is on it.
clippy-driver rustc "${words[@]}" ${for_tests+--test} --out-dir "$scratch" \
    --emit="metadata,dep-info=$out/$file.d" --deny=warnings

# As `cargo doc` has it: libraries as they are used, programs with all that they have; neither of a race model.
case "${for_tests-} ${CARGO_BIN_NAME-} ${words[*]}" in
*" loom "* | *examples/*) ;;
"  "*"--crate-type lib"*) rustdoc "${words[@]}" --out-dir "$scratch" --deny=warnings ;;
"1 "[^\ ]*) rustdoc "${words[@]}" --out-dir "$scratch" --deny=warnings --document-private-items ;;
esac
