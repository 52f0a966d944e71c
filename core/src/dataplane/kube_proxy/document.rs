//! A `KubeProxyConfiguration` document, decoded the way kube-proxy decodes it.
//!
//! kube-proxy decodes strictly and, where that fails, once more leniently with a warning in its log: keys that are
//! unknown or in the wrong case are then dropped, and of repeated keys the last one counts. A value of the wrong
//! type is refused both times: `tcpTimeout: 900`, `tcpTimeout: 0` and `tcpTimeout: null` keep it from starting,
//! while a `null` for `tcpEstablishedTimeout`, a pointer, is the default. Checked against the v1.36 types.

use std::sync::Arc;

use super::{Absent, NAMES, Raw, refused};
use crate::dataplane::duration::GoDuration;
use crate::dataplane::tree::{Tree, shorten};
use crate::dataplane::version::Version;
use crate::know::{Gap, Known, Origin};

const API_GROUP: &str = "kubeproxy.config.k8s.io";
const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";

/// The type of a field, as far as decoding can fail on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Bool,
    Int,
    Float,
    /// A `metav1.Duration`.
    Duration,
    /// A pointer to one: `null` is absence.
    DurationPointer,
    Texts,
    Bools,
    Any,
}

/// Every field with its type and the minor version of 1.x that brought it (0: older than what is read here), from
/// `staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go`.
const FIELDS: &[(&str, Type, u32)] = &[
    ("apiVersion", Type::Text, 0),
    ("kind", Type::Text, 0),
    ("featureGates", Type::Bools, 0),
    ("clientConnection.kubeconfig", Type::Text, 0),
    ("clientConnection.acceptContentTypes", Type::Text, 0),
    ("clientConnection.contentType", Type::Text, 0),
    ("clientConnection.qps", Type::Float, 0),
    ("clientConnection.burst", Type::Int, 0),
    ("logging", Type::Any, 28),
    ("hostnameOverride", Type::Text, 0),
    ("bindAddress", Type::Text, 0),
    ("healthzBindAddress", Type::Text, 0),
    ("metricsBindAddress", Type::Text, 0),
    ("bindAddressHardFail", Type::Bool, 0),
    ("enableProfiling", Type::Bool, 0),
    ("showHiddenMetricsForVersion", Type::Text, 0),
    ("mode", Type::Text, 0),
    ("iptables.masqueradeBit", Type::Int, 0),
    ("iptables.masqueradeAll", Type::Bool, 0),
    ("iptables.localhostNodePorts", Type::Bool, 26),
    ("iptables.syncPeriod", Type::Duration, 0),
    ("iptables.minSyncPeriod", Type::Duration, 0),
    ("ipvs.syncPeriod", Type::Duration, 0),
    ("ipvs.minSyncPeriod", Type::Duration, 0),
    ("ipvs.scheduler", Type::Text, 0),
    ("ipvs.excludeCIDRs", Type::Texts, 0),
    ("ipvs.strictARP", Type::Bool, 0),
    ("ipvs.tcpTimeout", Type::Duration, 18),
    ("ipvs.tcpFinTimeout", Type::Duration, 18),
    ("ipvs.udpTimeout", Type::Duration, 18),
    ("nftables.masqueradeBit", Type::Int, 29),
    ("nftables.masqueradeAll", Type::Bool, 29),
    ("nftables.syncPeriod", Type::Duration, 29),
    ("nftables.minSyncPeriod", Type::Duration, 29),
    ("winkernel.networkName", Type::Text, 0),
    ("winkernel.sourceVip", Type::Text, 0),
    ("winkernel.enableDSR", Type::Bool, 0),
    ("winkernel.rootHnsEndpointName", Type::Text, 0),
    ("winkernel.forwardHealthCheckVip", Type::Bool, 0),
    ("detectLocalMode", Type::Text, 18),
    ("detectLocal.bridgeInterface", Type::Text, 24),
    ("detectLocal.interfaceNamePrefix", Type::Text, 24),
    ("clusterCIDR", Type::Text, 0),
    ("nodePortAddresses", Type::Texts, 0),
    ("oomScoreAdj", Type::Int, 0),
    ("conntrack.maxPerCore", Type::Int, 0),
    ("conntrack.min", Type::Int, 0),
    ("conntrack.tcpEstablishedTimeout", Type::DurationPointer, 0),
    ("conntrack.tcpCloseWaitTimeout", Type::DurationPointer, 0),
    ("conntrack.tcpBeLiberal", Type::Bool, 29),
    ("conntrack.udpTimeout", Type::Duration, 29),
    ("conntrack.udpStreamTimeout", Type::Duration, 29),
    ("configSyncPeriod", Type::Duration, 0),
    ("portRange", Type::Text, 0),
    ("windowsRunAsService", Type::Bool, 31),
];

/// Reads a document from a file.
pub(super) fn read(text: &str, place: &str, version: Option<Version>) -> Known<Raw> {
    let (tree, more) = Tree::from_yaml(text).map_err(|why| {
        Gap::Opaque(format!("{place} is no readable YAML ({why}); kube-proxy does not start with it").into())
    })?;
    let mut raw = read_tree(&tree, place, version, Raw::new(Absent::Default, Origin::Declared))?;
    if more {
        raw.notes
            .push(format!("{place} holds several documents; kube-proxy reads the first only").into());
    }
    Ok(raw)
}

