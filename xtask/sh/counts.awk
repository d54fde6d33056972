# What a part of a campaign printed, counted: a line `NAME SUM` for each sum, `skipped` where something was, and
# `failure LINE` for the first ten lines about one.
#
# Lines of ours (`campaign: name=number`), of the race models, the test harness, shuttle, and the tools. Whatever else
# stands there is not looked at.

# The number behind the mark that was just found, or 1 where none follows.
function add(name,   rest) {
    rest = substr($0, RSTART + RLENGTH)
    sums[name] += (rest ~ /^[0-9]/) ? rest + 0 : 1
}
match($0, /campaign: /) {
    n = split(substr($0, RSTART + RLENGTH), pairs, " ")
    for (i = 1; i <= n; i++) if (split(pairs[i], pair, "=") == 2) sums[pair[1]] += pair[2]
}
match($0, /: caught/) { add("caught") }
match($0, /not explored to the end/) { add("models_cut") }
match($0, /^(caught|TIMEOUT) /) { add("mutants_caught") }
match($0, /^MISSED /) { add("mutants_survived") }
match($0, /test result: ok\. /) { add("tests_passed") }
match($0, /stat::number_of_executed_units: /) { add("fuzz_inputs") }
match($0, /caught at execution /) { add("executions") }
match($0, /[0-9]+ executions/) { sums["executions"] += substr($0, RSTART) + 0 }
/SKIPPED/ { skipped = 1 }
/campaign failure: |failing schedule persisted to file: |\.\.\. FAILED|Sanitizer: / && failures++ < 10 { print "failure " $0 }
END {
    if (skipped) print "skipped"
    for (name in sums) if (sums[name] > 0) printf "%s %.0f\n", name, sums[name] | "sort"
}
