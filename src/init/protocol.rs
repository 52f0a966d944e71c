//! What is spoken on a port, as far as its Service says.

use evenkeel_core::names::Names;
use evenkeel_core::policy::Protocol;
use evenkeel_core::sources::service::{ServicePort, Transport};

/// The protocol of a port, and how it was told, for a comment; `None` for SCTP, which no policy speaks of.
pub(super) fn protocol(names: &Names, port: &ServicePort) -> Option<(Protocol, String)> {
    match port.transport {
        Transport::Udp => return Some((Protocol::Udp, "Seen: UDP.".into())),
        Transport::Sctp => return None,
        Transport::Tcp => {}
    }
    let [name, application] = [port.name, port.app_protocol].map(|name| names.text(name));
    Some(if let Some(protocol) = by_application(application) {
        let tls = if application == "https" {
            " HTTP2 where both ends agree on it by TLS."
        } else {
            ""
        };
        (protocol, format!("Seen: appProtocol {application}.{tls}"))
    } else if let Some(protocol) = by_name(name) {
        (protocol, format!("Assumed, from the port's name {name}."))
    } else if let Some(protocol) = by_number(port.port) {
        (
            protocol,
            format!("Assumed, from the port's number {}.", port.port),
        )
    } else {
        let what = "Assumed: nothing says what is spoken. HTTP1, HTTP2 and GRPC are judged more closely.";
        (Protocol::Tcp, what.into())
    })
}

/// By `appProtocol`: the names that Kubernetes defines itself (`k8s.io/api/core/v1`, `ServicePort.AppProtocol`), else a name of
/// IANA or of an implementation.
fn by_application(text: &str) -> Option<Protocol> {
    match text {
        "" => None,
        "kubernetes.io/h2c" => Some(Protocol::Http2),
        "kubernetes.io/ws" | "kubernetes.io/wss" => Some(Protocol::Http1),
        // What is named and unknown here is some protocol of its own on TCP.
        other => Some(by_word(&other.to_ascii_lowercase()).unwrap_or(Protocol::Tcp)),
    }
}

/// By the name of the port, `PROTOCOL[-SUFFIX]`, as Istio reads it (istio.io, "Protocol Selection", explicit selection).
fn by_name(text: &str) -> Option<Protocol> {
    let first = text.split('-').next().unwrap_or_default();
    by_word(text).or_else(|| by_word(first))
}

/// By the usual word for a protocol.
fn by_word(word: &str) -> Option<Protocol> {
    Some(match word {
        "http" | "http1" | "https" | "ws" | "wss" | "web" | "grpc-web" => Protocol::Http1,
        "http2" | "h2" | "h2c" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "tcp" | "tls" | "amqp" | "amqps" | "kafka" | "ldap" | "ldaps" | "mongo" | "mongodb" | "mqtt"
        | "mysql" | "nats" | "postgres" | "postgresql" | "redis" => Protocol::Tcp,
        _ => return None,
    })
}

/// By the number of the port: those of IANA's registry for HTTP and HTTPS with their alternatives, and the one that gRPC's
/// examples use (grpc.io, "Quick start").
const fn by_number(port: u16) -> Option<Protocol> {
    match port {
        80 | 443 | 8080 | 8443 => Some(Protocol::Http1),
        50_051 => Some(Protocol::Grpc),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::said("main", "kubernetes.io/h2c", 9000, Protocol::Http2, "Seen")]
    #[case::said_against_the_name("http", "grpc", 80, Protocol::Grpc, "Seen")]
    #[case::of_an_implementation("main", "example.com/own", 80, Protocol::Tcp, "Seen")]
    #[case::named("http-metrics", "", 9090, Protocol::Http1, "Assumed")]
    #[case::named_whole("grpc-web", "", 9090, Protocol::Http1, "Assumed")]
    #[case::database("postgres", "", 5432, Protocol::Tcp, "Assumed, from the port's name")]
    #[case::numbered("main", "", 8080, Protocol::Http1, "Assumed, from the port's number")]
    #[case::nothing("main", "", 7000, Protocol::Tcp, "Assumed: nothing")]
    fn what_is_spoken(
        #[case] name: &str,
        #[case] application: &str,
        #[case] number: u16,
        #[case] expected: Protocol,
        #[case] how: &str,
    ) {
        let mut names = Names::default();
        let port = ServicePort {
            name: names.intern(name),
            port: number,
            transport: Transport::Tcp,
            app_protocol: names.intern(application),
        };
        let (found, said) = protocol(&names, &port).unwrap();
        assert_eq!(found, expected);
        assert!(said.starts_with(how), "{said}");
    }

    #[rstest]
    #[case(Transport::Udp, Some(Protocol::Udp))]
    #[case(Transport::Sctp, None)]
    fn the_transport_comes_first(#[case] transport: Transport, #[case] expected: Option<Protocol>) {
        let mut names = Names::default();
        let port = ServicePort {
            name: names.intern("http"),
            port: 80,
            transport,
            app_protocol: names.intern(""),
        };
        assert_eq!(protocol(&names, &port).map(|one| one.0), expected);
    }
}
