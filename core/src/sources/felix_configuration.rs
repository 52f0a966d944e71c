//! `crd.projectcalico.org/v1/FelixConfiguration`: whether Calico's eBPF data plane takes kube-proxy's place.

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, Resource, Row, Text, name_of, or_default};
use crate::names::{Key, Name, Names};

/// What a FelixConfiguration says. That of the name `default` is for all nodes, `node.NAME` for one
/// (`projectcalico/calico`, `felix/calc/config_batcher.go`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FelixConfiguration {
    /// `spec.bpfEnabled`; `None` when it does not say, which is off unless the environment of `calico-node` says more
    /// (`FELIX_BPFENABLED`).
    pub bpf_enabled: Option<bool>,
    /// `spec.bpfConntrackTimeouts.tcpEstablished` as written; empty when absent.
    pub tcp_established: Name,
    /// `spec.bpfConntrackTimeouts.udpTimeout` as written; empty when absent.
    pub udp: Name,
}

/// What is read of its `spec`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    #[serde(default)]
    bpf_enabled: Option<bool>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    bpf_conntrack_timeouts: Timeouts<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Timeouts<'a> {
    #[serde(borrow, default)]
    tcp_established: Option<Text<'a>>,
    #[serde(borrow, default)]
    udp_timeout: Option<Text<'a>>,
}

impl Row for FelixConfiguration {
    const KINDS: &'static [Kind] = &[Kind {
        group: "crd.projectcalico.org",
        namespaced: false,
        ..Kind::v1(
            "FelixConfiguration",
            "felixconfigurations",
            "whether Calico carries Service traffic itself",
        )
    }];

    type Wire<'a> = Resource<'a, Spec<'a>>;

    fn of(wire: Self::Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = wire.metadata.key(names)?;
        let timeouts = &wire.spec.bpf_conntrack_timeouts;
        let row = Self {
            bpf_enabled: wire.spec.bpf_enabled,
            tcp_established: name_of(timeouts.tcp_established.as_ref(), names),
            udp: name_of(timeouts.udp_timeout.as_ref(), names),
        };
        Ok((key, row))
    }
}
