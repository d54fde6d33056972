#!/usr/bin/env bash
# `cargo xtask mutants WORDS...`: does a test fail when the manager's code is wrong in some small way?
#
# cargo-mutants changes the manager, builds, and runs the tests, once for each of some 2,500 small ways
# (`.cargo/mutants.toml`); a whole round is a night's work on two cores, so `--shard 0/50` or `--in-diff FILE` says
# which. What is added here is the record: each survivor stands in `verify/MUTANTS.md` with the reason why nobody
# sees it.
. "$(dirname "$0")/lib.sh"
if ! cargo mutants --version >/dev/null 2>&1; then
    echo "SKIPPED: cargo-mutants is not there (cargo install --locked cargo-mutants)"
    exit 0
fi
status=0
run cargo mutants --package memfold-mm --output "$target" "$@" || status=$?
# Some mutants survived, or tests did not end in time.
case $status in 0 | 2 | 3) ;; *) fail "cargo mutants: exit status $status" ;; esac
# Line and column are left out: other changes move them. A bar inside a table's cell is escaped.
record=$(sed 's/\\|/|/g' verify/MUTANTS.md)
missed=$target/mutants.out/missed.txt
[ -e "$missed" ] || exit 0
unknown=$(while IFS= read -r name; do
    grep -qF -- "$(cut -d: -f4- <<<"$name" | sed 's/^ *//')" <<<"$record" || echo "$name"
done <"$missed")
[ -z "$unknown" ] || fail "survivors without a reason in verify/MUTANTS.md:"$'\n'"$unknown"
