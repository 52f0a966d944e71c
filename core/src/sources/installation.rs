//! `operator.tigera.io/v1/Installation`: what Calico's operator installs.

use serde::Deserialize;

use super::kind::Kind;
use super::{DecodeError, Resource, Row, Text, name_of, or_default};
use crate::names::{Key, Name, Names};

/// What an Installation says. The operator reads only that of the name `default`
/// (`tigera/operator`, `pkg/controller/utils/utils.go`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Installation {
    /// `spec.calicoNetwork.linuxDataplane`: `Iptables`, `BPF`, `Nftables` or `VPP`; empty when it does not say, which is
    /// `Iptables` (`api/v1/installation_types.go`).
    pub linux_dataplane: Name,
}

/// What is read of its `spec`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    calico_network: Network<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Network<'a> {
    #[serde(borrow, default)]
    linux_dataplane: Option<Text<'a>>,
}

impl Row for Installation {
    const KINDS: &'static [Kind] = &[Kind {
        group: "operator.tigera.io",
        namespaced: false,
        ..Kind::v1(
            "Installation",
            "installations",
            "which data plane Calico's operator installs",
        )
    }];

    type Wire<'a> = Resource<'a, Spec<'a>>;

    fn of(wire: Self::Wire<'_>, names: &mut Names) -> Result<(Key, Self), DecodeError> {
        let key = wire.metadata.key(names)?;
        let linux_dataplane = name_of(wire.spec.calico_network.linux_dataplane.as_ref(), names);
        Ok((key, Self { linux_dataplane }))
    }
}
