//! Through which proxy an API server is reached, as `kubectl` finds it.
//!
//! What a kubeconfig names as `proxy-url` counts alone (`k8s.io/client-go`, `tools/clientcmd/client_config.go`); else the environment
//! does, by the rules of Go (`golang.org/x/net`, `http/httpproxy/proxy.go`). kube's client compares `NO_PROXY` with the proxy's own
//! address instead of the server's (kube-client 5.0.0, `config/file_loader.rs`), so the decision is ours.

use std::net::IpAddr;

use http::Uri;

/// The variables that decide, as they are set.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Environment<'a> {
    /// `HTTPS_PROXY`, for servers by HTTPS.
    pub(super) https: &'a str,
    /// `HTTP_PROXY`, for others.
    pub(super) http: &'a str,
    /// `NO_PROXY`: who is reached directly.
    pub(super) no_proxy: &'a str,
}

/// The value of a variable by its name in upper or in lower case.
pub(super) fn variable(name: &str) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set(name)
        .or_else(|| set(&name.to_lowercase()))
        .unwrap_or_default()
}

/// The proxy for a server, where the environment names one that is no address: the address and why.
pub(super) fn of(server: &Uri, environment: Environment<'_>) -> Result<Option<Uri>, String> {
    let https = server.scheme_str() != Some("http");
    let proxy = if https {
        environment.https
    } else {
        environment.http
    };
    let port = server.port_u16().unwrap_or(if https { 443 } else { 80 });
    let host = server.host().unwrap_or_default();
    if proxy.is_empty() || is_direct(host, port, environment.no_proxy) {
        return Ok(None);
    }
    let with_scheme = if proxy.contains("://") {
        proxy.to_owned()
    } else {
        format!("http://{proxy}")
    };
    // The address may hold a password: it is not repeated.
    let uri = with_scheme.parse().map_err(|error| {
        let name = if https { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        format!("{name} is no address of a proxy: {error}")
    })?;
    Ok(Some(uri))
}

/// Whether a server is reached without a proxy.
fn is_direct(host: &str, port: u16, no_proxy: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_lowercase();
    let address = host.parse::<IpAddr>().ok().map(|one| one.to_canonical());
    if host == "localhost" || address.is_some_and(|one| one.is_loopback()) {
        return true;
    }
    no_proxy.split(',').any(|entry| {
        let entry = entry.trim().to_lowercase();
        entry == "*" || matches(&entry, &host, address, port)
    })
}

/// Whether one entry of `NO_PROXY` is about a server: a network, an address, or a domain with what is below it.
fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if let Some((network, bits)) = entry.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>())
    {
        return address.is_some_and(|address| is_within(address, network, bits));
    }
    let (name, only) = with_port(entry);
    if only.is_some_and(|only| only.parse() != Ok(port)) {
        return false;
    }
    if let Ok(wanted) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address == Some(wanted.to_canonical());
    }
    let name = name
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(name);
    if address.is_some() || name.is_empty() {
        return false;
    }
    match name.strip_prefix('.') {
        Some(parent) => below(host, parent),
        None => host == name || below(host, name),
    }
}

/// Host and port of an entry; an IPv6 address has a port only in brackets.
fn with_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether an address has the first bits of a network.
fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (address, network.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_said("https://api.example.com:6443", "", true)]
    #[case::the_domain("https://api.example.com:6443", "example.com", false)]
    #[case::the_host("https://api.example.com:6443", "other,api.example.com", false)]
    #[case::spaces_and_case("https://API.example.com:6443", " x , Api.Example.COM ", false)]
    #[case::below_a_dot("https://api.example.com", ".example.com", false)]
    #[case::a_dot_is_not_itself("https://example.com", ".example.com", true)]
    #[case::a_star_and_a_dot("https://api.example.com", "*.example.com", false)]
    #[case::the_end_of_a_word("https://myexample.com", "example.com", true)]
    #[case::its_port("https://api.example.com:6443", "example.com:6443", false)]
    #[case::another_port("https://api.example.com:6443", "example.com:443", true)]
    #[case::the_usual_port("https://api.example.com", "example.com:443", false)]
    #[case::everything("https://api.example.com", "*", false)]
    #[case::an_address("https://192.0.2.7:6443", "192.0.2.7", false)]
    #[case::an_address_with_port("https://192.0.2.7:6443", "192.0.2.7:443", true)]
    #[case::a_network("https://192.0.2.7:6443", "198.51.100.0/24,192.0.2.0/24", false)]
    #[case::another_network("https://192.0.3.7:6443", "192.0.2.0/24", true)]
    #[case::all_addresses("https://192.0.3.7:6443", "0.0.0.0/0", false)]
    #[case::a_network_of_too_many_bits("https://192.0.2.7:6443", "192.0.2.0/99", true)]
    #[case::ipv6("https://[2001:db8::7]:6443", "2001:db8::7", false)]
    #[case::ipv6_with_port("https://[2001:db8::7]:6443", "[2001:db8::7]:6443", false)]
    #[case::ipv6_network("https://[2001:db8::7]:6443", "2001:db8::/32", false)]
    #[case::an_address_is_no_domain("https://192.0.2.7:6443", "0.2.7,.2.7", true)]
    #[case::loopback("https://127.0.0.1:6443", "", false)]
    #[case::localhost("https://localhost:6443", "", false)]
    #[case::the_proxys_own_name("https://api.example.com:6443", "proxy.example.net", true)]
    #[case::nonsense("https://api.example.com:6443", ",:,/,[,]:,*.,.", true)]
    fn who_is_reached_through_the_proxy(#[case] server: &str, #[case] no_proxy: &str, #[case] proxied: bool) {
        let environment = Environment {
            https: "http://proxy.example.net:3128",
            no_proxy,
            ..Environment::default()
        };
        let server: Uri = server.parse().expect("an address");
        let proxy = of(&server, environment).expect("an address");
        assert_eq!(proxy.is_some(), proxied);
    }

    #[rstest]
    #[case::by_https("https://api.example.com", Ok(Some("http://a:1/".to_owned())))]
    #[case::by_http("http://api.example.com", Ok(Some("socks5://b:2/".to_owned())))]
    fn each_scheme_has_its_proxy(#[case] server: &str, #[case] expected: Result<Option<String>, String>) {
        let environment = Environment {
            https: "a:1",
            http: "socks5://b:2",
            no_proxy: "",
        };
        let server: Uri = server.parse().expect("an address");
        assert_eq!(
            of(&server, environment).map(|one| one.map(|uri| uri.to_string())),
            expected
        );
    }

    #[test]
    fn what_is_no_address_is_said_without_repeating_it() {
        let environment = Environment {
            https: "http://user:pass word@x",
            ..Environment::default()
        };
        let why = of(&Uri::from_static("https://api.example.com"), environment).expect_err("no address");
        assert!(
            why.starts_with("HTTPS_PROXY is no address") && !why.contains("pass"),
            "{why}"
        );
    }
}
