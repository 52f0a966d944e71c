//! Cilium: its effective settings from its version, the kernel and the keys it was given.
//!
//! Charts write few of these keys, so most values are defaults, and those changed: service entries lived six hours
//! up to 1.14 and 8000 seconds after. What happens to a connection that comes back from the same source port changed
//! three times; [`Build`] holds what a version does, so that a patched agent can be described as well.

mod merge;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::dataplane::duration::GoDuration;
use crate::dataplane::tree::shorten;
use crate::dataplane::version::Version;
use crate::dataplane::{Cilium, PortPin, SocketLb};
use crate::know::{Gap, Known, Origin, Val};

pub use merge::{DEFAULT_SOURCES, Keys, MergeInputs, Merged, merge};

/// Looks up a merged key: its value and the place it was read in.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<(String, Arc<str>)>;

/// Namespaces besides `kube-system` that guides of its vendor install it into (`cilium/cilium`,
/// `Documentation/installation/k8s-install-openshift-okd.rst`).
pub const HOMES: &[&str] = &["cilium"];

/// Every key that is looked up: nothing else of Cilium's configuration is read.
pub const KEYS: [&str; 13] = [
    "bpf-ct-timeout-regular-tcp-fin",
    "bpf-ct-timeout-service-any",
    "bpf-ct-timeout-service-tcp",
    "bpf-ct-timeout-service-tcp-grace",
    "bpf-lb-algorithm",
    "bpf-lb-sock",
    "bpf-lb-sock-hostns-only",
    "conntrack-gc-interval",
    "enable-host-reachable-services",
    "enable-node-port",
    "enable-service-topology",
    "kube-proxy-replacement",
    "node-port-algorithm",
];
/// Where the defaults were read.
const FLAGS_FILE: &str = "daemon/cmd/daemon_main.go";
/// `bpf-ct-timeout-service-tcp` up to 1.14: `daemon/cmd/daemon_main.go`.
const SERVICE_TCP_SECONDS_UP_TO_1_14: i64 = 21_600;
/// `bpf-ct-timeout-service-tcp` from 1.15 on: `daemon/cmd/daemon_main.go`.
const SERVICE_TCP_SECONDS: i64 = 8000;
/// `bpf-ct-timeout-service-tcp-grace`: `daemon/cmd/daemon_main.go`.
const SERVICE_TCP_GRACE_SECONDS: i64 = 60;
/// `bpf-ct-timeout-service-any`: `daemon/cmd/daemon_main.go`.
const SERVICE_ANY_SECONDS: i64 = 60;
/// `bpf-ct-timeout-regular-tcp-fin`, the life of a closing entry: `daemon/cmd/daemon_main.go`.
const REGULAR_TCP_FIN_SECONDS: i64 = 10;
/// The first kernel with programs large enough for selecting anew: `HAVE_LARGE_INSN_LIMIT` in `bpf/lib/conntrack.h`.
const KERNEL_OF_LARGE_PROGRAMS: Version = Version::new(5, 2, 0);
/// The oldest and the newest minor versions of 1.x whose defaults were read.
const KNOWN_MINORS: std::ops::RangeInclusive<u32> = 9..=20;

/// When a reused source port gets a new backend (`bpf/lib/conntrack.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebalance {
    /// Not while the entry exists: up to 1.11.
    Never,
    /// Once the grace has passed since the close, on kernels from 5.2 on: 1.12 to 1.15.
    AfterGrace,
    /// The same, where the grace is `bpf-ct-timeout-service-any`: the first form of that change, as backported.
    AfterServiceAny,
    /// At once: from 1.16 on.
    Always,
}

/// What an agent's build does, apart from its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// When a reused source port gets a new backend.
    pub rebalance: Rebalance,
    /// Whether an entry that its client closed lives for the closing time only: from 1.15.8 on.
    pub closes_early: bool,
}

impl Build {
    /// What an upstream version does.
    pub fn of(version: Version) -> Self {
        let rebalance = if version.at_least(1, 16) {
            Rebalance::Always
        } else if version.at_least(1, 12) {
            Rebalance::AfterGrace
        } else {
            Rebalance::Never
        };
        Self {
            rebalance,
            closes_early: version >= Version::new(1, 15, 8),
        }
    }
}

/// Cilium's settings on a node, for an upstream agent.
pub fn effective(version: &Known<Val<Version>>, kernel: &str, lookup: Lookup<'_>) -> Cilium {
    let build = version
        .as_ref()
        .map(|version| Build::of(version.value))
        .map_err(Clone::clone);
    effective_of(version, &build, kernel, lookup)
}

