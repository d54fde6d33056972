#!/usr/bin/env bash
# `cargo xtask bench WORDS...`: benchmarks, beside rivals in the same run.
. "$(dirname "$0")/lib.sh"
run cargo bench -p memfold-benches "$@"
