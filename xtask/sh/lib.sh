# What the scripts of `cargo xtask` share; each begins by reading this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}

# Shows a command as one would type it, and runs it.
run() {
    printf '$ %s\n' "$*"
    "$@"
}

fail() {
    echo "error: $*" >&2
    exit 1
}

# Sets the variable of each `--name value` at the beginning, of those that the caller names in `options`; the
# rest is `words`.
parse() {
    while [[ ${1-} == --* ]]; do
        [[ " $options " == *" ${1#--} "* && $# -ge 2 ]] || fail "options: $options; each has a value"
        printf -v "${1#--}" %s "$2"
        shift 2
    done
    words=("$@")
}
