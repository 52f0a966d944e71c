//! What a node does with Service traffic, from all products that run on it.
//!
//! The hop that a Pod's connection to a Service takes decides, not the proxy mode alone: beside Cilium, kube-proxy
//! may run and still see nothing of it, because Cilium translates per packet before.

use std::sync::Arc;

use super::entry::{ByEntry, Carrier, ConnectionTable, Handling};
use super::kube_proxy::Settings;
use super::version::Version;
use super::{Cilium, Profile, ProxyMode, SocketLb, linux};
use crate::know::{Gap, Known, Val};

/// The first kernel on which kube-proxy runs nftables: `pkg/util/kernel/constants.go`.
const KERNEL_OF_NFTABLES: Version = Version::new(5, 13, 0);

/// What was found on a node.
#[derive(Debug, Clone)]
pub struct NodeInputs<'a> {
    /// `status.nodeInfo.operatingSystem`.
    pub os: &'a str,
    /// `status.nodeInfo.kernelVersion`.
    pub kernel: &'a str,
    /// `status.nodeInfo.kubeletVersion`.
    pub kubelet_version: &'a str,
    /// kube-proxy's settings; `None` where no kube-proxy runs.
    pub kube_proxy: Option<Known<&'a Settings>>,
    /// Cilium's settings; `None` where no Cilium runs.
    pub cilium: Option<Known<&'a Cilium>>,
    /// Another product that carries Services, such as Calico's eBPF data plane.
    pub carrier: Option<Known<&'a Carrier>>,
    /// Whether it is known that no kube-proxy runs, whatever is left of one.
    pub no_kube_proxy: bool,
}

/// The profile of a node.
pub fn profile(inputs: &NodeInputs<'_>) -> Profile {
    let mode = mode(inputs);
    let (tcp_established_seconds, tcp_close_wait_seconds) = conntrack(inputs);
    let tcp_tables = tables(
        inputs,
        &tcp_established_seconds,
        |cilium| &cilium.service_tcp_seconds,
        |carrier| &carrier.tcp,
        Settings::service_tcp_seconds,
    );
    let udp_tables = tables(
        inputs,
        &udp_stream(inputs),
        |cilium| &cilium.service_any_seconds,
        |carrier| &carrier.udp,
        Settings::service_udp_seconds,
    );
    let idle =
        |table: &Known<Option<ConnectionTable>>| table.clone().map(|table| table.map(|table| table.idle));
    let proxy = inputs.kube_proxy.as_ref().and_then(|proxy| proxy.as_ref().ok());
    let ipvs = proxy.filter(|_| mode.as_ref().is_ok_and(|mode| mode.value == ProxyMode::Ipvs));
    Profile {
        os: inputs.os.into(),
        kernel: inputs.kernel.into(),
        scheduler: ipvs.and_then(|proxy| proxy.scheduler.clone()),
        ipvs_tcp_seconds: ipvs.and_then(|proxy| proxy.ipvs_tcp_seconds.clone()),
        service_idle_seconds: idle(&tcp_tables.pod),
        udp_idle_seconds: idle(&udp_tables.pod),
        tcp_tables,
        udp_tables,
        cilium: inputs.cilium.clone().map(Result::<&Cilium, _>::cloned),
        notes: notes(inputs, &mode),
        tcp_established_seconds,
        tcp_close_wait_seconds,
        mode,
    }
}

fn is_windows(inputs: &NodeInputs<'_>) -> bool {
    inputs.os.eq_ignore_ascii_case("windows")
}

/// Why this program cannot judge the node's data plane at all.
fn unsupported(inputs: &NodeInputs<'_>) -> Option<Gap> {
    is_windows(inputs).then(|| Gap::UnsupportedDataPlane("Windows".into()))
}

fn nothing_found() -> Gap {
    Gap::Opaque("neither kube-proxy nor a known replacement was found on this node".into())
}

fn no_kube_proxy() -> Gap {
    Gap::Opaque("no kube-proxy was found, and Cilium is not set to replace it on this node".into())
}

