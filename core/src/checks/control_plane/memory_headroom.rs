//! `cp-memory-headroom`: each API server could take its part of another's memory.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::servers::{node_of, on_each, servers};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit};
use crate::sample::{Metric, Metrics, Reading, whole, whole_large};

/// The check.
pub static CHECK: Check = Check {
    id: "cp-memory-headroom",
    severity: Severities::ALWAYS_WARNING,
    needs: Reads::of(&[Source::EndpointSlices]),
    uses: Reads::of(&[Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::ResidentMemory, Metric::MemoryLimit, Metric::MemoryTotal]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Each API server could take its part of another's memory.

When one of several API servers ends, its clients connect to the others, and with them come their watches and lists. If these
have no room for that, one after the other is killed for want of memory.

## Formula

`memory` is what an API server holds, `limit` what its container may hold, else the memory of its machine, `n` their number.

- `memory + largest memory of another / (n - 1) > limit` for one of them: Violated.
- One API server: not applicable. Memory or limit of one of them not measured: Unknown.

It is measured by `process_resident_memory_bytes` of each API server, cAdvisor (`container_spec_memory_limit_bytes`) and
node_exporter (`node_memory_MemTotal_bytes`).

## What to do

1. Give the machines or the containers of the API servers more memory, one at a time.
2. See which lists and watches are large: `apiserver_storage_objects` by resource.

## What not to do

Do not restart API servers to free memory: their clients list everything anew.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let servers = servers(look)?;
    if servers.len() < 2 {
        return Ok(Verdict::NotApplicable("no other API server could end"));
    }
    let held = on_each(look, Metric::ResidentMemory, &servers)?;
    let others = f64::from(u32::try_from(servers.len() - 1).unwrap_or(u32::MAX));
    for (at, memory) in &held {
        let limit = limit(look, *at)?;
        let lost = held.iter().filter(|one| one.0 != *at).map(|one| one.1.value);
        let after = memory.value + lost.fold(0.0, f64::max) / others;
        if after > limit.value {
            return Ok(Verdict::violated(NoRoom {
                server: at.to_string().into(),
                percent: whole((memory.value * 100.0 / limit.value).min(100.0)) / 5 * 5,
                after: whole(after * 100.0 / limit.value) / 5 * 5,
                limit: whole_large(limit.value),
                source: memory.source(),
            }));
        }
    }
    Ok(Verdict::Met)
}

/// What an API server may hold at most.
fn limit<'a>(look: &Look<'a>, server: IpAddr) -> Known<Reading<'a>> {
    let own = look.on_instance(Metric::MemoryLimit, server);
    // cAdvisor writes 0 where there is no limit, as kubeadm sets none.
    if own.as_ref().map_or(true, |limit| limit.value <= 0.0)
        && let Some(node) = node_of(look, server)?
    {
        return look.on_node(Metric::MemoryTotal, node);
    }
    own
}

/// An API server that could not take another's part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NoRoom {
    server: Arc<str>,
    /// What it holds, in percent of its limit, rounded down to a multiple of five.
    percent: u32,
    /// What it would hold.
    after: u32,
    limit: u64,
    source: Arc<str>,
}

impl Explain for NoRoom {
    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "API server {} holds at least {} % of the memory it may, and at least {} % with its part of another's",
            self.server, self.percent, self.after
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        vec![
            Evidence::watched("memory", Unit::Percent, self.percent, self.source.clone()),
            Evidence::watched("afterLoss", Unit::Percent, self.after, self.source.clone()),
            Evidence::watched("limit", Unit::Bytes, self.limit, self.source.clone()),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "give the machines or containers of the API servers more memory, one at a time".into(),
            "find the resources with most objects (apiserver_storage_objects), and who lists them whole"
                .into(),
            "do not restart API servers to free memory: their clients list everything anew".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    vec![Verdict::violated(NoRoom {
        server: "192.0.2.1".into(),
        percent: 75,
        after: 110,
        limit: 8_589_934_592,
        source: "Prometheus, residentMemory".into(),
    })]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::control_plane::servers::world::says;

    const NAN: f64 = f64::NAN;

    #[rstest]
    #[case::room([4.0, 4.0, 4.0], Some([8.0; 3]), None, "Met")]
    #[case::just_enough([4.0, 4.0, 4.0], Some([6.0; 3]), None, "Met")]
    #[case::not_enough([6.0, 6.0, 5.0], Some([8.0; 3]), None, "Violated warning")]
    #[case::a_limit_of_zero_is_none([6.0, 6.0, 5.0], Some([0.0; 3]), Some([8.0; 3]), "Violated warning")]
    #[case::by_the_machine([6.0, 6.0, 5.0], None, Some([8.0; 3]), "Violated warning")]
    #[case::no_limit_known([6.0, 6.0, 5.0], None, None, "Unknown unknown")]
    #[case::one_not_measured([4.0, NAN, 4.0], Some([8.0; 3]), None, "Unknown unknown")]
    fn headroom(
        #[case] held: [f64; 3],
        #[case] limits: Option<[f64; 3]>,
        #[case] machines: Option<[f64; 3]>,
        #[case] expected: &str,
    ) {
        let bytes = |all: [f64; 3]| all.map(|gib| gib * 1_073_741_824.0);
        let mut played = vec![(Metric::ResidentMemory, "", bytes(held))];
        played.extend(limits.map(|all| (Metric::MemoryLimit, "", bytes(all))));
        played.extend(machines.map(|all| (Metric::MemoryTotal, "", bytes(all))));
        assert_eq!(says("cp-memory-headroom", &played), expected);
    }
}
