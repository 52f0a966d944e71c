//! Free ports.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below the ports that outgoing connections and node ports use, so that nobody
/// takes one between our look and its use, except by the same random choice.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// Ports that nobody listens on, all different.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut found = BTreeSet::new();
    for _ in 0..1_000 {
        if found.len() == count {
            return Ok(found.into_iter().collect());
        }
        let port = fastrand::u16(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            found.insert(port);
        }
    }
    bail!("no {count} free ports between {} and {}", RANGE.start, RANGE.end)
}
