#!/usr/bin/env bash
# `cargo xtask campaign [--minutes N] [--seed N] [--report FILE] [PART...]`: the long form of every check, for a night
# or a release.
#
# Each part is a command of the table below, with its share of the time (`--minutes`, counted when the parts are
# built); what one leaves goes to those after it. A part that fails leaves its log in `target/campaign/`, and the
# campaign goes on; at the end it fails. A part whose tool is missing is reported as *skipped*, one whose time was up as
# *cut*: neither is ever called passed, and neither is one that counted nothing of what it is for. The numbers of the
# report (Markdown) were printed by those who did the work (`counts.awk`), none is computed from a setting.
. "$(dirname "$0")/lib.sh"

# Name; weight among the others; so many tests follow one another, each for {each} seconds; what it counts. Then
# `NAME=value` for the environment; the build, and words for cargo, or `xtask` and its words. Where {core} stands, one
# is started for each core.
parts='
simulation 15 1 operations plain run --profile checked -p memfold-verify --example simulate -- --from {seed}00000{core} --by {cores} --seconds {each}
shuttle 30 15 schedules MEMFOLD_SECONDS={each} MEMFOLD_FAILURES={folder} shuttle test --profile checked -p memfold-verify --test shuttle --no-fail-fast -- --nocapture --test-threads 2
loom 15 80 executions MEMFOLD_SECONDS={each} MEMFOLD_DEEPER=1 loom test --release --lib -p memfold-sync -p memfold-mm --no-fail-fast -- --test-threads 2
stress 5 5 stores MEMFOLD_SECONDS={each} plain test --profile checked -p memfold --tests --no-fail-fast -- --nocapture --test-threads 1
differential 5 2 tests_passed MEMFOLD_SECONDS={each} plain test --profile checked -p memfold-wasmtime --features component --test differential --no-fail-fast -- --nocapture --test-threads 1
bugs 15 1 caught xtask bugs --seconds {each}
weaken 12 1 caught xtask weaken --seconds {each}
tsan 5 10 tests_passed MEMFOLD_SECONDS={each} xtask sanitize thread
asan 5 10 tests_passed MEMFOLD_SECONDS={each} xtask sanitize address
miri 8 1 tests_passed xtask sanitize miri
fuzz 8 5 fuzz_inputs xtask fuzz --seconds {each}
mutants 8 1 mutants_caught xtask mutants --caught --shard {shard}/50
'
parts=${CAMPAIGN_PARTS:-$parts}
# Commands end by themselves when their time is up, or one try later; after so much more they are ended.
grace=900

