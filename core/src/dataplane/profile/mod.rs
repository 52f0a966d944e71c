//! What a node does with Service traffic, from all products that run on it.
//!
//! The hop that a Pod's connection to a Service takes decides, not the proxy mode alone: beside Cilium, kube-proxy
//! may run and still see nothing of it, because Cilium translates per packet before.

mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::entry::{Carrier, ConnectionTable};
use super::kube_proxy::Settings;
use super::version::Version;
use super::{Cilium, Profile, ProxyMode, linux};
use crate::know::{Gap, Known, Origin, Val};
use tables::tables;

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
        |proxy| of_older_kernels(proxy.service_udp_seconds(), inputs.kernel),
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

impl NodeInputs<'_> {
    /// Whether Cilium is known to replace kube-proxy.
    fn is_replaced(&self) -> bool {
        matches!(&self.cilium, Some(Ok(cilium)) if cilium.replaces_kube_proxy.as_ref().is_ok_and(|val| val.value))
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
    Gap::Opaque("neither kube-proxy nor a known replacement was found on a node".into())
}

fn no_kube_proxy() -> Gap {
    Gap::Opaque("no kube-proxy was found, and Cilium is not set to replace it on this node".into())
}

fn mode(inputs: &NodeInputs<'_>) -> Known<Val<ProxyMode>> {
    if let (Some(carrier), false) = (&inputs.carrier, inputs.is_replaced()) {
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

/// The node's connection-tracking timeouts: kube-proxy writes them, and without one they are the kernel's.
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
        (Some(Err(_)), _) if inputs.is_replaced() => {
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
    let seconds = match &inputs.kube_proxy {
        Some(Ok(proxy)) => proxy.udp_stream_seconds.clone(),
        Some(Err(gap)) if !inputs.no_kube_proxy => Err(gap.clone()),
        _ => Ok(Val::default_of(
            linux::UDP_STREAM_SECONDS,
            format!(
                "no kube-proxy runs here: kernel default ({})",
                linux::CONNTRACK_UDP_FILE
            ),
        )),
    };
    of_older_kernels(seconds, inputs.kernel)
}

/// Linux before 5.0 remembered answered UDP flows for 180 s, and some distributions brought the shorter time to older
/// kernels: there neither is sure.
fn of_older_kernels(seconds: Known<Val<i64>>, kernel: &str) -> Known<Val<i64>> {
    let is_older = Version::parse(kernel).is_some_and(|kernel| !kernel.at_least(5, 0));
    seconds.map(|val| {
        let is_default = val.origin == Origin::Default && val.value == linux::UDP_STREAM_SECONDS;
        if is_older && is_default {
            Val::assumed(val.value, format!("{}; 180 s in Linux before 5.0", val.source))
        } else {
            val
        }
    })
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
