//! What stands at the end of each `--help`: examples, and what the exit code says.

/// Of the program.
pub(super) const ALL: &str =
    "Exit codes: 0 good, 1 what the command was asked to fail on, 2 it could not look.
Documentation: `evenkeel docs CHECK`, and the folder docs/.";

pub(super) const AUDIT: &str = "Examples:
  evenkeel audit                                          the current cluster
  evenkeel audit -n shop --fail-on warning                one namespace, as a gate
  evenkeel audit --check path-idle-budget,keepalive-order
  evenkeel audit --from manifests/ --policy draft.yaml    files, and a draft that is not installed
  evenkeel audit -o json | jq '.findings[].message'
  evenkeel audit --from manifests/ -o sarif > evenkeel.sarif
  evenkeel audit --ignore accepted.yaml --watch           what is accepted aside; then what changes
  evenkeel audit --prometheus monitoring/prometheus:9090  with what was measured

Exit codes: 1 when a finding is at or above --fail-on, else 2 when something could not be read, else 0.";

pub(super) const DIFF: &str = "Examples:
  evenkeel audit -o json > before.json
  evenkeel audit -o json | evenkeel diff before.json -
  evenkeel diff before.json after.json --fail-on critical

Exit codes: 1 when a finding at or above --fail-on is new or worse, else 2 when something can no longer be read, else 0.";

pub(super) const INIT: &str = "Examples:
  evenkeel init -n shop                                   policies for the Services of a namespace
  evenkeel init -n shop -o shop.yaml && evenkeel audit -n shop --policy shop.yaml
  evenkeel init -n shop | kubectl apply --dry-run=server -f -
  evenkeel init --cluster                                 the policy of the platform
  evenkeel init -n shop --from manifests/                 from files

Exit codes: 0 written, or nothing is to be written; 2 it could not look, or the file exists.";

pub(super) const PATH: &str = "Examples:
  evenkeel path shop/cart shop/checkout:80
  evenkeel path - shop/checkout                           every declared client and port

Exit codes: 0 drawn, 2 nothing declares it or it could not be read.";

pub(super) const DATAPLANE: &str = "Examples:
  evenkeel dataplane
  evenkeel dataplane -o wide                              each setting with origin and source

Exit codes: 0 all was read, 2 something could not be read.";

pub(super) const EXPLAIN: &str = "Examples:
  evenkeel explain path-idle-budget                       a check
  evenkeel explain edb99b1f                               a finding, by the first digits of its id, and its check
  evenkeel explain edb99b1f -o table                      the finding alone
  evenkeel explain Conflicted                             a reason of a condition
  evenkeel explain CordonNode                             a remedy; also the guard that holds one back

Exit codes: 0 explained, 2 there is no such check, finding, reason, remedy or guard.";

pub(super) const STATUS: &str = "Examples:
  evenkeel status
  evenkeel status -n shop -o json

Exit codes: 2 when the operator is not alive or something could not be read, else 1 when a policy is not healthy, else 0.";

pub(super) const APPROVE: &str = "Examples:
  evenkeel approve cordonnode-0123456789abcdef --dry-run    shows plan and evidence
  evenkeel approve cordonnode-0123456789abcdef --plan-hash 00f1e2d3c4b5a697

Exit codes: 0 approved, or it was approved before; 2 there is nothing to approve, or it could not be done.";

pub(super) const REJECT: &str = "Examples:
  evenkeel reject cordonnode-0123456789abcdef

Exit codes: 0 rejected, or it was rejected before; 2 there is nothing to reject, or it could not be done.";

pub(super) const STOP: &str = "Examples:
  evenkeel stop --reason 'the network is rebuilt'
  kubectl -n evenkeel-system create configmap evenkeel-stop    the same by hand

Exit codes: 0 stopped, or it was stopped before; 2 it could not be done.";

pub(super) const GO: &str = "Examples:
  evenkeel go
  kubectl -n evenkeel-system delete configmap evenkeel-stop    the same by hand

Exit codes: 0 nothing is stopped any more; 2 it could not be done.";

pub(super) const UNDO: &str = "Examples:
  evenkeel undo node-7 --dry-run
  evenkeel undo node-7
  evenkeel undo --all
  kubectl taint nodes node-7 status-taint.cluster-autoscaler.kubernetes.io/evenkeel-fenced-    the same by hand

Exit codes: 0 undone, or there was nothing to undo; 2 a node does not exist, or its fence could not be removed.";

pub(super) const CHECKS: &str = "Examples:
  evenkeel checks
  evenkeel checks -o json | jq '.[] | select(.needsPolicy | not) | .id'

Exit codes: 0.";

pub(super) const DOCS: &str = "Examples:
  evenkeel docs path-idle-budget

Exit codes: 0 shown, 2 there is no such check.";

pub(super) const COLLECT: &str = "Examples:
  evenkeel collect -o cluster-a
  evenkeel audit --from cluster-a

Exit codes: 0 all was read, 2 something could not be read.";

pub(super) const RUN: &str = "Examples:
  evenkeel run                                            in a Pod, as manifests/ install it
  evenkeel run --log-format text --debug-listen 127.0.0.1:8081

Exit codes: 0 it was asked to end, 2 it could not start or a part of it has failed.";

pub(super) const UNINSTALL: &str = "Examples:
  evenkeel uninstall                                      shows what would be deleted
  evenkeel uninstall --yes --keep-policies

Exit codes: 0 done or shown, 2 something could not be read or deleted.";

pub(super) const CRD: &str = "Examples:
  evenkeel crd | kubectl apply -f -

Exit codes: 0.";

pub(super) const VERSION: &str = "Examples:
  evenkeel version
  evenkeel version --client

Exit codes: 0 shown, 2 the cluster could not be asked.";

pub(super) const COMPLETIONS: &str = "Examples:
  source <(evenkeel completions bash)
  source <(evenkeel completions zsh)
  evenkeel completions fish | source

Exit codes: 0.";

pub(super) const MAN: &str = "Examples:
  evenkeel man ~/.local/share/man/man1 && man evenkeel-audit

Exit codes: 0 written, 2 the folder cannot be written to.";
