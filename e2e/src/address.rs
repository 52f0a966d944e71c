//! An address that stands for a Pod's.
//!
//! The API server refuses loopback addresses in an `EndpointSlice`, so a server that an `EndpointSlice` names needs
//! another one: an address of TEST-NET-1 (RFC 5737), which no real network has, on the loopback device.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Seconds after which the kernel takes the address away, should this process be killed before it does.
const LASTS: &str = "1800";

/// An address of our own; dropping it takes it away.
#[derive(Debug)]
pub struct Address(Ipv4Addr);

impl Address {
    /// Adds one that nobody here has. Needs the right to configure the network: the error says so.
    pub fn add() -> Result<Self> {
        for _ in 0..100 {
            let address = Ipv4Addr::new(192, 0, 2, fastrand::u8(1..=254));
            let output = ip("add", address, &["valid_lft", LASTS, "preferred_lft", LASTS])?;
            if output.status.success() {
                return Ok(Self(address));
            }
            // Another test may have taken it. The words for that differ between kernels, so the device is asked.
            if !is_taken(address)? {
                let why = String::from_utf8_lossy(&output.stderr);
                bail!(
                    "cannot add {address} to the loopback device (root can): {}",
                    why.trim()
                );
            }
        }
        bail!("every address of 192.0.2.0/24 is taken")
    }

    /// The address.
    pub fn ip(&self) -> Ipv4Addr {
        self.0
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        // If this fails, the kernel takes it away later.
        drop(ip("delete", self.0, &[]));
    }
}

/// Whether the loopback device has the address.
fn is_taken(address: Ipv4Addr) -> Result<bool> {
    let output = run(&["show", "to", &format!("{address}/32"), "dev", "lo"])?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("cannot list the addresses of the loopback device: {}", why.trim());
    }
    Ok(!output.stdout.is_empty())
}

fn ip(verb: &str, address: Ipv4Addr, more: &[&str]) -> Result<Output> {
    let address = format!("{address}/32");
    run(&[&[verb, &address, "dev", "lo"], more].concat())
}

fn run(arguments: &[&str]) -> Result<Output> {
    Command::new("ip")
        .arg("address")
        .args(arguments)
        .output()
        .context("running ip (iproute2)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_asked_who_has_an_address() {
        assert!(is_taken(Ipv4Addr::LOCALHOST).unwrap());
        // Never handed out by `add`.
        assert!(!is_taken(Ipv4Addr::new(192, 0, 2, 0)).unwrap());
    }
}
