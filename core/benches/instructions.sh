#!/bin/sh
# Prints how many instructions one judgement of each check takes, counted by valgrind: unlike times, the same on every
# machine and under every load. Judges the small world of the replay once.
set -eu
command -v valgrind >/dev/null || apt-get -q -y -o DPkg::Lock::Timeout=600 install valgrind >/dev/null
cd "$(dirname "$0")/../.."
binary=$(${CARGO:-cargo} bench --locked -p evenkeel-core --bench replay --no-run 2>&1 |
    sed -n 's/.*Executable.*(\(.*\)).*/\1/p')
out=$(mktemp)
trap 'rm -f "$out"' EXIT
valgrind --tool=callgrind --callgrind-out-file="$out" "$binary" small >/dev/null 2>&1
# In a call graph a callee is named once as `(number) name`, later by number; `calls=` is followed by a line with the
# position and the inclusive cost.
awk '
    /^c?fn=/ {
        sub(/^c?fn=/, ""); id = $1; sub(/^\([0-9]+\) ?/, "");
        if ($0 != "") name[id] = $0;
        last = id
    }
    /^calls=/ { sub(/^calls=/, ""); calls[last] += $1; getline; cost[last] += $2 }
    END {
        for (id in calls) if (name[id] ~ /evenkeel_core::checks::.*::judge(\.[0-9]+)?$/) {
            text = name[id]; sub(/.*evenkeel_core::checks::/, "", text); sub(/::judge.*/, "", text);
            printf "%9d instructions in each of %6d judgements of %s\n", cost[id] / calls[id], calls[id], text
        }
    }
' "$out" | sort -k9