fn mode(inputs: &NodeInputs<'_>) -> Known<Val<ProxyMode>> {
    let replaced = matches!(&inputs.cilium, Some(Ok(cilium)) if cilium.replaces_kube_proxy.as_ref().is_ok_and(|val| val.value));
    if let (Some(carrier), false) = (&inputs.carrier, replaced) {
        return carrier.as_ref().map_err(Clone::clone)?.mode.clone();
    }
    let proxy = match &inputs.kube_proxy {
        Some(Ok(proxy)) => Some(proxy.mode.clone()),
        Some(Err(gap)) => Some(Err(gap.clone())),
        None => None,
    };
    match &inputs.cilium {
        None => proxy.unwrap_or_else(|| Err(nothing_found())),
        Some(Err(gap)) => Err(gap.clone()),
        Some(Ok(cilium)) => {
            let replaces = cilium.replaces_kube_proxy.clone()?;
            if replaces.value {
                return Ok(replaces.map(|_| ProxyMode::Cilium));
            }
            proxy.unwrap_or_else(|| Err(no_kube_proxy()))
        }
    }
}

/// Who writes the node's connection-tracking timeouts: kube-proxy, and without one nobody.
fn conntrack(inputs: &NodeInputs<'_>) -> (Known<Val<i64>>, Known<Val<i64>>) {
    if let Some(gap) = unsupported(inputs) {
        return (Err(gap.clone()), Err(gap));
    }
    let source = format!(
        "no kube-proxy runs here: kernel default ({})",
        linux::CONNTRACK_TCP_FILE
    );
    let kernel = |seconds| Ok(Val::default_of(seconds, source.as_str()));
    let untouched = (
        kernel(linux::TCP_ESTABLISHED_SECONDS),
        kernel(linux::TCP_CLOSE_WAIT_SECONDS),
    );
    let carried = inputs.cilium.is_some() || inputs.carrier.is_some();
    match (&inputs.kube_proxy, &inputs.cilium) {
        (Some(Ok(proxy)), _) => (
            proxy.tcp_established_seconds.clone(),
            proxy.tcp_close_wait_seconds.clone(),
        ),
        (Some(Err(_)), _) if inputs.no_kube_proxy && carried => untouched,
        // What would show a kube-proxy beside it was not read; who replaces it usually takes it away.
        (Some(Err(_)), Some(Ok(cilium)))
            if cilium.replaces_kube_proxy.as_ref().is_ok_and(|val| val.value) =>
        {
            let assumed = |known: Known<Val<i64>>| {
                known.map(|val| {
                    Val::assumed(
                        val.value,
                        format!("{}, assumed as Cilium replaces it", val.source),
                    )
                })
            };
            (assumed(untouched.0), assumed(untouched.1))
        }
        (Some(Err(gap)), _) => (Err(gap.clone()), Err(gap.clone())),
        // Beside a Cilium that leaves Services to it, a kube-proxy runs somewhere that was not read.
        (None, Some(Ok(cilium)))
            if inputs.carrier.is_none()
                && cilium.replaces_kube_proxy.as_ref().is_ok_and(|val| !val.value) =>
        {
            (Err(no_kube_proxy()), Err(no_kube_proxy()))
        }
        (None, _) if carried => untouched,
        (None, _) => (Err(nothing_found()), Err(nothing_found())),
    }
}

/// How long the node's kernel remembers an established connection, for a carrier that follows it.
pub fn tcp_established(inputs: &NodeInputs<'_>) -> Known<Val<i64>> {
    conntrack(inputs).0
}

/// The same for UDP flows that are answered.
fn udp_stream(inputs: &NodeInputs<'_>) -> Known<Val<i64>> {
    match &inputs.kube_proxy {
        Some(Ok(proxy)) => proxy.udp_stream_seconds.clone(),
        Some(Err(gap)) if !inputs.no_kube_proxy => Err(gap.clone()),
        _ => Ok(Val::default_of(
            linux::UDP_STREAM_SECONDS,
            format!(
                "no kube-proxy runs here: kernel default ({})",
                linux::CONNTRACK_UDP_FILE
            ),
        )),
    }
}

