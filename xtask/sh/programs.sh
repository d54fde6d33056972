#!/usr/bin/env bash
# `cargo xtask programs [NAME...]`: the test programs, C compiled for WebAssembly into `target/programs/*.wasm`.
#
# What each is made of, and when it is built again, stands in `programs/Makefile`. Here is what that needs: clang 19
# with the C library for WASI, and make; what is missing is installed.
. "$(dirname "$0")/lib.sh"
complete() {
    test -e "$(clang-19 --target=wasm32-wasi --print-libgcc-file-name)" &&
        test -e "$(clang-19 --target=wasm32-wasi --print-file-name=libc.a)" &&
        wasm-ld-19 --version && make --version
}
complete >/dev/null 2>&1 || bash xtask/sh/install.sh clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 make ||
    fail "the programs need Debian 12's packages, or their like"
run make --no-print-directory --file=programs/Makefile --jobs "$(nproc)" "$@"
