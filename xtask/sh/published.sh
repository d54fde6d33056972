#!/usr/bin/env bash
# `cargo xtask published`: published modules, run on memfold as on stock Wasmtime.
#
# Fetches a dozen small packages from npm, by name, version and checksum (`programs/published/`), takes the modules out of
# them, each once, and has the test `differential` compare them: called, forked, frozen, evicted before each call. Where the
# registry cannot be reached, all of it is SKIPPED, with the reason.
. "$(dirname "$0")/lib.sh"
out=target/programs/published work=target/programs/published/packages
mkdir -p "$work"
cp programs/published/package*.json "$work"
if ! npm --prefix "$work" ci --ignore-scripts --no-audit --no-fund >"$out/npm.log" 2>&1; then
    echo "SKIPPED: the packages cannot be had: $(grep . "$out/npm.log" | head -n 1) (all of it: $out/npm.log)"
    exit 0
fi
rm -f "$out"/*.wasm
# What is larger takes long to compile.
find "$work/node_modules" -name '*.wasm' -size -2800k -exec sha256sum {} + | sort | awk '!seen[$1]++ { print $2 }' |
    while read -r file; do
        name=${file#"$work/node_modules/"}
        cp "$file" "$out/${name//\//:}"
    done
echo "$(find "$out" -maxdepth 1 -name "*.wasm" | wc -l) modules"
run cargo test -p memfold-wasmtime --features component --test differential published -- --nocapture "$@"