/// Reads a decoded document, also that of `/configz` from 1.36 on.
pub(super) fn read_tree(tree: &Tree, place: &str, version: Option<Version>, mut raw: Raw) -> Known<Raw> {
    let Tree::Map(_) = tree else {
        return Err(refused(
            place,
            "document",
            &format!("{} instead of a {KIND}", tree.kind()),
        ));
    };
    header(tree, place)?;
    Walk {
        place,
        version,
        notes: &mut raw.notes,
    }
    .block(tree, "")?;
    for names in &NAMES {
        let known = FIELDS.iter().find(|(path, ..)| *path == names.field);
        if !known.is_some_and(|(_, _, since)| exists(*since, version)) {
            continue;
        }
        if let Some(text) = tree.at(names.field).and_then(Tree::text) {
            raw.set(names.key, names.field, text, place)?;
        }
    }
    Ok(raw)
}

fn header(tree: &Tree, place: &str) -> Known<()> {
    let written = |key| tree.get(key).and_then(Tree::text).unwrap_or_default();
    let (api, kind) = (written("apiVersion"), written("kind"));
    if api == API_VERSION && kind == KIND {
        return Ok(());
    }
    let hint = if api.starts_with(API_GROUP) {
        ", the only version there is"
    } else {
        ""
    };
    Err(refused(
        place,
        "apiVersion and kind",
        &format!(
            "`{}` `{}`, expected `{API_VERSION}`{hint} and `{KIND}`",
            shorten(api),
            shorten(kind)
        ),
    ))
}

fn exists(since: u32, version: Option<Version>) -> bool {
    version.is_none_or(|version| version.at_least(1, since))
}

/// One pass over the document: refuses what kube-proxy refuses, notes what it drops.
struct Walk<'a> {
    place: &'a str,
    version: Option<Version>,
    notes: &'a mut Vec<Arc<str>>,
}

impl Walk<'_> {
    fn block(&mut self, tree: &Tree, prefix: &str) -> Known<()> {
        let Tree::Map(entries) = tree else { return Ok(()) };
        for (index, (key, value)) in entries.iter().enumerate() {
            let path = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            if entries.iter().skip(index + 1).any(|(later, _)| later == key) {
                self.notes.push(
                    format!(
                        "{} writes {} more than once; the last one counts",
                        self.place,
                        shorten(&path)
                    )
                    .into(),
                );
                continue;
            }
            self.entry(&path, value)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, value: &Tree) -> Known<()> {
        if let Some((_, of, since)) = FIELDS.iter().find(|(field, ..)| *field == path) {
            if exists(*since, self.version) {
                return check(value, *of).map_err(|why| refused(self.place, path, &why));
            }
            let version = self
                .version
                .map(|version| version.to_string())
                .unwrap_or_default();
            self.notes.push(
                format!(
                    "{} {path} has no effect: kube-proxy {version} does not know it (since 1.{since})",
                    self.place
                )
                .into(),
            );
            return Ok(());
        }
        let below = format!("{path}.");
        if FIELDS.iter().any(|(field, ..)| field.starts_with(&below)) {
            return match value {
                Tree::Null => Ok(()),
                Tree::Map(_) => self.block(value, path),
                other => Err(refused(self.place, path, &format!("{other}, expected a mapping"))),
            };
        }
        let meant = FIELDS
            .iter()
            .find_map(|(field, ..)| field.get(..path.len()).filter(|f| f.eq_ignore_ascii_case(path)));
        let hint = meant
            .map(|meant| format!(", did you mean {meant}?"))
            .unwrap_or_default();
        self.notes.push(
            format!(
                "{} {} has no effect: kube-proxy does not know it and drops it{hint}",
                self.place,
                shorten(path)
            )
            .into(),
        );
        Ok(())
    }
}

/// Whether Go decodes this value into a field of this type.
fn check(value: &Tree, of: Type) -> Result<(), String> {
    let expected = match (of, value) {
        (Type::Duration, Tree::Null) => "a duration such as 15m0s (not null)",
        (_, Tree::Null)
        | (Type::Text, Tree::Text(_))
        | (Type::Bool, Tree::Bool(_))
        | (Type::Int, Tree::Int(_))
        | (Type::Float, Tree::Int(_) | Tree::Number(_))
        | (Type::Any, _) => return Ok(()),
        (Type::Duration | Type::DurationPointer, Tree::Text(text)) => {
            return GoDuration::parse(text)
                .map(|_| ())
                .map_err(|error| error.to_string());
        }
        (Type::Duration | Type::DurationPointer, _) => "a duration with a unit such as 15m0s",
        (Type::Texts, Tree::List(items)) if items.iter().all(|i| matches!(i, Tree::Text(_) | Tree::Null)) => {
            return Ok(());
        }
        (Type::Bools, Tree::Map(items))
            if items.iter().all(|(_, i)| matches!(i, Tree::Bool(_) | Tree::Null)) =>
        {
            return Ok(());
        }
        (Type::Text, _) => "a text",
        (Type::Bool, _) => "true or false",
        (Type::Int, _) => "a whole number",
        (Type::Float, _) => "a number",
        (Type::Texts, _) => "a list of texts",
        (Type::Bools, _) => "a mapping of names to true or false",
    };
    Err(format!("{value}, expected {expected}"))
}
