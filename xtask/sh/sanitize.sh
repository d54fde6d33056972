#!/usr/bin/env bash
# `cargo xtask sanitize [thread] [address] [miri]`: the Linux host and the public library under ThreadSanitizer and
# AddressSanitizer, and the manager under Miri; all three when none is named.
#
# The standard library is built with the sanitizer as well (`-Zbuild-std`): without that its own locks are reported.
# What the options below turn off is said beside them, the one suppression as well. Each has a target directory of its
# own. What is not installed is fetched by rustup, or skipped aloud.
. "$(dirname "$0")/lib.sh"

# Test programs that stay out: they do to their process what a sanitizer does, too, or forbids (forks, signals' masks
# and stacks, filters, allocations refused), or hold it to what the kernel counts.
not_here='hostile|short_of_memory|page_tables'

# The other test programs of the host and the library.
programs() {
    git ls-files --cached --others --exclude-standard crates/linux/tests crates/memfold/tests |
        sed -nE 's,^crates/[a-z]+/tests/([^/]+)(\.rs|/main\.rs)$,--test \1,p' | grep -vwE "$not_here"
}

# The tests of what runs on real threads and real memory, with a sanitizer in everything. Documentation tests are not
# built with the standard library that was built here. Everything takes ten times as long, and some have a time to end
# in. One test counts the mappings of the process, and a sanitizer makes some of its own.
instrumented() {
    # shellcheck disable=SC2046
    run env RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$1" CARGO_TARGET_DIR="target-$2" "$3" \
        MEMFOLD_PATIENCE=10 MEMFOLD_SECONDS="${MEMFOLD_SECONDS:-4}" \
        cargo test -Zbuild-std --target x86_64-unknown-linux-gnu --no-fail-fast --lib \
        -p memfold-mm -p memfold-linux -p memfold $(programs) -- --skip windows_come_and_go
}

# The manager orders stores to a window's page and its own reads of it by the page's protection, which only the kernel
# knows of: where it compares protected pages it reads them as atomics then (`span.rs`). A fault's handler allocates
# where an array of the manager grows. The signal is that of a load or store to a window, so the interrupted code is not
# inside the allocator: the warning is about signals that come from outside. Tests that look at how a process dies of
# a signal need the signal, which the sanitizer would take. The thread that answers faults has a table of descriptors of
# its own: a number that it closes is not the number that others write to, but the sanitizer knows one table only.
thread() {
    local known
    known=$(realpath "$target")/tsan.suppressions
    echo 'race:memfold_linux::source::FileSource>::call' >"$known"
    instrumented "thread --cfg memfold_tsan" tsan \
        "TSAN_OPTIONS=report_signal_unsafe=0:handle_segv=0:handle_sigbus=0:suppressions=$known"
}

# The sanitizer's own alternate stacks are small, and handlers here run on the thread's own stack. The signals as above.
address() {
    instrumented address asan ASAN_OPTIONS=use_sigaltstack=0:handle_segv=0:handle_sigbus=0
}

# Weak memory is drawn at random: a few seeds. Rustup chooses by the first word.
miri() {
    run env -u RUSTUP_TOOLCHAIN -u CARGO -u RUSTC CARGO_TARGET_DIR=target-miri \
        MIRIFLAGS="${MIRIFLAGS:--Zmiri-many-seeds=0..4 -Zmiri-strict-provenance}" \
        cargo +nightly miri test --lib -p memfold-sync -p memfold-mm -p memfold-sim
}

failed=()
[ $# -gt 0 ] || set -- thread address miri
for one in "$@"; do
    case $one in
    thread | address) needs="rustup component add rust-src" ;;
    miri) needs="rustup +nightly component add miri rust-src" ;;
    *) fail "no sanitizer \`$one\`: thread, address, miri" ;;
    esac
    if ! $needs >/dev/null 2>&1; then
        echo "$one: SKIPPED ($needs)"
    elif "$one"; then
        echo "$one: nothing was reported"
    else
        failed+=("$one")
    fi
done
[ ${#failed[@]} -eq 0 ] || fail "reported by: ${failed[*]}"