/// The same for an agent whose build differs from its version.
pub fn effective_of(
    version: &Known<Val<Version>>,
    build: &Known<Build>,
    kernel: &str,
    lookup: Lookup<'_>,
) -> Cilium {
    let reader = Reader {
        version: version.as_ref().ok(),
        lookup,
    };
    let numbers = reader.version.map(|version| version.value);
    let old_life = numbers.is_some_and(|version| !version.at_least(1, 15));
    let service_tcp_seconds = reader.seconds(
        "bpf-ct-timeout-service-tcp",
        if old_life {
            SERVICE_TCP_SECONDS_UP_TO_1_14
        } else {
            SERVICE_TCP_SECONDS
        },
    );
    let has_grace = numbers.is_none_or(|version| version.at_least(1, 12));
    let service_tcp_grace_seconds =
        has_grace.then(|| reader.seconds("bpf-ct-timeout-service-tcp-grace", SERVICE_TCP_GRACE_SECONDS));
    let service_any_seconds = reader.seconds("bpf-ct-timeout-service-any", SERVICE_ANY_SECONDS);
    let replacement = reader.replacement();
    let socket_lb = reader.socket_lb(&replacement);
    let pin = Pin {
        build: build.as_ref().map_err(Clone::clone).copied(),
        origin: reader.usual((), "port reuse").origin,
        kernel,
        entry: &service_tcp_seconds,
        grace: service_tcp_grace_seconds.as_ref(),
        any: &service_any_seconds,
        fin: &reader.seconds("bpf-ct-timeout-regular-tcp-fin", REGULAR_TCP_FIN_SECONDS),
    };
    Cilium {
        version: version
            .clone()
            .map(|version| version.map(|version| version.to_string().into())),
        port_pin: pin.judge(Some(&socket_lb)),
        outside_port_pin: pin.judge(None),
        serves_outside: reader.serves_outside(&replacement),
        gc_interval_seconds: reader.seconds("conntrack-gc-interval", 0),
        algorithm: reader.algorithm(),
        follows_hints: reader
            .boolean("enable-service-topology")
            .map(|declared| declared.unwrap_or_else(|| reader.usual(false, "enable-service-topology"))),
        replaces_kube_proxy: replacement.map(|val| val.map(|mode| mode == Replacement::Full)),
        service_tcp_seconds,
        service_tcp_grace_seconds,
        service_any_seconds,
        socket_lb,
    }
}

/// `kube-proxy-replacement`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replacement {
    Full,
    /// Up to 1.15: each part by its own key.
    Partial,
    /// Up to 1.15: whatever the kernel is able to do.
    Probe,
    None,
    /// Up to 1.15: `disabled`, which switches every part off.
    Disabled,
}

struct Reader<'a> {
    version: Option<&'a Val<Version>>,
    lookup: Lookup<'a>,
}

