#!/usr/bin/env bash
# `cargo xtask components [NAME...]`: components as toolchains of three languages make them, of `programs/components/`, into
# `target/programs/{rust,python,javascript}.wasm`.
#
# The toolchains come from their registries, pinned by version and checksum. What cannot be fetched is SKIPPED, with the
# reason, and then there is no such component; what was fetched and does not build is an error. A component is built again
# when what it is made of has changed, this file included.
. "$(dirname "$0")/lib.sh"
from=programs/components out=target/programs work=target/programs/components

# What each toolchain needs. The commands are joined: where a failure is looked at, bash goes on after one.
fetch_rust() {
    { [ -d "$(rustc --print target-libdir --target wasm32-wasip2)" ] || rustup target add wasm32-wasip2; } &&
        cargo fetch --locked --manifest-path $from/rust/Cargo.toml
}
fetch_python() {
    python3 -m venv "$work/python/venv" &&
        "$work/python/venv/bin/pip" install --require-hashes --requirement $from/python/requirements.txt
}
fetch_javascript() {
    cp $from/javascript/package*.json "$work/javascript" &&
        npm --prefix "$work/javascript" ci --no-audit --no-fund --ignore-scripts
}

# Each is complete when it is moved.
build_rust() {
    cargo build --release --locked --offline --target wasm32-wasip2 --manifest-path $from/rust/Cargo.toml \
        --target-dir "$work/rust" && cp "$work/rust/wasm32-wasip2/release/memfold_component.wasm" "$1"
}
build_python() {
    # Where its source stands, Python writes beside it.
    cp $from/python/app.py "$work/python" &&
        "$work/python/venv/bin/componentize-py" --wit-path $from/world.wit --world program \
            componentize --python-path "$work/python" app --output "$1"
}
build_javascript() {
    cp $from/javascript/build.mjs "$work/javascript" &&
        node "$work/javascript/build.mjs" $from/javascript/app.js $from/world.wit "$1"
}

[ $# -gt 0 ] || set -- rust python javascript
for name in "$@"; do
    [ -d "$from/$name" ] || fail "there is no component $name (rust, python, javascript)"
    wasm=$out/$name.wasm log=$work/$name.log
    mkdir -p "$work/$name"
    sum=$(find $from/world.wit xtask/sh/components.sh "$from/$name" -type f -exec sha256sum {} + | sort | sha256sum)
    if [ -e "$wasm" ] && [ "$(cat "$work/$name.sum" 2>/dev/null)" = "$sum" ]; then
        continue
    fi
    rm -f "$wasm"
    echo "$name: fetching and building"
    if ! "fetch_$name" >"$log" 2>&1; then
        echo "$name: SKIPPED, its toolchain cannot be had: $(grep . "$log" | tail -n 1) (all of it: $log)"
        continue
    fi
    "build_$name" "$work/$name.partial" >"$log" 2>&1 || { cat "$log" >&2 && fail "$name does not build"; }
    mv "$work/$name.partial" "$wasm"
    echo "$sum" >"$work/$name.sum"
    echo "$name: built, $(wc -c <"$wasm") bytes"
done
