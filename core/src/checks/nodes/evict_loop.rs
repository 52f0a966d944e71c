//! `node-pressure-evict-loop`: no workload's Pods are evicted from a node only to come back and be evicted again.

use std::fmt;
use std::sync::Arc;

use crate::history::EVICT_WINDOW;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::names::Name;

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
    baseline: true,
    judge: Judge::Node(judge),
    doc: DOC,
};

const DOC: &str = "\
No workload's Pods are evicted from a node only to come back to it and be evicted again.

A node short of memory, storage or process ids evicts a Pod; its controller makes another; the scheduler, or a node
name in the Pod, brings it back before the node has recovered. Hundreds of failed Pods in minutes, and each start
makes the shortage worse.

## Formula

The check counts Events of the kubelet with reason Evicted, by node and workload; the workload is read from the Pod's
name. It leaves out Pods over a limit of their own, of an emptyDir or of ephemeral storage: the node is short of nothing
then, and cordoning it does not help. An event counts once, and again by as much as its count grows. At most 32 times of
each of 1,024 workloads are kept.

- at least 5 evictions of one workload's Pods from one node within 300 s: Violated.

Only the operator counts events; an audit does not judge this. Events that a first list brings, and events older than
600 s, are not counted. Event names and texts are not kept.

## What to do

1. See which resource the node is short of: `kubectl describe node`, conditions and the Event's message.
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
        .max_by(|a, b| (a.0, &b.1.workload).cmp(&(b.0, &a.1.workload)));
    let Some((count, worst)) = worst else {
        look.covered(Source::Events, EVICT_WINDOW)?;
        return Ok(Verdict::Met);
    };
    // The next to be forgotten may change the reported number, or which workload is the worst.
    if let Some(until) = worst.times.below(count, now, EVICT_WINDOW) {
        look.wake_at(until);
    }
    Ok(Verdict::violated(ComesBack {
        workload: (*worst.workload).into(),
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
        let place = "Events, reason Evicted";
        vec![
            Evidence::text("workload", &Val::measured(self.workload.clone(), place)),
            Evidence::watched("evictions", Unit::Count, self.evictions, place),
            Evidence::watched("window", Unit::Seconds, EVICT_WINDOW / 1000, place),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        let workload = &self.workload;
        vec![
            "see what the node is short of: kubectl describe node, its conditions and the Event's message".into(),
            format!(
                "if Pods of {workload} can run elsewhere, cordon the node; if a DaemonSet or a node name brings them \
                 back, pause the workload instead"
            )
            .into(),
            "do not evict more Pods from it".into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Input;
    use crate::index::{Freshness, Part};
    use crate::world::{World, evicted, node_ready};
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
            live.put(Source::Events, &evicted(at, "agent", "n1", 1));
        }
        assert_eq!(live.says(ID), expected);
    }

    #[test]
    fn workloads_and_nodes_are_counted_apart() {
        let mut live = start();
        for at in 0..4 {
            live.put(Source::Events, &evicted(at, "agent", "n1", 1));
            live.put(Source::Events, &evicted(10 + at, "agent", "n2", 1));
            live.put(Source::Events, &evicted(20 + at, "other", "n1", 1));
            live.put(Source::Events, &evicted(30 + at, "agent", "nowhere", 1));
        }
        assert_eq!(live.says(ID), "");
        live.put(Source::Events, &evicted(40, "agent", "n2", 1));
        assert_eq!(
            live.message(ID),
            "Pods of shop/agent were evicted from this node at least 5 times within 300 s"
        );
        live.wait(301);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn the_number_that_is_told_falls_with_time() {
        let mut live = start();
        live.put(Source::Events, &evicted(0, "agent", "n1", 1));
        live.wait(10);
        for at in 1..10 {
            live.put(Source::Events, &evicted(at, "agent", "n1", 1));
        }
        assert!(live.message(ID).contains("at least 10 times"));
        live.wait(291);
        assert!(live.message(ID).contains("at least 5 times"));
    }

    #[test]
    fn an_event_counts_once_and_then_by_its_growth() {
        let mut live = start();
        for _ in 0..20 {
            live.put(Source::Events, &evicted(1, "agent", "n1", 1));
        }
        live.list(Source::Events, &[&evicted(1, "agent", "n1", 1)]);
        live.put(Source::Events, &evicted(1, "agent", "n1", 4));
        // A late event takes nothing back, and adds nothing again.
        live.put(Source::Events, &evicted(1, "agent", "n1", 2));
        live.put(Source::Events, &evicted(1, "agent", "n1", 4));
        assert_eq!(live.says(ID), "");
        live.put(Source::Events, &evicted(1, "agent", "n1", 5));
        assert_eq!(live.says(ID), "Violated warning");
    }

    #[test]
    fn a_sum_over_a_long_time_is_one_moment() {
        let mut live = start();
        live.put(Source::Events, &evicted(1, "agent", "n1", 1));
        live.wait(400);
        live.put(Source::Events, &evicted(1, "agent", "n1", 200));
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn lists_and_old_events_are_how_things_were() {
        let listed: Vec<_> = (0..50)
            .map(|at| (Source::Events, evicted(at, "agent", "n1", 9)))
            .collect();
        let mut live =
            World::watched(&[listed, vec![(Source::Nodes, node_ready("n1", "z", "True"))]].concat());
        assert_eq!(live.says(ID), "");
        for at in 100..150 {
            let mut old = evicted(at, "agent", "n1", 1);
            old["lastTimestamp"] = "2020-01-01T00:00:00Z".into();
            live.put(Source::Events, &old);
        }
        // A clock far in the past makes events of the future, which happen now.
        assert_eq!(live.says(ID), "");
        live.wait(301);
        assert_eq!(live.says(ID), "");
    }

    #[test]
    fn memory_is_bounded_and_the_loop_is_still_found() {
        let mut live = start();
        for at in 0..3_000_u32 {
            let json = evicted(at, &format!("w{at}x"), "n1", 1).to_string();
            live.input(Input::object(Source::Events, json.as_bytes()));
        }
        for at in 0..5 {
            live.put(Source::Events, &evicted(30_000 + at, "agent", "n1", 1));
        }
        assert_eq!(live.says(ID), "Violated warning");
        assert!(live.core.history().events().evicted(live.name("n1")).count() <= 1024);
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
