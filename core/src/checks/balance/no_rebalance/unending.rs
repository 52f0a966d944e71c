//! Connections that neither side ends: what is said of them.

use std::fmt;
use std::sync::Arc;

use super::PortProtocol;
#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};
#[cfg(test)]
use crate::know::Val;

/// Connections that neither side ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Unending {
    /// `namespace/name` of the Service.
    pub(super) service: String,
    /// Whether clients get the addresses of the backends themselves.
    pub(super) headless: bool,
    /// Whether a policy declares these connections; else only the port says what it speaks.
    pub(super) declared: bool,
    /// The L7 hop that opens them and ends none of them: it may balance requests by itself.
    pub(super) proxy: Option<Opener>,
    /// The ports that carry them, and by whose word.
    pub(super) ports: Vec<PortProtocol>,
}

/// An L7 hop that opens connections to the Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Opener {
    pub(super) name: Arc<str>,
    /// Whether it is declared to end none of them; else that is not declared.
    pub(super) never_ends: bool,
}

impl Unending {
    fn list(&self) -> String {
        match &*self.ports {
            [(port, protocol)] => format!("port {port} carries {}", protocol.value),
            [(port, protocol), more @ ..] => {
                format!("port {port} and {} more carry {}", more.len(), protocol.value)
            }
            [] => String::new(),
        }
    }
}

impl Explain for Unending {
    fn cause(&self) -> &'static str {
        match &self.proxy {
            _ if self.declared => "NoConnectionAge",
            Some(proxy) if proxy.never_ends => "HopNeverEnds",
            _ => "AgeNotDeclared",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.list();
        if let Some(proxy) = &self.proxy {
            let ends = if proxy.never_ends {
                "which is declared never to end a connection"
            } else {
                "whose maximum connection age is not declared"
            };
            return write!(
                f,
                "{what} from {}, {ends}: unless it balances requests, new backends stay idle",
                proxy.name
            );
        }
        match (self.declared, self.headless) {
            (true, false) => write!(
                f,
                "{what}, and neither the server nor every client ends a connection after a time: new backends stay idle"
            ),
            (true, true) => write!(
                f,
                "{what}, and no connection ends after a time: clients never resolve the name again, and new backends \
                 stay idle"
            ),
            (false, _) => write!(
                f,
                "{what}, and no maximum connection age is declared: unless a proxy balances requests, new backends \
                 stay idle"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for (port, protocol) in &self.ports {
            evidence.push(Evidence::count(
                "port",
                *port,
                format!("Service {}", self.service),
            ));
            evidence.push(Evidence::text("protocol", protocol));
        }
        match &self.proxy {
            _ if self.declared => {}
            Some(proxy) if proxy.never_ends => evidence.push(Evidence::name(
                "maxConnectionAge",
                &"Never".into(),
                "policy connections[].hops[].upstream.maxConnectionAge",
            )),
            Some(_) => evidence.push(Evidence::undeclared(
                "maxConnectionAge",
                "policy connections[].hops[].upstream.maxConnectionAgeSeconds",
            )),
            None => evidence.push(Evidence::undeclared(
                "maxConnectionAge",
                "policy connections[].server.maxConnectionAgeSeconds",
            )),
        }
        if let Some(proxy) = &self.proxy {
            evidence.push(Evidence::name("proxy", &proxy.name, "policy connections[].hops"));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let mut advice: Vec<Advice> = Vec::new();
        if let Some(proxy) = &self.proxy {
            advice.push(
                format!(
                    "find out whether {} balances requests over the backends; if not, let its connections end after 5 \
                     to 30 minutes and declare upstream.maxConnectionAgeSeconds",
                    proxy.name
                )
                .into(),
            );
        } else if !self.declared {
            advice.push(
                "declare the connection in a TrafficHealthPolicy, with server.maxConnectionAgeSeconds if it has one"
                    .into(),
            );
        }
        advice.push(
            "let the server end connections after 5 to 30 minutes with jitter (gRPC MaxConnectionAge with a grace), \
             and declare it"
                .into(),
        );
        if self.proxy.is_some() {
            return advice;
        }
        advice.push(
            "or put a proxy between that balances requests; balancing in the client, as round_robin over a headless \
             Service, needs the age too"
                .into(),
        );
        advice
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |headless, declared, ports: &[u16]| Unending {
        service: "shop/orders".into(),
        headless,
        declared,
        proxy: None,
        ports: ports
            .iter()
            .map(|port| (*port, Val::declared("grpc".into(), "Service shop/orders")))
            .collect(),
    };
    let proxied = |never_ends| Unending {
        proxy: Some(Opener {
            name: "edge".into(),
            never_ends,
        }),
        ..of(false, false, &[50_051])
    };
    vec![
        Verdict::violated(of(false, true, &[50_051])),
        Verdict::violated(of(true, true, &[50_051, 50_052])),
        Verdict::at_risk(of(false, false, &[50_051])),
        Verdict::at_risk(proxied(false)),
        Verdict::at_risk(proxied(true)),
    ]
}
