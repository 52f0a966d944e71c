//! How many source ports a client takes before it comes back to one.

use crate::judge::{Look, Path};
use crate::know::Val;
use crate::route::members;

/// First and last source port of a network namespace: `net.ipv4.ip_local_port_range` (Linux `net/ipv4/af_inet.c`).
const RANGE: (i64, i64) = (32_768, 60_999);
const SYSCTL: &str = "net.ipv4.ip_local_port_range";
/// `connect()` takes every second port of the range first, and the others only when those are in use (Linux
/// `net/ipv4/inet_hashtables.c`, `__inet_hash_connect`, `step = 2`).
const PARITY: i64 = 2;
/// Source ports that a client takes first by the kernel's default.
pub(super) const USUAL: i64 = (RANGE.1 - RANGE.0 + 1) / PARITY;

/// Source ports that the client of a path takes first: the fewest that one of its Pods has.
pub(super) fn source_ports(look: &Look<'_>, path: &Path<'_>) -> Val<i64> {
    let Some(selector) = &path.client.pods else {
        return usual();
    };
    let Ok(pods) = members(look, path.key.namespace, selector) else {
        return usual();
    };
    let own = pods.iter().filter_map(|one| {
        let ports = every_second(one.template.sysctls.text(look.names(), SYSCTL)?)?;
        let shown = look.show(one.key);
        let place = format!("every second of {} {shown} sysctl {SYSCTL}", one.kind);
        Some(Val::declared(ports, place))
    });
    own.min_by(|a, b| (a.value, &a.source).cmp(&(b.value, &b.source)))
        .unwrap_or_else(usual)
}

/// Those of the kernel's default range.
pub(super) fn usual() -> Val<i64> {
    Val::default_of(
        USUAL,
        format!("every second of the kernel's default {SYSCTL} (net/ipv4/af_inet.c)"),
    )
}

/// Every second port of a range such as `32768 60999`; `None` where it is none, or empty.
fn every_second(range: &str) -> Option<i64> {
    let mut ends = range.split_whitespace().map(str::parse::<i64>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else {
        return None;
    };
    let ports = last.checked_sub(first)?.checked_add(1)? / PARITY;
    (ports > 0).then_some(ports)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::of_linux("32768 60999", Some(14_116))]
    #[case::two_ports("5 6", Some(1))]
    #[case::one_port("5 5", None)]
    #[case::reversed("60999 32768", None)]
    #[case::one_end("32768", None)]
    #[case::no_numbers("a b", None)]
    fn every_second_port(#[case] range: &str, #[case] expected: Option<i64>) {
        assert_eq!(every_second(range), expected);
    }
}