/// The table that a connection meets by each way in.
///
/// Who comes first decides: another carrier or Cilium takes what it carries before kube-proxy sees it, and leaves the
/// rest. `tracking` is how long the kernel's connection tracking remembers.
fn tables(
    inputs: &NodeInputs<'_>,
    tracking: &Known<Val<i64>>,
    of_cilium: impl Fn(&Cilium) -> &Known<Val<i64>>,
    of_carrier: impl Fn(&Carrier) -> &ByEntry<Handling>,
    of_proxy: impl Fn(&Settings) -> Known<Val<i64>>,
) -> ByEntry<Known<Option<ConnectionTable>>> {
    if let Some(gap) = unsupported(inputs) {
        let mut all = ByEntry::all(&Err(gap));
        all.direct = Ok(None);
        return all;
    }
    let replaced = matches!(&inputs.cilium, Some(Ok(cilium)) if cilium.replaces_kube_proxy.as_ref().is_ok_and(|val| val.value));
    let (keeper, ways): (Arc<str>, ByEntry<Handling>) = match (&inputs.carrier, &inputs.cilium) {
        (Some(Err(gap)), _) if !replaced => {
            ("unknown".into(), ByEntry::all(&Handling::Own(Err(gap.clone()))))
        }
        (Some(Ok(carrier)), _) if !replaced => (carrier.name.clone(), of_carrier(carrier).clone()),
        (_, Some(Err(gap))) => {
            let mut ways = ByEntry::all(&Handling::Own(Err(gap.clone())));
            ways.direct = Handling::Free;
            ("Cilium".into(), ways)
        }
        (_, Some(Ok(cilium))) => ("Cilium".into(), ways_of_cilium(cilium, of_cilium(cilium))),
        _ => {
            let mut ways = ByEntry::all(&Handling::KubeProxy);
            ways.direct = Handling::Free;
            ("kube-proxy".into(), ways)
        }
    };
    ways.map(|way| {
        let table = |keeper: &str, idle: Known<Val<i64>>| {
            idle.map(|idle| {
                Some(ConnectionTable {
                    keeper: keeper.into(),
                    idle,
                })
            })
        };
        match way {
            Handling::Free => Ok(None),
            Handling::Own(idle) => table(&keeper, idle.clone()),
            Handling::Conntrack => table(&format!("{keeper} conntrack"), tracking.clone()),
            // Connection tracking below may remember for less; where that is not known, IPVS is the bound that is.
            Handling::Ipvs(idle) => {
                let idle = idle.clone().map(|idle| match tracking {
                    Ok(tracking) if tracking.value < idle.value => tracking.clone(),
                    _ => idle,
                });
                table(&format!("{keeper} IPVS"), idle)
            }
            Handling::KubeProxy => match &inputs.kube_proxy {
                Some(proxy) => {
                    let proxy = proxy.as_ref().map_err(Clone::clone)?;
                    let ipvs = proxy.mode.clone()?.value == ProxyMode::Ipvs;
                    table(if ipvs { "IPVS" } else { "conntrack" }, of_proxy(proxy))
                }
                None if inputs.cilium.is_some() || inputs.carrier.is_some() => Err(no_kube_proxy()),
                None => Err(nothing_found()),
            },
        }
    })
}

/// What Cilium does by each way in, with a per-packet table that forgets after `idle`.
///
/// Without the replacement it carries the Services that Pods ask for, and leaves node ports and the node's own
/// connections to kube-proxy (`Documentation/network/kubernetes/kubeproxy-free.rst`). Socket load balancing takes the
/// connections of processes at `connect()`; what comes from outside is always translated per packet
/// (`nodeport_svc_lb4` and `lb4_local` in `bpf/lib/nodeport.h`).
fn ways_of_cilium(cilium: &Cilium, idle: &Known<Val<i64>>) -> ByEntry<Handling> {
    let table = || Handling::Own(idle.clone());
    let unknown = |gap: &Gap| Handling::Own(Err(gap.clone()));
    let (pod, host) = match &cilium.socket_lb {
        Ok(val) => match val.value {
            SocketLb::On => (Handling::Free, Handling::Free),
            SocketLb::HostOnly => (table(), Handling::Free),
            SocketLb::Off => (table(), Handling::KubeProxy),
        },
        Err(gap) => (unknown(gap), unknown(gap)),
    };
    let outside = match &cilium.serves_outside {
        Ok(val) if val.value => table(),
        Ok(_) => Handling::KubeProxy,
        Err(gap) => unknown(gap),
    };
    ByEntry {
        pod,
        host,
        outside,
        direct: Handling::Free,
    }
}

