#!/usr/bin/env bash
# `cargo xtask hostile [--guests N] [--seed N]`: the promises under hostile machines, full budgets and hostile guests,
# at their full length.
#
# The same tests stand in the gate with fewer guests and resets, and with files that are used for seconds, not minutes. Here they
# are built as users build, one test runs at a time (some change a setting of the machine, and all are judged by what the
# kernel counts), and the well-behaved tenant's slowest call has a limit.
. "$(dirname "$0")/lib.sh"
guests=10000 seed=1 options="guests seed"
parse "$@"
bash xtask/sh/programs.sh
export MEMFOLD_GUESTS=$guests MEMFOLD_SEED=$seed MEMFOLD_SECONDS=600 MEMFOLD_KILLS=200 MEMFOLD_RESETS=10000000
for suite in "-p memfold --test hostile --test full --test page_tables --test durable --test reset" "-p memfold-wasmtime --test hostile"; do
    # shellcheck disable=SC2086
    run cargo test --release $suite -- --test-threads=1 --nocapture || fail "a promise does not hold"
done
