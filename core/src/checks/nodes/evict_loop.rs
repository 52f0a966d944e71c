//! `node-pressure-evict-loop`: no workload's Pods are evicted from a node only to come back and be evicted again.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use crate::history::EVICT_WINDOW;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;
use crate::sample::Metrics;

use super::at_least;

/// Evictions of one workload from one node within the window.
const EVICTIONS: usize = 5;

/// The check.
pub static CHECK: Check = Check {
    id: "node-pressure-evict-loop",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::Nodes, Source::Events]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Needed,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Node(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No workload's Pods are evicted from a node only to come back to it and be evicted again.

A node short of memory, storage or process ids evicts a Pod; its controller makes another; the scheduler, or a node
name in the Pod, brings it back before the node has recovered. Hundreds of failed Pods in minutes, and each start
makes the shortage worse.

## Formula

The check counts Pods whose status the kubelet has set to `Failed` with reason `Evicted`, by node and workload; the
workload is read from the Pod's name. It leaves out Pods over a limit of their own, of an emptyDir or of ephemeral
storage: the node is short of nothing then, and cordoning it does not help. A Pod counts once. At most 32 times of each
of 1,024 workloads are kept, and of 64 of a namespace.

- at least 5 evictions of one workload's Pods from one node within 300 s: Violated.

Who may write in a namespace may write Events there, but not the status of Pods. So an Event with reason Evicted counts
nothing and says where to look: its Pod's status is read, by the watch of a policy's Pods or by one request, at most 12 a
minute for a namespace and 120 for all. A kubelet tells of an eviction before the Pod has ended: the Pod is read again
after 5 s and 30 s.

Only the operator counts; an audit does not judge this. What a first list brings, and what is older than 600 s, is not
counted.

## What to do

1. See which resource the node is short of: `kubectl describe node`, and `status.message` of the Pods.
2. Cordon the node if the workload's Pods can run elsewhere. That does not help with a DaemonSet, which tolerates it,
   or with Pods that name the node: then pause the workload.
3. Delete failed Pods of that workload slowly, oldest first.

## What not to do

Do not evict more Pods from the node: each that comes back pulls images and fills the disk.
";

fn judge(look: &Look<'_>, name: Name) -> Known<Verdict> {
    let now = look.now.mono;
    let worst = look
        .evicted_from(name)
        .map(|one| (one.times.count(now, EVICT_WINDOW), one))
        .filter(|one| one.0 >= EVICTIONS)
        .max_by_key(|one| (one.0, Reverse(look.show(one.1.workload))));
    let Some((count, worst)) = worst else {
        look.can_look_up(EVICT_WINDOW)?;
        look.covered(Source::Events, EVICT_WINDOW)?;
        return Ok(Verdict::Met);
    };
    // The next to be forgotten may change the reported number, or which workload is the worst.
    if let Some(until) = worst.times.below(count, now, EVICT_WINDOW) {
        look.wake_at(until);
    }
    Ok(Verdict::violated(ComesBack {
        workload: look.show(worst.workload).into(),
        evictions: at_least(count),
    }))
}

/// A workload whose Pods come back to a node and are evicted again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ComesBack {
    workload: Arc<str>,
    /// So many at least.
    evictions: usize,
}