fn notes(inputs: &NodeInputs<'_>, mode: &Known<Val<ProxyMode>>) -> Vec<Arc<str>> {
    let mut notes: Vec<Arc<str>> = Vec::new();
    let proxy = inputs.kube_proxy.as_ref().and_then(|proxy| proxy.as_ref().ok());
    if let Some(proxy) = proxy {
        notes.extend(proxy.notes.iter().cloned());
    }
    let Ok(mode) = mode else { return notes };
    match mode.value {
        ProxyMode::Cilium if proxy.is_some() => {
            notes.push("kube-proxy runs beside a Cilium that replaces it; Cilium comes first".into());
        }
        ProxyMode::Nftables
            if Version::parse(inputs.kernel).is_some_and(|kernel| kernel < KERNEL_OF_NFTABLES) =>
        {
            notes.push(
                format!(
                    "kube-proxy's mode nftables expects kernel 5.13 or later, this is {}",
                    inputs.kernel
                )
                .into(),
            );
        }
        ProxyMode::Ipvs
            if Version::parse(inputs.kubelet_version).is_some_and(|version| version.at_least(1, 35)) =>
        {
            let note = super::kube_proxy::IPVS_DEPRECATED;
            if !notes.iter().any(|known| &**known == note) {
                notes.push(note.into());
            }
        }
        _ => {}
    }
    notes
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::dataplane::cilium;
    use crate::dataplane::entry::Entry;
    use crate::dataplane::kube_proxy::{ConfigSource, settings};
    use crate::know::Origin;

    fn proxy(args: &[&str]) -> Settings {
        let argv: Vec<_> = std::iter::once("kube-proxy")
            .chain(args.iter().copied())
            .map(str::to_owned)
            .collect();
        settings(
            &ConfigSource::Flags {
                argv: &argv,
                place: "DaemonSet kube-proxy",
            },
            "linux",
            None,
        )
        .unwrap()
    }

    fn cilium_of(version: Version, keys: &[(&str, &str)]) -> Cilium {
        let lookup = |key: &str| {
            let found = keys.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| ((*value).to_owned(), Arc::from("ConfigMap cilium-config")))
        };
        cilium::effective(&Ok(Val::declared(version, "image")), "5.10.0", &lookup)
    }

    fn inputs<'a>(proxy: Option<&'a Settings>, cilium: Option<&'a Cilium>) -> NodeInputs<'a> {
        NodeInputs {
            os: "linux",
            kernel: "5.10.0",
            kubelet_version: "v1.34.1",
            kube_proxy: proxy.map(Ok),
            cilium: cilium.map(Ok),
            carrier: None,
            no_kube_proxy: false,
        }
    }

    #[test]
    fn ipvs_bounds_at_the_kernels_value() {
        let proxy = proxy(&["--proxy-mode=ipvs"]);
        let got = profile(&inputs(Some(&proxy), None));
        let idle = got.service_idle_seconds.unwrap().unwrap();
        assert_eq!((idle.value, idle.origin), (900, Origin::Default));
        assert_eq!(got.udp_idle_seconds.unwrap().unwrap().value, 300);
        assert!(got.scheduler.is_some() && got.ipvs_tcp_seconds.is_some());
    }

    #[rstest]
    #[case(&[("kube-proxy-replacement", "false")], Some(8000), ProxyMode::Ipvs)]
    #[case(&[("kube-proxy-replacement", "true")], None, ProxyMode::Cilium)]
    #[case(&[("kube-proxy-replacement", "true"), ("bpf-lb-sock-hostns-only", "true")], Some(8000), ProxyMode::Cilium)]
    fn cilium_comes_first(#[case] keys: &[(&str, &str)], #[case] idle: Option<i64>, #[case] mode: ProxyMode) {
        let (proxy, cilium) = (
            proxy(&["--proxy-mode=ipvs"]),
            cilium_of(Version::new(1, 18, 2), keys),
        );
        let got = profile(&inputs(Some(&proxy), Some(&cilium)));
        assert_eq!(got.service_idle_seconds.unwrap().map(|idle| idle.value), idle);
        assert_eq!(got.mode.unwrap().value, mode);
        assert_eq!(got.ipvs_tcp_seconds.is_some(), mode == ProxyMode::Ipvs);
        assert_eq!(got.notes.len(), usize::from(mode == ProxyMode::Cilium));
        assert_eq!(got.tcp_established_seconds.unwrap().value, 86_400);
    }

    #[test]
    fn connection_tracking_below_ipvs_may_remember_for_less() {
        let argv = ["kube-router".to_owned()];
        let router = crate::dataplane::kube_router::carrier(&argv, "DaemonSet kube-router");
        let (router, proxy) = (
            router.unwrap().unwrap(),
            proxy(&["--conntrack-tcp-timeout-established=5m"]),
        );
        let inputs = NodeInputs {
            carrier: Some(Ok(&router)),
            ..inputs(Some(&proxy), None)
        };
        assert_eq!(profile(&inputs).service_idle_seconds.unwrap().unwrap().value, 300);
    }

    #[test]
    fn where_cilium_replaces_kube_proxy_it_does_not_matter_what_else_cannot_be_read() {
        let cilium = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "true")]);
        let inputs = NodeInputs {
            carrier: Some(Err(Gap::Opaque("unreadable".into()))),
            ..inputs(None, Some(&cilium))
        };
        assert_eq!(profile(&inputs).service_idle_seconds.unwrap(), None);
    }

    #[test]
    fn without_kube_proxy_nobody_writes_the_timeouts() {
        let cilium = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "true")]);
        let got = profile(&inputs(None, Some(&cilium)));
        assert_eq!(got.tcp_established_seconds.unwrap().value, 432_000);
    }

    #[test]
    fn gaps_stay_gaps() {
        let nothing = profile(&inputs(None, None));
        assert!(matches!(nothing.service_idle_seconds, Err(Gap::Opaque(_))) && nothing.mode.is_err());

        let (ipvs, gap) = (proxy(&["--proxy-mode=ipvs"]), Gap::Opaque("unreadable".into()));
        let cilium = NodeInputs {
            cilium: Some(Err(gap.clone())),
            ..inputs(Some(&ipvs), None)
        };
        assert_eq!(profile(&cilium).service_idle_seconds, Err(gap.clone()));
        let broken = NodeInputs {
            kube_proxy: Some(Err(gap.clone())),
            ..inputs(None, None)
        };
        assert_eq!(profile(&broken).mode, Err(gap));

        let alone = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "false")]);
        let got = profile(&inputs(None, Some(&alone)));
        assert!(got.mode.is_err() && got.tcp_established_seconds.is_err());
        assert_eq!(got.service_idle_seconds.unwrap().unwrap().value, 8000);
        let bad = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", "perhaps")]);
        assert!(profile(&inputs(None, Some(&bad))).service_idle_seconds.is_err());
    }

    #[test]
    fn what_is_not_supported_says_so() {
        let iptables = proxy(&[]);
        let ovn = crate::dataplane::ovn::ovn_kubernetes("DaemonSet ovn/ovnkube-node");
        let ovn = NodeInputs {
            carrier: Some(Ok(&ovn)),
            ..inputs(Some(&iptables), None)
        };
        let windows = NodeInputs {
            os: "windows",
            ..inputs(Some(&iptables), None)
        };
        for got in [profile(&ovn), profile(&windows)] {
            assert!(matches!(
                got.service_idle_seconds,
                Err(Gap::UnsupportedDataPlane(_))
            ));
        }
        assert_eq!(profile(&ovn).mode.unwrap().value, ProxyMode::Other);
    }

    /// What a connection meets by each way in: seconds and whose table, or that it meets none.
    fn met(got: &Profile) -> [String; 4] {
        [Entry::Pod, Entry::Host, Entry::Outside, Entry::Direct].map(|entry| match got.table(entry, false) {
            Ok(None) => "none".into(),
            Ok(Some(table)) => format!("{} {}", table.keeper, table.idle.value),
            Err(_) => "unknown".into(),
        })
    }

    #[rstest]
    #[case::beside(&[("kube-proxy-replacement", "false")], ["Cilium 8000", "IPVS 900", "IPVS 900", "none"])]
    #[case::node_ports_too(
        &[("kube-proxy-replacement", "false"), ("enable-node-port", "true")],
        ["Cilium 8000", "IPVS 900", "Cilium 8000", "none"],
    )]
    #[case::sockets_beside(
        &[("kube-proxy-replacement", "false"), ("bpf-lb-sock", "true")],
        ["none", "none", "IPVS 900", "none"],
    )]
    #[case::in_place(&[("kube-proxy-replacement", "true")], ["none", "none", "Cilium 8000", "none"])]
    #[case::in_place_for_the_host(
        &[("kube-proxy-replacement", "true"), ("bpf-lb-sock-hostns-only", "true")],
        ["Cilium 8000", "none", "Cilium 8000", "none"],
    )]
    fn cilium_by_the_way_in(#[case] keys: &[(&str, &str)], #[case] expected: [&str; 4]) {
        let (proxy, cilium) = (
            proxy(&["--proxy-mode=ipvs"]),
            cilium_of(Version::new(1, 18, 2), keys),
        );
        assert_eq!(met(&profile(&inputs(Some(&proxy), Some(&cilium)))), expected);
    }

    #[rstest]
    #[case::alone(None, ["conntrack 86400", "conntrack 86400", "conntrack 86400", "none"])]
    #[case::calico(Some("calico"), ["Calico eBPF 3600", "Calico eBPF 3600", "Calico eBPF 3600", "Calico eBPF 3600"])]
    #[case::antrea(
        Some("antrea"),
        ["Antrea conntrack 86400", "conntrack 86400", "conntrack 86400", "none"],
    )]
    #[case::kube_router(
        Some("kube-router"),
        ["kube-router IPVS 900", "kube-router IPVS 900", "kube-router IPVS 900", "none"],
    )]
    #[case::kube_ovn(Some("kube-ovn"), ["unknown", "conntrack 86400", "conntrack 86400", "none"])]
    #[case::ovn(Some("ovn"), ["unknown", "unknown", "unknown", "none"])]
    fn carriers_beside_kube_proxy(#[case] product: Option<&str>, #[case] expected: [&str; 4]) {
        use crate::dataplane::{antrea, calico, kube_router, ovn};
        let proxy = proxy(&[]);
        let felix = calico::FelixConfig {
            enabled: Some(calico::FelixValue::Text("true")),
            ..calico::FelixConfig::default()
        };
        let carrier = match product {
            Some("calico") => calico::carrier(&[felix], &proxy.tcp_established_seconds).unwrap(),
            Some("antrea") => antrea::carrier(None, "").unwrap(),
            Some("kube-router") => kube_router::carrier(&[], "").unwrap(),
            Some("kube-ovn") => ovn::kube_ovn("", None).unwrap(),
            Some("ovn") => Some(ovn::ovn_kubernetes("")),
            _ => None,
        };
        let got = profile(&NodeInputs {
            carrier: carrier.as_ref().map(Ok),
            ..inputs(Some(&proxy), None)
        });
        assert_eq!(met(&got), expected);
    }

    #[test]
    fn notes_by_kernel_and_kubelet() {
        let (nft, ipvs) = (proxy(&["--proxy-mode=nftables"]), proxy(&["--proxy-mode=ipvs"]));
        assert_eq!(profile(&inputs(Some(&nft), None)).notes.len(), 1);
        let new = NodeInputs {
            kubelet_version: "v1.35.0",
            ..inputs(Some(&ipvs), None)
        };
        assert_eq!(profile(&new).notes.len(), 1);
    }

    /// The conntrack timeouts where what would show a kube-proxy was not read.
    #[rstest]
    #[case::cilium_replaces_it("true", Some((432_000, Origin::Assumed)))]
    #[case::cilium_leaves_services_to_it("false", None)]
    #[case::not_known("perhaps", None)]
    fn kube_proxy_that_was_not_read(#[case] replaces: &str, #[case] expected: Option<(i64, Origin)>) {
        let cilium = cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", replaces)]);
        let got = profile(&NodeInputs {
            kube_proxy: Some(Err(Gap::Opaque("not read".into()))),
            ..inputs(None, Some(&cilium))
        });
        let established = got.tcp_established_seconds.ok();
        assert_eq!(established.map(|val| (val.value, val.origin)), expected);
    }

    /// Why the table of connections from outside is not known where nothing carries them.
    #[rstest]
    #[case::nothing(None, None, nothing_found())]
    #[case::cilium(Some("false"), None, no_kube_proxy())]
    #[case::antrea(None, Some("antrea"), no_kube_proxy())]
    fn nothing_carries_it(
        #[case] replaces: Option<&str>,
        #[case] carrier: Option<&str>,
        #[case] expected: Gap,
    ) {
        let cilium = replaces
            .map(|replaces| cilium_of(Version::new(1, 18, 2), &[("kube-proxy-replacement", replaces)]));
        let carrier = carrier.and_then(|_| crate::dataplane::antrea::carrier(None, "").unwrap());
        let got = profile(&NodeInputs {
            carrier: carrier.as_ref().map(Ok),
            ..inputs(None, cilium.as_ref())
        });
        assert_eq!(got.tcp_tables.outside, Err(expected));
    }

    #[rstest]
    #[case("5.12.19", 1)]
    #[case("5.13.0", 0)]
    #[case("6.1.0", 0)]
    #[case("unknown", 0)]
    fn nftables_expects_a_kernel(#[case] kernel: &str, #[case] notes: usize) {
        let proxy = proxy(&["--proxy-mode=nftables"]);
        let got = profile(&NodeInputs {
            kernel,
            ..inputs(Some(&proxy), None)
        });
        assert_eq!(got.notes.len(), notes, "{:?}", got.notes);
    }
}
