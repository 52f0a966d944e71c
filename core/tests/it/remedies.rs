//! The published page of remedies is what remedies, guards and marks say of themselves.

use std::fmt::Write as _;
use std::path::Path;

use evenkeel_core::sources::claim::{MARKS, Mark};
use evenkeel_core::{guards, remedies};

/// Set to `1` to write the page instead of comparing it.
const BLESS: &str = "EVENKEEL_BLESS";

const HEAD: &str = "\
<!-- Generated from core/src/remedies, core/src/guards and core/tests/it/harm: make bless -->
# How a remedy decides

In mode Observe, the default, nothing is planned and nothing is measured for it. In the modes Suggest and Enforce the operator
shows what it would do and what holds it back. **The default installation changes no Node, and has no right to**: a plan is
carried out in mode Enforce, or in mode Suggest when a person agreed, by an operator that runs with `--remedies`, with the component
`manifests/components/remedy-cordon`, which has that right, the kinds of the ledger, and the admission policies that narrow it to
evenkeel's taint and annotations ([install](install.md#fencing-of-nodes)).

**`--remedies` is not finished, and for test clusters.**

```text
  a node stops being Ready     3 times in 30 min?      each guard, in this order       nothing holds
 ──────────────────────────► propose CordonNode ────► the first that holds ─────────► planned, or suggested
   Nodes, as watched                                    is shown: held                 where a person has to agree
```

A plan is made anew when a node fails, at most every 5 s, and every 30 s while there is one. Where it is shown:

| where | what |
|---|---|
| `evenkeel status` | each plan, the guard that holds it back, its numbers |
| `status.plans` of the ClusterTrafficHealthPolicy | the same, at most 20, with since when and when it is looked at again |
| condition `Remediating` | `ModeObserve`, `NothingToDo`, `Held`, `Storm` or `Planned`; see [reasons](reasons.md) |
| `evenkeel_plans`, `evenkeel_storm` | see [metrics](metrics.md) |
| Events of the Node, and `evenkeel_remediations` | each stage of what is carried out, why it ended, and who agreed |
| alerts | [a node is fenced](runbooks/EvenkeelNodeFenced.md), [a person is awaited](runbooks/EvenkeelApprovalAwaited.md), [a remedy failed](runbooks/EvenkeelRemedyFailed.md), [is held for long](runbooks/EvenkeelRemedyHeld.md), [is suspended](runbooks/EvenkeelRemedySuspended.md) |
| `evenkeel explain GUARD` | what a guard means and what to do |

To plan, the operator needs a Prometheus (`--prometheus`) with node_exporter: without measured load there is no headroom to
speak of, and every plan is held. So it is where API servers are not measured, there or by `--instance-metrics`: an overloaded
control plane takes heartbeats late, and nodes look lost that are well.
";

const ACTING: &str = "
## When a person has to agree

In mode Suggest, and in mode Enforce where no second channel confirms what the kubelet says or where it is the third fence of a
node within a day, the operator stores the plan as a record that waits, and does nothing more. `evenkeel status` shows it as
`AwaitsApproval`, and `evenkeel approve RECORD` shows the plan, what it rests on and why a person is asked, and agrees to it;
`evenkeel reject RECORD` refuses it. While a record waits and nothing else holds its plan, the operator reads what people have
said every 10 s.

- A yes is for one record and one plan: node, cause, effect, and policy as it is now. For anything else it says nothing, and it
  is used once.
- After a yes every guard is asked again, on the Node as it is then, and people's stop counts. What holds refuses the record, and
  the yes with it.
- After a no, also where others said yes, the node is left alone for a day (`Rejected`).
- A record lapses after an hour without an answer, and when its plan is not there any more: the node is steady, the policy
  changed, or nobody has to agree any more. A yes that comes later does nothing. While the node still comes and goes a person is
  asked anew, with what the plan rests on then.
- Deleting a RemediationApproval takes the answer back while it was not used.

## How a plan is carried out

While people say stop, nothing is stored or sent but the question whether they still do. Else one request follows the other,
each answered before the next is sent, at most ten in all:

1. The **record** is stored: a `Remediation` in the operator's namespace, under a name that follows of the intent. In one that
   waited it is written who agreed.
2. The **slot** is taken, a Lease (`evenkeel-remedy`): one act at a time in the cluster.
3. Whether people said **stop** is read: the ConfigMap `evenkeel-stop`.
4. The Node is **read**, and every guard is asked once more, on the Node as it is now.
5. The taint is added, for the Node that was read and no other version of it. An answer that is lost is found out by reading;
   nothing is sent twice.
