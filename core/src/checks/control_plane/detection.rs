//! `detection-vs-grace`: a client notices a dead connection before its node is declared lost.

use std::fmt;

use crate::dataplane::controller_manager::{self, GRACE_FLAG as FLAG};
use crate::dataplane::duration::GoDuration;
use crate::dataplane::kube_proxy::node_args;
use crate::dataplane::version::Version;
use crate::index::Dep;
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, Severities, Verdict};
use crate::know::{Gap, Known, Origin, Reads, Source, Val};
use crate::names::Names;
use crate::policy::ControlPlanePolicy;
use crate::sample::Metrics;
use crate::sources::node::K3S_ARGS;
use crate::sources::workload::Container;

/// Silence after which a client of the API server sends a ping, seconds: `HTTP2_READ_IDLE_TIMEOUT_SECONDS` in
/// k8s.io/apimachinery `pkg/util/net/http.go`.
const READ_IDLE_SECONDS: i64 = 30;
/// How long it waits for the answer, seconds: `HTTP2_PING_TIMEOUT_SECONDS`, in the same file.
const PING_TIMEOUT_SECONDS: i64 = 15;
/// What is left at least to connect again and renew a Lease, seconds: the margin that Kubernetes gives its own default
/// since 1.32 (50 s against 45 s; kubernetes/kubernetes issues 121793 and 127352 doubt even that).
const MARGIN_SECONDS: i64 = 5;

