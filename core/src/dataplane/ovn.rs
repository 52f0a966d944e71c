//! Products whose load balancers carry Services and whose timeouts are not read here: OVN-Kubernetes, Kube-OVN and
//! others. What they leave to kube-proxy is known all the same.

use super::ProxyMode;
use super::entry::{ByEntry, Carrier, Handling};
use super::tree::shorten;
use crate::know::{Gap, Known, Val};

/// Namespaces that OVN-Kubernetes lives in (`ovn-org/ovn-kubernetes`, `dist/templates`; `openshift/cluster-network-operator`,
/// `bindata/network/ovn-kubernetes`).
pub const HOMES: &[&str] = &["ovn-kubernetes", "openshift-ovn-kubernetes"];

/// OVN-Kubernetes: OVN load balancers carry all of it, and no kube-proxy is deployed (its `docs/design`).
pub fn ovn_kubernetes(place: &str) -> Carrier {
    unread(
        "OVN-Kubernetes",
        place,
        &ByEntry {
            direct: false,
            ..ByEntry::all(&true)
        },
    )
}

/// Kube-OVN: with `--enable-lb`, on unless set, OVN load balancers carry what Pods open; the node's own connections
/// and node ports stay kube-proxy's (`cmd/controller`, `pkg/controller/config.go`).
///
/// `controller` is the command line of its controller, where that was read.
pub fn kube_ovn(place: &str, controller: Option<&[String]>) -> Known<Option<Carrier>> {
    let enabled =
        controller
            .into_iter()
            .flatten()
            .rev()
            .find_map(|word| match word.strip_prefix("--enable-lb")? {
                "" => Some("true"),
                flag => flag.strip_prefix('='),
            });
    match enabled {
        None | Some("true" | "1") => Ok(Some(unread(
            "Kube-OVN",
            place,
            &ByEntry {
                pod: true,
                ..ByEntry::all(&false)
            },
        ))),
        Some("false" | "0") => Ok(None),
        Some(other) => Err(Gap::Opaque(
            format!("{place} --enable-lb={}: expected true or false", shorten(other)).into(),
        )),
    }
}

/// Another product that stands in kube-proxy's place.
pub fn other(name: &str, place: &str) -> Carrier {
    unread(
        name,
        place,
        &ByEntry {
            direct: false,
            ..ByEntry::all(&true)
        },
    )
}

fn unread(name: &str, place: &str, own: &ByEntry<bool>) -> Carrier {
    let why = format!("{name} carries Services ({place}), and its timeouts are not read");
    let gap = Gap::UnsupportedDataPlane(why.into());
    let mut tcp = own.map(|own| {
        if *own {
            Handling::Own(Err(gap.clone()))
        } else {
            Handling::KubeProxy
        }
    });
    if !own.direct {
        tcp.direct = Handling::Free;
    }
    Carrier {
        name: name.into(),
        mode: Ok(Val::declared(ProxyMode::Other, format!("{name} ({place})"))),
        udp: tcp.clone(),
        tcp,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, true)]
    #[case(Some(&["--enable-lb=true"][..]), true)]
    #[case(Some(&["--enable-lb-svc=false"][..]), true)]
    #[case(Some(&["--enable-lb=false"][..]), false)]
    fn kube_ovn_by_its_controller(#[case] argv: Option<&[&str]>, #[case] carries: bool) {
        let argv: Option<Vec<String>> =
            argv.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        let found = kube_ovn("DaemonSet kube-system/kube-ovn-cni", argv.as_deref()).unwrap();
        assert_eq!(found.is_some(), carries);
        assert!(
            found.is_none_or(
                |one| one.tcp.pod != Handling::KubeProxy && one.tcp.outside == Handling::KubeProxy
            )
        );
    }
}