minutes=60 seed=$(($(date +%s) / 60)) report="" options="minutes seed report"
parse "$@"
folder=$PWD/$target/campaign
[[ $target != /* ]] || folder=$target/campaign
mkdir -p "$folder"
report=${report:-$folder/report.md}
cores=$(nproc)

# The line of a part; all that stands there is known before anything is built.
line() { awk -v name="$1" '$1 == name' <<<"$parts"; }
[ ${#words[@]} -gt 0 ] || mapfile -t words < <(awk 'NF { print $1 }' <<<"$parts")
for name in "${words[@]}"; do
    [ -n "$(line "$name")" ] || fail "no part \`$name\`; there are:" $(awk 'NF { print $1 }' <<<"$parts")
done

# `spelled` is the command of a part's words, for a core, with so many seconds for each test.
spell() {
    local core=$1 each=$2 text=$3
    text=${text//\{folder\}/$folder} text=${text//\{core\}/$core} text=${text//\{cores\}/$cores}
    text=${text//\{seed\}/$seed} text=${text//\{shard\}/$((seed % 50))} text=${text//\{each\}/$each}
    # shellcheck disable=SC2086
    set -- $text
    spelled=(env "MEMFOLD_SEED=$seed")
    while [[ $1 == *=* ]]; do
        spelled+=("$1")
        shift
    done
    case $1 in
    plain) spelled+=(cargo) ;;
    xtask) spelled+=(cargo xtask) ;;
    loom) spelled+=("LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3}" "RUSTFLAGS=--cfg loom" CARGO_TARGET_DIR=target-loom cargo) ;;
    shuttle) spelled+=("RUSTFLAGS=--cfg shuttle" CARGO_TARGET_DIR=target-shuttle cargo) ;;
    sh) ;;
    *) fail "\`$1\` is no build" ;;
    esac
    spelled+=("${@:2}")
}

# Builds what a part of cargo's runs, before the clock starts.
build() {
    case " $1 " in
    *" xtask "* | *" sh "*) return ;;
    *" run "*) spell 0 1 "${1/ run / build }" ;;
    *) spell 0 1 "$1 --no-run" ;;
    esac
    # What follows `--` is for the tests.
    local word words=()
    for word in "${spelled[@]}"; do [[ $word == -- ]] && break || words+=("$word"); done
    [[ ${spelled[-1]} != --no-run ]] || words+=(--no-run)
    run "${words[@]}" || fail "it does not build"
}

# Runs a part's commands side by side, into one log. The worst end counts: `ended`.
play() {
    local log=$1 time=$2 each=$3 text=$4 core last=0 code pids=()
    [[ $text != *"{core}"* ]] || last=$((cores - 1))
    : >"$log"
    for core in $(seq 0 "$last"); do
        spell "$core" "$each" "$text"
        echo "\$ ${spelled[*]}"
        timeout --kill-after=5 $((time + grace)) "${spelled[@]}" </dev/null >>"$log" 2>&1 &
        pids+=($!)
    done
    ended=passed
    for pid in "${pids[@]}"; do
        code=0
        wait "$pid" || code=$?
        case $code in
        0) ;;
        124 | 137) [ $ended = failed ] || ended=cut ;;
        *) ended=failed ;;
        esac
    done
}

# What is to be said of a part that ended so, counted this, and is for that. A failure that was printed counts, whatever
# the command's end said.
judge() {
    local ended=$1 counts=$2 wanted=$3
    some() { grep -q "^$1 " <<<"$counts"; }
    if some failure || [ "$ended" = failed ]; then
        echo failed
    elif ! some "$wanted"; then
        [ "$ended" = passed ] && grep -qx skipped <<<"$counts" && echo skipped || echo failed
    elif some models_cut || some not_tried; then
        echo cut
    else
        echo "$ended"
    fi
}

for name in "${words[@]}"; do
    read -r _ _ _ _ text < <(line "$name")
    build "$text"
done
begin=$(date +%s) failed=0 weights=0
for name in "${words[@]}"; do
    read -r _ weight _ < <(line "$name")
    weights=$((weights + weight))
done
# The machine is asked.
cat >"$report" <<END
# Campaign

* date: $(date -u '+%Y-%m-%d %H:%M UTC')
* commit: $(git rev-parse --short=12 HEAD)$(git diff --quiet HEAD || echo ', with changes that are not committed')
* machine:$(sed -n 's/^model name.*: / /p' /proc/cpuinfo | head -1), $cores cores,$(sed -n 's/^MemTotal: */ /p' /proc/meminfo), $(uname -sr)
* compiler: $(rustc --version)
* asked for: $minutes minutes, seeds from $seed

| part | verdict | time | counts |
| --- | --- | --- | --- |
END
for name in "${words[@]}"; do
    read -r _ weight tests wanted text < <(line "$name")
    now=$(date +%s)
    left=$((begin + minutes * 60 - now))
    time=$(((left > 0 ? left : 0) * weight / weights))
    weights=$((weights - weight))
    echo "==== $name: up to $((time / 60)) min $((time % 60)) s"
    each=$((time / tests > 0 ? time / tests : 1))
    play "$folder/$name.log" "$time" "$each" "$text"
    counts=$(awk -f xtask/sh/counts.awk "$folder/$name.log")
    verdict=$(judge "$ended" "$counts" "$wanted")
    echo "==== $name: $verdict"
    # Sums with their names; then what failed.
    said=$(sed -nE 's/^failure (.*)/`\1`/p; t; /^[a-z_]+ [0-9]+$/ { s/(.*) (.*)/\2 \1/; s/_/ /g; p }' <<<"$counts" |
        paste -sd '\t' | sed 's/\t/, /g')
    if [ "$verdict" = failed ]; then
        failed=$((failed + 1))
        said="see target/campaign/$name.log: $said"
    fi
    took=$(($(date +%s) - now))
    # After each part: a campaign that is ended from outside has a report, too.
    echo "| $name | $verdict | $((took / 60)) min $((took % 60)) s | $said |" >>"$report"
done
echo
cat "$report"
echo "report: $report"
[ $failed -eq 0 ] || fail "$failed parts failed"