/// The check.
pub static CHECK: Check = Check {
    id: "detection-vs-grace",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::ClusterPolicy]),
    uses: Reads::of(&[Source::Pods, Source::Nodes]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Cluster(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
A client notices a dead connection before its node is declared lost.

When the connection between kubelets and the API server dies silently (a load balancer that went away, a table
that was cleared), a kubelet notices by an HTTP/2 ping without an answer. If the control plane's grace period ends first,
healthy nodes become NotReady together, and their Pods leave the endpoints.

## Formula

`detection = read idle + ping timeout`, 30 s + 15 s by the default of Kubernetes' client library; `grace` is
`--node-monitor-grace-period` of kube-controller-manager, by default 50 s since 1.32 and 40 s before.

- `detection >= grace` and the grace is written in the flag, handed on by k3s, or declared: Violated;
- the same with a default or an assumed value: AtRisk;
- less than 5 s between the two: AtRisk, `NarrowMargin`, as the client has to connect again and renew a Lease, too;
- a read idle time of 0 switches the ping off: it is never noticed.

`controlPlane.assume` of the ClusterTrafficHealthPolicy is used where a value cannot be read: always for the clients'
times, and for the grace where no kube-controller-manager Pod is to be seen. Without it the default of the newest
kubelet's version is assumed: if that were too short it is AtRisk, else Unknown, as a provider may run another.

## What to do

1. Raise `--node-monitor-grace-period` above the detection time, or upgrade to 1.32 or later.
2. On a managed control plane declare what the provider runs in `controlPlane.assume`.

## What not to do

Do not lower the grace period to fail over faster: it makes every hiccup of the control plane a loss of nodes.
";

fn judge(look: &Look<'_>) -> Known<Verdict> {
    let assume = look
        .cluster_policy()?
        .map(|policy| policy.control_plane)
        .unwrap_or_default();
    let read_idle = client(
        assume.http2_read_idle_seconds,
        READ_IDLE_SECONDS,
        "http2ReadIdleSeconds",
    );
    let ping = client(
        assume.http2_ping_timeout_seconds,
        PING_TIMEOUT_SECONDS,
        "http2PingTimeoutSeconds",
    );
    let Some(grace) = grace(look, assume)? else {
        return Ok(Verdict::NotApplicable("the cluster has no node"));
    };
    let detection = read_idle.value.saturating_add(ping.value);
    let cause = if read_idle.value == 0 {
        LateCause::NeverDetected
    } else if detection >= grace.value {
        LateCause::DetectionTooSlow
    } else if detection.saturating_add(MARGIN_SECONDS) > grace.value {
        LateCause::NarrowMargin
    } else if grace.origin == Origin::Assumed {
        let field = "spec.controlPlane.assume.nodeMonitorGraceSeconds";
        return Err(Gap::Undeclared(
            format!("no kube-controller-manager is to be seen; declare its --{FLAG} as {field}").into(),
        ));
    } else {
        return Ok(Verdict::Met);
    };
    let sure = grace.origin <= Origin::Declared && read_idle.origin.max(ping.origin) < Origin::Assumed;
    let slow = Slow {
        cause,
        grace,
        read_idle,
        ping,
    };
    Ok(if sure && cause != LateCause::NarrowMargin {
        Verdict::violated(slow)
    } else {
        Verdict::at_risk(slow)
    })
}

/// A time of the clients: what the platform says, else the default of the library.
fn client(declared: Option<u32>, default: i64, field: &str) -> Val<i64> {
    match declared {
        Some(seconds) => Val::declared(i64::from(seconds), assumed_at(field)),
        None => Val::default_of(default, "default of k8s.io/apimachinery pkg/util/net/http.go"),
    }
}

fn assumed_at(field: &str) -> String {
    format!("ClusterTrafficHealthPolicy spec.controlPlane.assume.{field}")
}

/// How long a node may be silent, seconds; `None` without any node.
fn grace(look: &Look<'_>, assume: ControlPlanePolicy) -> Known<Option<Val<i64>>> {
    let declared = assume
        .node_monitor_grace_seconds
        .map(|seconds| Val::declared(i64::from(seconds), assumed_at("nodeMonitorGraceSeconds")));
    match (from_pods(look), declared) {
        (Ok(Some(grace)), _) => Ok(Some(grace)),
        (_, Some(declared)) => Ok(Some(declared)),
        (Err(gap), None) => Err(gap),
        (Ok(None), None) => match from_k3s(look)? {
            Some(grace) => Ok(Some(grace)),
            None => from_kubelets(look),
        },
    }
}

/// The least grace that a server of k3s hands on or has by default: its kube-controller-manager has no Pod, but its node
/// names the arguments.
fn from_k3s(look: &Look<'_>) -> Known<Option<Val<i64>>> {
    let names = look.names();
    let is_k3s = |kubelet| names.text(kubelet).contains("+k3s");
    // Only there each node is looked at.
    if !look.node_sums(Dep::NodeKubelets)?.kubelets().any(is_k3s) {
        return Ok(None);
    }
    let found = look.nodes()?.iter().filter_map(|(key, node)| {
        let place = format!("Node {} annotation {K3S_ARGS}", names.text(key.name));
        let args = node.annotations.text(names, K3S_ARGS);
        // What is no list of texts says nothing about the data plane either, which is reported there.
        let args = args.and_then(|text| node_args(text).ok())?;
        if let Some(text) = controller_manager::handed_on(&args, FLAG) {
            return Some(parse(&text, &place));
        }
        // A server that hands nothing on runs the default of its own version, which is the kubelet's.
        let version = Version::parse(names.text(node.kubelet));
        version
            .filter(|_| args.first().is_some_and(|word| word == "server"))
            .map(|version| {
                let place = format!("{place}: default of --{FLAG} in {version}");
                Ok(Val::default_of(default_grace(version), place))
            })
    });
    least(found)
}

/// The least of what was found. Rows have no order: of several values the least is taken, of several gaps the first by
/// text.
fn least(found: impl Iterator<Item = Known<Val<i64>>>) -> Known<Option<Val<i64>>> {
    let mut least: Option<Val<i64>> = None;
    let mut gap: Option<Gap> = None;
    for one in found {
        match one {
            Ok(grace) => {
                let better = |held: &Val<i64>| (grace.value, &grace.source) < (held.value, &held.source);
                if least.as_ref().is_none_or(better) {
                    least = Some(grace);
                }
            }
            Err(one) => {
                let first = |held: &Gap| one.to_string() < held.to_string();
                if gap.as_ref().is_none_or(first) {
                    gap = Some(one);
                }
            }
        }
    }
    gap.map_or(Ok(least), Err)
}

/// The grace that is written somewhere.
fn parse(text: &str, place: &str) -> Known<Val<i64>> {
    let seconds = GoDuration::parse(text)
        .map_err(|error| Gap::Opaque(format!("{place} --{FLAG}: {error}").into()))?
        .seconds();
    Ok(Val::declared(seconds, format!("{place} --{FLAG}={text}")))
}

/// The least grace of the kube-controller-managers that are to be seen.
fn from_pods(look: &Look<'_>) -> Known<Option<Val<i64>>> {
    let names = look.names();
    let found = look
        .components()?
        .filter(|(_, pod)| !pod.ended)
        .flat_map(|(key, pod)| {
            let managers = pod
                .template
                .containers
                .iter()
                .filter(|one| is_manager(one, names));
            let place = format!("Pod {}", look.show(key));
            managers.filter_map(move |container| of_manager(container, &place, names).transpose())
        });
    least(found)
}

fn is_manager(container: &Container, names: &Names) -> bool {
    names.text(container.name) == "kube-controller-manager"
        || container
            .argv
            .iter()
            .any(|word| controller_manager::names_it(word))
}

/// The flag, else the default of the image's version; `None` where neither is known.
fn of_manager(container: &Container, place: &str, names: &Names) -> Known<Option<Val<i64>>> {
    let text = controller_manager::flag(&container.argv, FLAG)
        .map_err(|gap| Gap::Opaque(format!("{place}: {gap}").into()))?;
    if let Some(text) = text {
        return parse(&text, place).map(Some);
    }
    let image = names.text(container.image);
    Ok(Version::of_image(image).map(|version| {
        Val::default_of(
            default_grace(version),
            format!("{place}: default of --{FLAG} in {version} (pkg/controller/nodelifecycle/config)"),
        )
    }))
}

/// The first version with the default of today.
const NEWEST_DEFAULT: Version = Version::new(1, 32, 0);

/// 50 s since 1.32, 40 s before.
const fn default_grace(version: Version) -> i64 {
    if version.at_least(1, 32) { 50 } else { 40 }
}

/// The default that the newest kubelet lets one assume: the control plane is never older than it.
fn from_kubelets(look: &Look<'_>) -> Known<Option<Val<i64>>> {
    let names = look.names();
    let nodes = look.node_sums(Dep::NodeKubelets)?;
    if nodes.count() == 0 {
        return Ok(None);
    }
    let newest = nodes
        .kubelets()
        .filter_map(|kubelet| Version::parse(names.text(kubelet)))
        .max();
    let newest = newest.ok_or_else(|| Gap::Opaque("no node reports the version of its kubelet".into()))?;
    Ok(Some(Val::assumed(
        default_grace(newest),
        format!(
            "default of --{FLAG} in {newest}, the newest kubelet's version; no kube-controller-manager is to be seen"
        ),
    )))
}

/// Why a dead connection is noticed too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum LateCause {
    NeverDetected,
    DetectionTooSlow,
    NarrowMargin,
}

/// Clients that notice a dead connection too late; all times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Slow {
    cause: LateCause,
    grace: Val<i64>,
    read_idle: Val<i64>,
    ping: Val<i64>,
}

