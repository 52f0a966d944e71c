//! `namespace/service:port`, as flags name a server.

use std::fmt;

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Namespace of the Service.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// Its port, by name or number.
    pub port: String,
}

impl ServicePort {
    /// The name that the certificate of its endpoints must have.
    pub(crate) fn server_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}

impl std::str::FromStr for ServicePort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected NAMESPACE/SERVICE:PORT, such as monitoring/prometheus:9090".to_owned();
        let (namespace, rest) = text.split_once('/').ok_or_else(expected)?;
        let (service, port) = rest.split_once(':').ok_or_else(expected)?;
        let label = |text: &str| {
            !text.is_empty()
                && text.len() <= 63
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if ![namespace, service, port].into_iter().all(label) {
            return Err(expected());
        }
        Ok(Self {
            namespace: namespace.into(),
            service: service.into(),
            port: port.into(),
        })
    }
}
