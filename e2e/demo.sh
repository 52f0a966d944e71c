#!/bin/sh
# `make demo`: first the command-line tool alone, on files; then the same on a real control plane, with the operator.
# Prints at its end how long each of them took, builds included.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
start=$(date +%s)
since() { echo "$(($(date +%s) - start)) s"; }
# Runs it as people do, and shows how; 1 is the exit code for a critical finding.
evenkeel() {
    expected=$1 && shift
    echo "$ evenkeel $*"
    code=0
    "$cargo" run --locked -q -p evenkeel -- "$@" || code=$?
    echo
    [ "$code" = "$expected" ] || {
        echo "evenkeel $* should have exited with $expected, not $code" >&2
        exit 1
    }
}

"$cargo" build --locked -p evenkeel
printf '\n## auditing files, without any cluster: a worker waits for 1800 s, and IPVS forgets after 900 s\n\n'
evenkeel 1 audit --from examples/demo
first=$(since)
printf '## drawing the path\n\n'
evenkeel 0 path shop/worker shop/reports:80 --from examples/demo
printf '## judging a draft before it is applied: the same policy with a TCP keepalive of 300 s\n\n'
evenkeel 0 audit --from examples/demo --policy examples/demo-keepalive.yaml
printf '## the first finding took %s; now the same on a control plane, which is built first: minutes\n\n' "$first"
"$cargo" build --locked -p evenkeel -p evenkeel-e2e
"$cargo" run --locked -q -p evenkeel-e2e --bin evenkeel-bed -- build
"$cargo" run --locked -q -p evenkeel-e2e --bin evenkeel-demo
printf '\nfrom files, the first finding took %s; everything took %s\n' "$first" "$(since)"
