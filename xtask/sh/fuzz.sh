#!/usr/bin/env bash
# `cargo xtask fuzz [--seconds N] [TARGET...]`: the fuzz targets (`fuzz/`), each for so many seconds, on top of their
# corpus.
#
# Needs cargo-fuzz; without it the step is skipped aloud. What the fuzzer finds new goes to `fuzz/target/corpus/`, so
# that the committed corpus grows only by hand; an input that fails is left in `fuzz/artifacts/`. The gate needs none of
# this: tests replay the corpus through the same functions.
. "$(dirname "$0")/lib.sh"
seconds=60 options="seconds"
parse "$@"
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "SKIPPED: cargo-fuzz is not there (cargo install cargo-fuzz)"
    exit 0
fi
known=$(basename --suffix=.rs --multiple fuzz/fuzz_targets/*.rs)
for name in ${words[*]:-$known}; do
    grep -qx -- "$name" <<<"$known" || fail "no target \`$name\`; there are:" $known
    # One's corpus is written into another's: what `modules` means is in that of `prepare`, which the gate can replay.
    corpora=("fuzz/target/corpus/$name")
    mkdir -p "${corpora[0]}"
    [ ! -d "fuzz/corpus/$name" ] || corpora+=("fuzz/corpus/$name")
    # Safe Rust, but for what reads the clock and maps memory: the sanitizers have nothing to find, and cost half the
    # speed. Instrumentation is an unstable option of the compiler.
    run env RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$name" "${corpora[@]}" -- \
        -print_final_stats=1 "-max_total_time=$seconds"
done