impl Reader<'_> {
    /// A default: known for a version that was read, assumed otherwise.
    fn usual<T>(&self, value: T, key: &str) -> Val<T> {
        let Some(version) = self.version else {
            return Val::assumed(
                value,
                format!("default of {key} in recent Cilium, whose version is not known here"),
            );
        };
        let number = version.value;
        let read =
            number.major == 1 && KNOWN_MINORS.contains(&number.minor) && version.origin != Origin::Assumed;
        let source = format!("Cilium {number} default of {key} ({FLAGS_FILE})");
        Val {
            value,
            origin: if read { Origin::Default } else { Origin::Assumed },
            source: source.into(),
        }
    }

    fn seconds(&self, key: &str, usual: i64) -> Known<Val<i64>> {
        let Some((text, place)) = (self.lookup)(key) else {
            return Ok(self.usual(usual, key));
        };
        let source = format!("{place} {key}: {}", shorten(&text));
        let wrong = |why: &str| Err(Gap::Opaque(format!("{source}: {why}").into()));
        match GoDuration::parse(text.trim()) {
            Err(error) => wrong(&error.to_string()),
            Ok(duration) if duration.is_negative() => wrong("expected 0s or more"),
            Ok(duration) if u32::try_from(duration.seconds()).is_err() => {
                wrong("expected at most 4294967295s")
            }
            Ok(duration) => Ok(Val::declared(duration.seconds(), source)),
        }
    }

    fn boolean(&self, key: &str) -> Known<Option<Val<bool>>> {
        let Some((text, place)) = (self.lookup)(key) else {
            return Ok(None);
        };
        let source = format!("{place} {key}: {}", shorten(&text));
        match go_bool(text.trim()) {
            Some(value) => Ok(Some(Val::declared(value, source))),
            None => Err(Gap::Opaque(format!("{source}: expected true or false").into())),
        }
    }

    fn algorithm(&self) -> Known<Val<Arc<str>>> {
        const KEY: &str = "bpf-lb-algorithm";
        // The second is the hidden old name.
        let Some((text, place)) = (self.lookup)(KEY).or_else(|| (self.lookup)("node-port-algorithm")) else {
            return Ok(self.usual(Arc::from("random"), KEY));
        };
        let source = format!("{place} {KEY}: {}", shorten(&text));
        match text.trim() {
            name @ ("random" | "maglev") => Ok(Val::declared(name.into(), source)),
            _ => Err(Gap::Opaque(format!("{source}: expected random or maglev").into())),
        }
    }

    fn replacement(&self) -> Known<Val<Replacement>> {
        const KEY: &str = "kube-proxy-replacement";
        let at_least = |minor| {
            self.version
                .is_none_or(|version| version.value.at_least(1, minor))
        };
        let Some((text, place)) = (self.lookup)(KEY) else {
            return Ok(self.usual(
                if at_least(14) {
                    Replacement::None
                } else {
                    Replacement::Partial
                },
                KEY,
            ));
        };
        let source = format!("{place} {KEY}: {}", shorten(&text));
        let (words, booleans) = match self.version.map(|version| version.value) {
            None => (true, true),
            Some(version) => (!version.at_least(1, 16), version.at_least(1, 14)),
        };
        let mode = match text.trim() {
            "strict" if words => Replacement::Full,
            "partial" if words => Replacement::Partial,
            "probe" if words => Replacement::Probe,
            "disabled" if words => Replacement::Disabled,
            other => match go_bool(other) {
                Some(true) if booleans => Replacement::Full,
                Some(false) if booleans => Replacement::None,
                _ => {
                    let expected = if booleans {
                        "true or false"
                    } else {
                        "strict, partial, probe or disabled"
                    };
                    return Err(Gap::Opaque(format!("{source}: expected {expected}").into()));
                }
            },
        };
        Ok(Val::declared(mode, source))
    }

    /// Whether node ports and external addresses are Cilium's: with the replacement, or by a key of their own. Without,
    /// only Services that Pods ask for are (`Documentation/network/kubernetes/kubeproxy-free.rst`).
    fn serves_outside(&self, replacement: &Known<Val<Replacement>>) -> Known<Val<bool>> {
        let replacement = replacement.clone()?;
        match replacement.value {
            Replacement::Full => Ok(replacement.map(|_| true)),
            Replacement::Disabled => Ok(replacement.map(|_| false)),
            Replacement::Probe => Err(Gap::Opaque(
                format!(
                    "{}: what it switches on depends on the kernel",
                    replacement.source
                )
                .into(),
            )),
            Replacement::Partial | Replacement::None => {
                let declared = self.boolean("enable-node-port")?;
                Ok(declared.unwrap_or_else(|| self.usual(false, "enable-node-port")))
            }
        }
    }

    /// Full replacement switches socket load balancing on whatever `bpf-lb-sock` says, and charts write `false` there.
    fn socket_lb(&self, replacement: &Known<Val<Replacement>>) -> Known<Val<SocketLb>> {
        let replacement = replacement.clone()?;
        let on = match replacement.value {
            Replacement::Full => replacement.map(|_| true),
            Replacement::Disabled => replacement.map(|_| false),
            Replacement::Probe => {
                return Err(Gap::Opaque(
                    format!(
                        "{}: what it switches on depends on the kernel",
                        replacement.source
                    )
                    .into(),
                ));
            }
            Replacement::Partial | Replacement::None => {
                let old = self.version.is_some_and(|version| !version.value.at_least(1, 12));
                let key = if old {
                    "enable-host-reachable-services"
                } else {
                    "bpf-lb-sock"
                };
                self.boolean(key)?.unwrap_or_else(|| self.usual(false, key))
            }
        };
        if !on.value {
            return Ok(on.map(|_| SocketLb::Off));
        }
        match self.boolean("bpf-lb-sock-hostns-only")? {
            Some(only) if only.value => Ok(only.map(|_| SocketLb::HostOnly)),
            _ => Ok(on.map(|_| SocketLb::On)),
        }
    }
}

/// What Go's `strconv.ParseBool` reads.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

struct Pin<'a> {
    build: Known<Build>,
    /// How well the version is known.
    origin: Origin,
    kernel: &'a str,
    entry: &'a Known<Val<i64>>,
    grace: Option<&'a Known<Val<i64>>>,
    any: &'a Known<Val<i64>>,
    fin: &'a Known<Val<i64>>,
}

impl Pin<'_> {
    /// `socket_lb` is `None` for connections that it never touches.
    fn judge(&self, socket_lb: Option<&Known<Val<SocketLb>>>) -> Known<Val<PortPin>> {
        if let Some(Ok(Val {
            value: SocketLb::On,
            origin,
            source,
        })) = socket_lb
        {
            return Ok(Val {
                value: PortPin::None,
                origin: *origin,
                source: source.clone(),
            });
        }
        let build = self.build.clone()?;
        if build.rebalance == Rebalance::Always {
            let source =
                "Cilium from 1.16 on selects anew for every SYN on a closing entry (bpf/lib/conntrack.h)";
            return Ok(Val {
                value: PortPin::None,
                origin: self.origin,
                source: source.into(),
            });
        }
        if let Some(Err(gap)) = socket_lb {
            return Err(gap.clone());
        }
        let grace = match build.rebalance {
            Rebalance::AfterServiceAny => Some(self.any),
            Rebalance::AfterGrace => self.grace,
            Rebalance::Never | Rebalance::Always => None,
        };
        if let Some(grace) = grace {
            let kernel = Version::parse(self.kernel).ok_or_else(|| {
                Gap::Opaque(format!("the kernel version `{}` cannot be read", shorten(self.kernel)).into())
            })?;
            if kernel >= KERNEL_OF_LARGE_PROGRAMS {
                return grace.clone().map(|grace| grace.map(PortPin::Grace));
            }
        }
        let life = if build.closes_early { self.fin } else { self.entry };
        life.clone().map(|life| life.map(PortPin::Entry))
    }
}
