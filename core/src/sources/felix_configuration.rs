//! `crd.projectcalico.org/v1/FelixConfiguration`: whether Calico's eBPF data plane takes kube-proxy's place.

use serde::Deserialize;

use super::kind::Kind;
use super::{Named, Row, Why, or_default};
use crate::names::{Key, Names};

/// What a FelixConfiguration says. That of the name `default` is for all nodes, `node.NAME` for one
/// (`projectcalico/calico`, `felix/calc/config_batcher.go`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FelixConfiguration {
    /// `spec.bpfEnabled`; `None` when it does not say, which is off unless the environment of `calico-node` says more
    /// (`FELIX_BPFENABLED`).
    pub bpf_enabled: Option<bool>,
}

/// What is read of the object.
#[derive(Deserialize)]
pub struct Wire<'a> {
    #[serde(borrow)]
    metadata: Named<'a>,
    #[serde(default, deserialize_with = "or_default")]
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    bpf_enabled: Option<bool>,
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

    type Wire<'a> = Wire<'a>;

    fn of(wire: Wire<'_>, names: &mut Names) -> Result<(Key, Self), Why> {
        let key = wire.metadata.key(names)?;
        let bpf_enabled = wire.spec.bpf_enabled;
        Ok((key, Self { bpf_enabled }))
    }
}
