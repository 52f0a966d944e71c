//! The network of Pods where kind's own is not to be had: a bridge on every node,
//! and routes between them.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::engine::Engine;
use crate::node_bed::settings::pod_network;

/// How long the controllers get to give every node its range of addresses.
const RANGES_WITHIN: Duration = Duration::from_secs(120);

const QUERY: &str = r#"{range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}"#;

struct NodeRange {
    name: String,
    range: String,
    address: String,
}

/// Connects the Pods of all nodes.
pub(super) fn connect(engine: &Engine, cluster: &str) -> Result<()> {
    let nodes = ranges(engine, cluster)?;
    for node in &nodes {
        let routes: Vec<_> = nodes
            .iter()
            .filter(|other| other.name != node.name)
            .map(|other| format!("ip route replace {} via {}", other.range, other.address))
            .collect();
        let script = format!(
            "set -e\n{}\ncat >/etc/cni/net.d/10-pods.conflist <<'END'\n{}\nEND\n",
            routes.join("\n"),
            pod_network(&node.range),
        );
        let mut command = Command::new("docker");
        let mut child = engine
            .aim(command.args(["exec", "--interactive", &node.name, "sh"]))
            .stdin(Stdio::piped())
            .spawn()
            .context("starting docker exec")?;
        child
            .stdin
            .take()
            .context("docker exec takes no input")?
            .write_all(script.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("connecting the Pods of {} ended with {status}", node.name);
        }
    }
    Ok(())
}

/// The nodes, once each has a range.
fn ranges(engine: &Engine, cluster: &str) -> Result<Vec<NodeRange>> {
    let control_plane = format!("{cluster}-control-plane");
    let deadline = Instant::now() + RANGES_WITHIN;
    loop {
        let text = engine.docker(&[
            "exec",
            &control_plane,
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "get",
            "nodes",
            &format!("--output=jsonpath={QUERY}"),
        ])?;
        let nodes: Option<Vec<_>> = text.lines().map(parse).collect();
        match nodes {
            Some(nodes) if !nodes.is_empty() => return Ok(nodes),
            _ if Instant::now() > deadline => bail!(
                "no range of addresses for every node after {} s: {text}",
                RANGES_WITHIN.as_secs()
            ),
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn parse(line: &str) -> Option<NodeRange> {
    let words: Vec<_> = line.split(' ').collect();
    match words.as_slice() {
        &[name, range, address] if !range.is_empty() && !address.is_empty() => Some(NodeRange {
            name: name.to_owned(),
            range: range.to_owned(),
            address: address.to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_range_is_not_ready_to_be_connected() {
        assert!(parse("n1  172.18.0.2").is_none());
        let node = parse("n1 10.244.0.0/24 172.18.0.2");
        assert_eq!(node.map(|node| node.address).as_deref(), Some("172.18.0.2"));
    }
}
