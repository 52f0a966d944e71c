//! `node-cascade-wave`: nodes do not fail because they took over from nodes that failed.

mod domino;
mod wave;

use crate::history::Failure;
use crate::judge::{Check, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source};
use crate::policy::Cascade;
use crate::sample::Metrics;
#[cfg(test)]
pub(crate) use domino::examples;
use domino::{Domino, WaveCertainty};
use wave::Wave;

/// For how long failures are looked back at, in milliseconds: a day, as history keeps them.
const LOOK_BACK: u64 = 86_400_000;
/// What counts where no policy says: the defaults of `nodes.cascade`. A Pod stays on a node that is not Ready for 300 s
/// (`DefaultTolerationSeconds` admission), after a grace of 40 s or 50 s: a step takes five to ten minutes.
const DEFAULT: Cascade = Cascade {
    window_seconds: 600,
    minimum_nodes: 3,
    received_pods_percent: 20,
};

/// The check.
pub static CHECK: Check = Check {
    id: "node-cascade-wave",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Nodes, Source::EndpointSlices]),
    uses: Reads::of(&[Source::ClusterPolicy]),
    profiles: false,
    history: Memory::Needed,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Nodes do not fail because they took over the Pods of nodes that failed.

A node falls, its Pods move, the nodes that take them fall under the new load, and the wave goes on until nothing is
left that could take more. Each step looks like a repair. With the default toleration of 300 s a step takes six to ten
minutes, so that the whole wave may take an hour.

## Formula

A node failed when its condition Ready went from True to something else. It was filled when its endpoints had grown by
`receivedPodsPercent` of the platform's policy (20 % without one), and by at least 3, within `windowSeconds` (600 s)
before. Endpoints in EndpointSlices stand for Pods; Pods without a Service are not seen.

A filled node is a step when another node failed within `windowSeconds` before it, but not within the last 60 s: those
have one cause. Steps within `windowSeconds` of each other are one wave, which begins with the nodes that failed before
its first step. `windowSeconds` bounds each step, not the wave. It is reported until `windowSeconds` after its last step.

With at least `minimumNodes` (3) such nodes:

- every node that failed after the first was filled: Violated, `Wave`;
- at least half of them: AtRisk, `SomeFilled`;
- slices had not been watched over the whole window before each failure: at most AtRisk, `ShortHistory`.

No failures are those of nodes that are cordoned, being deleted or tainted for removal, and of nodes that are labelled
as spot or preemptible: the provider takes them. A node that joined less than 1800 s ago fills up by itself.

Only the operator has a history; an audit does not judge this. Nodes that a first list shows as not Ready did not fail
as far as is known.

## What to do

1. Stop what makes Pods move: pause rollouts and autoscalers of the largest workloads.
2. Take load away, or add nodes, before the next one falls: nodes left and their headroom decide whether it goes on.

## What not to do

Do not drain the nodes that fail, and do not cordon many: the same Pods then land on fewer nodes.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let now = look.now.mono;
    let policy = look.cluster_policy()?.and_then(|policy| policy.nodes.cascade);
    let rule = policy.unwrap_or(DEFAULT);
    let window = u64::from(rule.window_seconds) * 1000;
    let failures: Vec<&Failure> = look.history().nodes().failures(now, LOOK_BACK).collect();
    let wave = Wave::last(&failures, &rule).filter(|wave| now.since(wave.last) <= window);
    let Some(wave) = wave else {
        look.covered(Source::Nodes, window)?;
        return Ok(Verdict::Met);
    };
    look.wake_at(wave.last.plus(window + 1));
    let (filled, others) = (wave.filled.len(), wave.others.len());
    if wave.first.len() + filled + others < rule.minimum_nodes as usize || filled < others {
        look.covered(Source::Nodes, window)?;
        return Ok(Verdict::Met);
    }
    let cause = if !wave.seen {
        WaveCertainty::ShortHistory
    } else if others > 0 {
        WaveCertainty::SomeFilled
    } else {
        WaveCertainty::Wave
    };
    let domino = Domino {
        cause,
        failed: wave.first.len() + filled + others,
        later: filled + others,
        filled,
        growth: wave.growth,
        step: rule.window_seconds,
    };
    Ok(if cause == WaveCertainty::Wave {
        Verdict::violated(domino)
    } else {
        Verdict::at_risk(domino)
    })
}

#[cfg(test)]
mod tests;
