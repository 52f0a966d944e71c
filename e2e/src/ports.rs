//! Free ports.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below the ports that outgoing connections and node ports use, so that nobody
/// takes one between our look and its use, except by the same random choice.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// Ports that nobody listens on, all different.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let random = RandomState::new();
    let mut found = BTreeSet::new();
    for attempt in 0..1_000u32 {
        if found.len() == count {
            return Ok(found.into_iter().collect());
        }
        let span = u64::from(RANGE.end - RANGE.start);
        let port = RANGE.start + u16::try_from(random.hash_one(attempt) % span)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            found.insert(port);
        }
    }
    bail!("no {count} free ports between {} and {}", RANGE.start, RANGE.end)
}
