//! Which table a connection meets by each way in.

use std::sync::Arc;

use super::{NodeInputs, no_kube_proxy, nothing_found, unsupported};
use crate::dataplane::entry::{ByEntry, Carrier, ConnectionTable, Handling};
use crate::dataplane::kube_proxy::Settings;
use crate::dataplane::{Cilium, ProxyMode, SocketLb};
use crate::know::{Gap, Known, Val};

/// The table that a connection meets by each way in.
///
/// Who comes first decides: another carrier or Cilium takes what it carries before kube-proxy sees it, and leaves the
/// rest. `tracking` is how long the kernel's connection tracking remembers.
pub(super) fn tables(
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
    let (keeper, ways) = ways(inputs, of_cilium, of_carrier);
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

/// Who keeps the tables, and what it does by each way in.
fn ways(
    inputs: &NodeInputs<'_>,
    of_cilium: impl Fn(&Cilium) -> &Known<Val<i64>>,
    of_carrier: impl Fn(&Carrier) -> &ByEntry<Handling>,
) -> (Arc<str>, ByEntry<Handling>) {
    match (&inputs.carrier, &inputs.cilium) {
        (Some(Err(gap)), _) if !inputs.is_replaced() => {
            ("unknown".into(), ByEntry::all(&Handling::Own(Err(gap.clone()))))
        }
        (Some(Ok(carrier)), _) if !inputs.is_replaced() => {
            (carrier.name.clone(), of_carrier(carrier).clone())
        }
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
    }
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