6. The record says what became of it, and the slot is free.

A leader that has just taken over first makes the slot its own, finds out what the one before it has left, and lists the ledger
once, as what it watches may be behind. Before a fence, at most once an hour, it asks by a dry run for a change that the
admission policy `evenkeel-nodes` must refuse: without that refusal every plan is held (`RightsNotNarrowed`). Nothing is done
before the ledger was read, and no fence while it is not watched without a gap (`InputsStale`). Records that are over are deleted after seven days, or
when there are more than 500, the oldest first.

A fence is undone when its node was Ready for `steadySeconds` while the operator watched; when the policy is deleted or its mode
is Observe; and nothing holds an undo back. It removes the taint as its record wrote it: one with another effect or a value is
somebody else's. A fence that people remove is not made again for a day (`UndoneByOthers`). Where the operator is gone it stays
until somebody undoes it, as shown below.
";

const BY_HAND: &str = "
## By hand

What a plan would do, and its undo:

```sh
kubectl taint nodes NODE status-taint.cluster-autoscaler.kubernetes.io/evenkeel-fenced=:PreferNoSchedule
kubectl taint nodes NODE status-taint.cluster-autoscaler.kubernetes.io/evenkeel-fenced-
```

A node that carries the taint counts as fenced, no matter what set it. To keep evenkeel off a node:
`kubectl annotate nodes NODE evenkeel.dev/hands-off=true`.

## Stop, go on, undo

| to | with evenkeel | with kubectl alone, also where no operator runs |
|---|---|---|
| stop: no node is fenced, within about a second not even by a request that is under way | `evenkeel stop --reason TEXT` | `kubectl -n evenkeel-system create configmap evenkeel-stop` |
| go on | `evenkeel go` | `kubectl -n evenkeel-system delete configmap evenkeel-stop` |
| undo one fence | `evenkeel undo NODE` | `kubectl taint nodes NODE status-taint.cluster-autoscaler.kubernetes.io/evenkeel-fenced-` |
| undo all | `evenkeel undo --all` | the same line for each node of `kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints[*].key` that has it |
| agree to a plan that waits, or refuse it | `evenkeel approve RECORD`, `evenkeel reject RECORD` | `kubectl create -f` of a RemediationApproval with the record's `uid` and `planHash` |

Each may be said twice, and says what it did. `evenkeel status` shows a stop, with who said it and since when, and each record
that is open. A stop leaves fences where they are, and holds no undo back; a taint does not expire by itself. `undo` also takes
the annotations `evenkeel.dev/fence-*`, `--dry-run` shows what it would do, and what others change of a node at the same time
is kept. It needs no operator, but the right to patch Nodes.

`approve` and `reject` show the plan of the record, what it rests on and under which policy it is, and write a decision on this
plan alone (`--dry-run` only shows it); an admission policy holds its `by` to who makes it. The ClusterRole `evenkeel-approve`
lets people decide, and `evenkeel-stop` lets them stop and go on: both are of the component `remedy-cordon`, to be bound in
`evenkeel-system`.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for remedy in remedies::ALL {
        let doc = remedy.doc.trim();
        writeln!(page, "\n## {}\n\n{doc}", remedy.id).unwrap();
    }
    page.push_str(ACTING);
    page.push_str(
        "\n## Guards\n\nThe first that holds is shown. One that cannot know holds. None holds back an undo.\n\n\
         | held by | what it means | what to do |\n|---|---|---|\n",
    );
    for guard in guards::ALL {
        writeln!(page, "| `{}` | {} | {} |", guard.id, guard.means, guard.next).unwrap();
    }
    page.push_str(
        "\n## Who else holds a node\n\nBesides a cordon (`spec.unschedulable`), a deletion, and the taints of termination \
         handlers:\n\n| who | mark of the Node | defined in |\n|---|---|---|\n",
    );
    for (holder, mark, source) in MARKS {
        let mark = match mark {
            Mark::Taint(key) if key.ends_with('/') => format!("any taint `{key}...`"),
            Mark::Taint(key) => format!("taint `{key}`"),
            Mark::Annotation(key) => format!("annotation `{key}`"),
            Mark::AnnotationPrefix(key, value) => format!("annotation `{key}: {value}...`"),
        };
        writeln!(page, "| {} | {mark} | {source} |", holder.name()).unwrap();
    }
    page + BY_HAND + &crate::harm::page()
}

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/remedies.md");
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        std::fs::write(&path, page()).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(published, page(), "run with {BLESS}=1");
}
