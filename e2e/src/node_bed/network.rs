//! The names and addresses of a bed's nodes. They are inside of its own networks only, so every bed
//! on a machine has the same.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::space::Space;

/// The control plane, on the switch that all nodes are plugged into.
pub(super) const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);

/// The API server's port, as everywhere.
pub(super) const API_PORT: u16 = 6443;

/// The first address of the range of Services, under which Pods find the API.
pub(super) const API_SERVICE: &str = "10.96.0.1";

/// Where cluster DNS would be; nothing answers there unless a test puts it there.
pub(super) const DNS_SERVICE: &str = "10.96.0.10";

/// All Pods' addresses.
pub(super) const POD_RANGE: &str = "10.244.0.0/16";

/// Added to a node's number in the last part of its address.
const NODE_OFFSET: u8 = 10;

/// The name of the node with this number.
pub(super) fn name(number: u8) -> String {
    format!("n{number}")
}

/// A node's address, by its number from 1.
pub(super) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 89, 0, NODE_OFFSET + number)
}

/// The addresses of a node's Pods.
pub(super) fn pod_range(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

/// Lays the switch. What is for nobody here ends at it: there is a default route,
/// as Service addresses need one before they are translated, but no way out.
pub(super) fn lay_switch(hub: &Space) -> Result<()> {
    batch(
        hub,
        &[
            "link set lo up".into(),
            "link add switch type bridge".into(),
            format!("address add {CONTROL_PLANE}/24 dev switch"),
            "link set switch up".into(),
            "route add default dev switch".into(),
        ],
    )
    .context("laying the switch of the bed")
}

/// Plugs one of `nodes` nodes into the switch and routes Pods to it and from it.
pub(super) fn plug_in(hub: &Space, node: &Space, number: u8, nodes: u8) -> Result<()> {
    let (name, pid) = (name(number), node.pid());
    batch(
        hub,
        &[
            format!("link add {name} type veth peer name eth0 netns {pid}"),
            format!("link set {name} master switch up"),
        ],
    )
    .with_context(|| format!("plugging {name} in"))?;
    let mut lines = vec![
        "link set lo up".to_owned(),
        format!("address add {}/24 dev eth0", address(number)),
        "link set eth0 up".into(),
        format!("route add default via {CONTROL_PLANE}"),
    ];
    lines.extend((1..=nodes).filter(|&other| other != number).map(route_to));
    batch(node, &lines).with_context(|| format!("giving {name} its address"))?;
    batch(hub, &[route_to(number)]).with_context(|| format!("routing to the Pods of {name}"))
}

fn route_to(number: u8) -> String {
    format!("route replace {} via {}", pod_range(number), address(number))
}

/// Several commands of `ip` inside of a space.
fn batch(space: &Space, lines: &[String]) -> Result<()> {
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        space.run("ip", &words)?;
    }
    Ok(())
}