impl Slow {
    const fn detection(&self) -> i64 {
        self.read_idle.value.saturating_add(self.ping.value)
    }
}

impl Explain for Slow {
    fn cause(&self) -> &'static str {
        match self.cause {
            LateCause::NeverDetected => "NeverDetected",
            LateCause::DetectionTooSlow => "DetectionTooSlow",
            LateCause::NarrowMargin => "NarrowMargin",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (detection, grace) = (self.detection(), self.grace.value);
        match self.cause {
            LateCause::NeverDetected => write!(
                f,
                "clients of the API server send no ping and never notice a dead connection; nodes are declared lost \
                 after {grace} s of silence"
            ),
            LateCause::DetectionTooSlow => write!(
                f,
                "clients notice a dead connection to the API server after {detection} s, but nodes are declared lost \
                 after {grace} s of silence"
            ),
            LateCause::NarrowMargin => write!(
                f,
                "clients notice a dead connection after {detection} s, nodes are declared lost after {grace} s: that leaves {} s \
                 to connect again and renew a Lease",
                grace - detection
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = vec![
            Evidence::seconds("grace", &self.grace),
            Evidence::seconds("readIdle", &self.read_idle),
            Evidence::seconds("pingTimeout", &self.ping),
        ];
        if self.cause != LateCause::NeverDetected {
            let detection = Val {
                value: self.detection(),
                origin: self.read_idle.origin.max(self.ping.origin),
                source: "readIdle + pingTimeout".into(),
            };
            evidence.push(Evidence::seconds("detection", &detection));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        if self.grace.origin == Origin::Assumed {
            advice.push(
                "declare what the provider runs in spec.controlPlane.assume.nodeMonitorGraceSeconds of the cluster policy"
                    .into(),
            );
        }
        advice.push(if self.cause == LateCause::NeverDetected {
            "let clients send HTTP/2 pings: unset HTTP2_READ_IDLE_TIMEOUT_SECONDS".into()
        } else {
            let least = self.detection().saturating_add(MARGIN_SECONDS);
            // A later default helps where nothing is set.
            let upgrade = if self.grace.origin > Origin::Declared && least <= default_grace(NEWEST_DEFAULT) {
                ", or upgrade to 1.32 or later (50 s)"
            } else {
                ""
            };
            format!("set --{FLAG} of kube-controller-manager to {least} s or more{upgrade}").into()
        });
        advice
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let flag = "Pod kube-system/kube-controller-manager-a --node-monitor-grace-period";
    let of = |cause, grace, read_idle| Slow {
        cause,
        grace,
        read_idle: Val::default_of(read_idle, "default of k8s.io/apimachinery pkg/util/net/http.go"),
        ping: Val::default_of(
            PING_TIMEOUT_SECONDS,
            "default of k8s.io/apimachinery pkg/util/net/http.go",
        ),
    };
    vec![
        Verdict::violated(of(
            LateCause::DetectionTooSlow,
            Val::declared(40, flag),
            READ_IDLE_SECONDS,
        )),
        Verdict::at_risk(of(
            LateCause::DetectionTooSlow,
            Val::assumed(40, "default of --node-monitor-grace-period in v1.31.0"),
            READ_IDLE_SECONDS,
        )),
        Verdict::at_risk(of(
            LateCause::NarrowMargin,
            Val::declared(46, flag),
            READ_IDLE_SECONDS,
        )),
        Verdict::violated(of(LateCause::NeverDetected, Val::declared(50, flag), 0)),
    ]
}