impl Explain for ComesBack {
    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Pods of {} were evicted from this node at least {} times within {} s",
            self.workload,
            self.evictions,
            EVICT_WINDOW / 1000
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let place = "status of Pods, reason Evicted";
        vec![
            Evidence::text(
                "workload",
                &Val::measured(self.workload.clone(), "names of its Pods"),
            ),
            Evidence::watched("evictions", Unit::Count, self.evictions, place),
            Evidence::watched("window", Unit::Seconds, EVICT_WINDOW / 1000, place),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let workload = &self.workload;
        vec![
            "see what the node is short of: kubectl describe node, its conditions, and status.message of the Pods".into(),
            format!(
                "if Pods of {workload} can run elsewhere, cordon the node; if a DaemonSet or a node name brings them \
                 back, pause the workload instead"
            )
            .into(),
            "do not evict more Pods from it".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    vec![Verdict::violated(ComesBack {
        workload: "shop/agent".into(),
        evictions: 5,
    })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
    use crate::index::{Freshness, Part};
    use crate::world::{World, evicted, evicted_pod, node_ready};
    use rstest::rstest;

    const ID: &str = "node-pressure-evict-loop";

    fn start() -> World {
        World::watched(&[
            (Source::Nodes, node_ready("n1", "z", "True")),
            (Source::Nodes, node_ready("n2", "z", "True")),
        ])
    }

    #[rstest]
    #[case::every_six_seconds(6, 5, "Violated warning")]
    #[case::four(6, 4, "")]
    #[case::just_inside(75, 5, "Violated warning")]
    #[case::just_outside(76, 5, "")]
    fn loops(#[case] seconds: u64, #[case] times: u32, #[case] expected: &str) {
        let mut live = start();
        for at in 0..times {
            if at > 0 {
                live.wait(seconds);
            }
            live.put(Source::Pods, &evicted_pod(at, "agent", "n1"));
        }
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn events_alone_say_nothing_of_a_node() {
        let mut live = start();
        for at in 0..50 {
            live.put(Source::Events, &evicted(at, "agent"));
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn workloads_and_nodes_are_counted_apart() {
        let mut live = start();
        for at in 0..4 {
            live.put(Source::Pods, &evicted_pod(at, "agent", "n1"));
            live.put(Source::Pods, &evicted_pod(10 + at, "agent", "n2"));
            live.put(Source::Pods, &evicted_pod(20 + at, "other", "n1"));
            live.put(Source::Pods, &evicted_pod(30 + at, "agent", "nowhere"));
        }
        assert_eq!(live.says(ID), "");
        live.put(Source::Pods, &evicted_pod(40, "agent", "n2"));
        assert_eq!(
            live.message(ID),
            "Pods of shop/agent were evicted from this node at least 5 times within 300 s"
        );
        live.wait(301);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn the_reported_number_falls_with_time() {
        let mut live = start();
        live.put(Source::Pods, &evicted_pod(0, "agent", "n1"));
        live.wait(10);
        for at in 1..10 {
            live.put(Source::Pods, &evicted_pod(at, "agent", "n1"));
        }
        assert!(live.message(ID).contains("at least 10 times"));
        live.wait(291);
        assert!(live.message(ID).contains("at least 5 times"));
    }

    #[test]
    fn a_pod_counts_once_also_when_it_is_removed_and_listed_anew() {
        let mut live = start();
        for at in 0..4 {
            live.put(Source::Pods, &evicted_pod(at, "agent", "n1"));
        }
        let pod = evicted_pod(3, "agent", "n1");
        for _ in 0..3 {
            live.list(Source::Pods, &[]);
            live.list(Source::Pods, &[&pod]);
            live.put(Source::Events, &evicted(3, "agent"));
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn first_lists_and_what_is_old_are_how_things_were() {
        let mut listed: Vec<_> = (0..50)
            .map(|at| (Source::Pods, evicted_pod(at, "agent", "n1")))
            .collect();
        listed.push((Source::Nodes, node_ready("n1", "z", "True")));
        let mut live = World::watched(&listed);
        assert_eq!(live.says(ID), "");
        for at in 100..150 {
            let mut old = evicted_pod(at, "agent", "n1");
            old["status"]["conditions"][0]["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
            live.put(Source::Pods, &old);
            live.put(Source::Events, &evicted(at, "agent"));
        }
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn one_namespace_displaces_nothing_of_another() {
        let mut live = start();
        for at in 0..4 {
            live.put(Source::Pods, &evicted_pod(at, "agent", "n1"));
        }
        for at in 0..3_000_u32 {
            let mut pod = evicted_pod(100 + at, &format!("w{at}x"), "n1");
            pod["metadata"]["namespace"] = "crowd".into();
            live.put(Source::Pods, &pod);
        }
        live.put(Source::Pods, &evicted_pod(30_000, "agent", "n1"));
        assert_eq!(live.says(ID), "Violated warning");
        assert_eq!(live.core.history().events().evicted(live.name("n1")).count(), 65);
    }

    #[test]
    fn it_needs_events() {
        let mut live = start();
        live.input(Input::Freshness(
            Source::Events,
            Part::Whole,
            Freshness::unreadable("forbidden"),
        ));
        assert_eq!(live.says(ID), "Unknown unknown; Unknown unknown");
        assert_eq!(
            World::complete()
                .with(Source::Nodes, node_ready("n1", "z", "True"))
                .found(ID),
            Vec::<String>::new()
        );
    }
}
