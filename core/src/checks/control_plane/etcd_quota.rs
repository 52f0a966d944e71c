//! `etcd-quota-headroom`: etcd's database has room below its quota.

use std::fmt;
use std::sync::Arc;

use super::servers::servers;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Known, Reads, Source, Unit, Val};
use crate::sample::{Metric, Metrics, whole, whole_large};

/// etcd's own quota where none is set: 2 GiB (`DefaultQuotaBytes`, server/storage/quota.go).
const USUAL: u64 = 2 << 30;

/// The check.
pub static CHECK: Check = Check {
    id: "etcd-quota-headroom",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::EndpointSlices, Source::ClusterPolicy]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::of(&[Metric::EtcdDatabaseSize, Metric::EtcdQuota]),
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
etcd's database has room below its quota.

When the database reaches the quota, etcd raises the alarm `NOSPACE` and takes no more writes: no Pod is scheduled, no node
renews its lease, and the node controller takes all nodes for lost.

## Formula

`size` is the largest database that an API server sees, `quota` the least of all members; else
`controlPlane.assume.etcdQuotaBytes` of the ClusterTrafficHealthPolicy; else 2 GiB, etcd's default.

- `size > 95 %` of the quota: Violated.
- `size > 80 %`: AtRisk.
- A quota that is not measured is assumed, and then a finding is never critical.

It is measured by `apiserver_storage_size_bytes` of each API server (since 1.28; before
`apiserver_storage_db_total_size_in_bytes` and `etcd_db_total_size_in_bytes`) and by `etcd_server_quota_backend_bytes` of etcd.

## What to do

1. Find what fills it: `apiserver_storage_objects` by resource, Events and leftover custom resources first.
2. Compact and defragment one member at a time, the leader last (`etcdctl defrag`), and see that it is back before the next.
3. Raise `--quota-backend-bytes`, to at most 8 GiB, one member at a time.

## What not to do

Do not defragment all members at once: each stands still meanwhile.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let mut largest = None;
    let mut gap = None;
    for server in servers(look)? {
        match look.on_instance(Metric::EtcdDatabaseSize, server) {
            Ok(one) if largest.is_none_or(|held: crate::sample::Reading<'_>| one.value > held.value) => {
                largest = Some(one);
            }
            Ok(_) => {}
            Err(why) => drop(gap.get_or_insert(why)),
        }
    }
    let quota = match look.on_cluster(Metric::EtcdQuota) {
        Ok(quota) => Val::measured(whole_large(quota.value), quota.source()),
        Err(_) => assumed(look)?,
    };
    let percent = largest.map(|size| {
        let quota = f64::from(u32::try_from(quota.value >> 10).unwrap_or(u32::MAX)) * 1024.0;
        size.value * 100.0 / quota.max(1024.0)
    });
    if let (Some(size), Some(percent)) = (largest, percent)
        && percent > 80.0
    {
        let case = Grown {
            percent: whole(percent) / 5 * 5,
            quota,
            source: size.source(),
        };
        return Ok(if percent > 95.0 {
            Verdict::violated(case)
        } else {
            Verdict::at_risk(case)
        });
    }
    gap.map_or(Ok(Verdict::Met), Err)
}

/// The quota where it is not measured.
fn assumed(look: &Look<'_>) -> Known<Val<u64>> {
    let declared = look
        .cluster_policy()?
        .and_then(|policy| policy.control_plane.etcd_quota_bytes);
    Ok(declared.map_or_else(
        || Val::assumed(USUAL, "etcd's default, server/storage/quota.go"),
        |quota| {
            Val::assumed(
                quota,
                "ClusterTrafficHealthPolicy spec.controlPlane.assume.etcdQuotaBytes",
            )
        },
    ))
}

/// A database near its quota.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Grown {
    /// Its size in percent of the quota, rounded down to a multiple of five.
    percent: u32,
    quota: Val<u64>,
    source: Arc<str>,
}

impl Explain for Grown {
    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "etcd's database has at least {} % of its quota of {} MiB, and takes no writes at 100 %",
            self.percent,
            self.quota.value >> 20
        )
    }

    fn evidence(&self) -> Vec<Evidence> {
        let quota = self
            .quota
            .clone()
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        vec![
            Evidence::watched("size", Unit::Percent, self.percent, self.source.clone()),
            Evidence::number("quota", Unit::Bytes, &quota),
        ]
    }

    fn advice(&self) -> Vec<Advice> {
        vec![
            "find what fills it (apiserver_storage_objects by resource) and delete what is left over".into(),
            "compact, then defragment one member at a time, the leader last: etcdctl defrag".into(),
            "raise --quota-backend-bytes one member at a time, to 8 GiB at most".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |percent, quota| Grown {
        percent,
        quota,
        source: "Prometheus, etcdDatabaseSize".into(),
    };
    vec![
        Verdict::violated(of(95, Val::measured(USUAL, "Prometheus, etcdQuota"))),
        Verdict::at_risk(of(
            80,
            Val::assumed(USUAL, "etcd's default, server/storage/quota.go"),
        )),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::control_plane::servers::world::says;

    const GIB: f64 = 1_073_741_824.0;

    #[rstest]
    #[case::room([1.0, 1.0, 1.0], Some(8.0), "Met")]
    #[case::the_largest_counts([1.0, 7.0, 1.0], Some(8.0), "AtRisk warning")]
    #[case::nearly_full([7.9, 7.9, 7.9], Some(8.0), "Violated critical")]
    #[case::by_the_usual_quota([1.95, 1.9, 1.9], None, "Violated warning")]
    #[case::one_not_measured([1.0, f64::NAN, 1.0], Some(8.0), "Unknown unknown")]
    #[case::what_is_known_is_too_much([7.9, f64::NAN, 1.0], Some(8.0), "Violated critical")]
    fn headroom(#[case] sizes: [f64; 3], #[case] quota: Option<f64>, #[case] expected: &str) {
        let mut played = vec![(Metric::EtcdDatabaseSize, "", sizes.map(|size| size * GIB))];
        played.extend(quota.map(|quota| (Metric::EtcdQuota, "", [quota * GIB; 3])));
        assert_eq!(says("etcd-quota-headroom", &played), expected);
    }
}
