//! What people read of a webhook in the way of requests.

use std::fmt;
use std::sync::Arc;

use super::super::requests::Reach;
#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain, Severity};
use crate::know::{Unit, Val};

/// A webhook in the way of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct InTheWay {
    pub(super) webhook: Arc<str>,
    pub(super) what: &'static str,
    /// Whether the request is made in a namespace, so that a namespaceSelector decides about it.
    pub(super) in_namespace: bool,
    pub(super) reach: Reach,
    /// How bad it is when the request is refused.
    pub(super) stops: Severity,
    pub(super) service: Option<Arc<str>>,
    pub(super) ready: u32,
    pub(super) cause: BlockCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum BlockCause {
    /// With what its Service lacks.
    Blocked {
        lacks: Lacks,
    },
    BlockedIfConditionsMatch {
        lacks: Lacks,
    },
    WhenAway,
    /// It is waited for longer than the caller waits, both in seconds.
    TooSlowToIgnore {
        timeout: u32,
        patience: u32,
    },
    /// It and others, asked in turn, are waited for longer together than the caller waits.
    TooSlowTogether(Together),
}

/// What a Service lacks, so that the API server cannot ask the webhook behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lacks {
    /// A ready endpoint.
    Endpoint,
    /// This port.
    Port(u16),
    /// A cluster address, as it is headless.
    ClusterAddress,
}

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("ready endpoint"),
            Self::Port(port) => write!(f, "port {port}"),
            Self::ClusterAddress => f.write_str("cluster address"),
        }
    }
}

/// Webhooks that are asked one after the other about the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Together {
    /// How many there are besides the one that is named.
    pub(super) others: u32,
    /// What their timeouts add up to, in seconds.
    pub(super) total: u32,
    /// How long the caller waits, in seconds.
    pub(super) patience: u32,
    /// Whether those of one Service suffice, which are silent at the same time.
    pub(super) one_backend: bool,
}

impl InTheWay {
    fn service(&self) -> &str {
        self.service.as_deref().unwrap_or("a URL")
    }

    /// Where the request is made, as far as its name does not show it.
    const fn place(&self) -> &'static str {
        match (self.reach, self.what.as_bytes()) {
            (Reach::Few(_), _) => " in some namespaces",
            (Reach::Most, _) => " in most namespaces",
            (Reach::Own, _) => ", its own among them,",
            (
                Reach::System,
                b"new Pods"
                | b"bindings of Pods to nodes"
                | b"the status of Pods"
                | b"EndpointSlices"
                | b"new EndpointSlices",
            ) => " in kube-system",
            (Reach::System, _) => "",
        }
    }

    /// How to keep it out of the way of these requests.
    fn narrower(&self) -> String {
        let (webhook, what) = (&self.webhook, self.what);
        match self.reach {
            Reach::System if self.in_namespace => format!(
                "leave kube-system, kube-node-lease and its own namespace out by the namespaceSelector of {webhook}, and name \
                 resources instead of `*`"
            ),
            Reach::System => format!(
                "leave {what} out of the rules of {webhook}, or out by a matchCondition: they are in no namespace, so no \
                 namespaceSelector does"
            ),
            Reach::Own => format!("leave its own namespace out by the namespaceSelector of {webhook}"),
            Reach::Most | Reach::Few(_) => format!(
                "run several replicas of {}, on different nodes, in a namespace that {webhook} leaves out",
                self.service()
            ),
        }
    }
}

impl Explain for InTheWay {
    fn cause(&self) -> &'static str {
        match self.cause {
            BlockCause::Blocked { .. } => "Blocked",
            BlockCause::BlockedIfConditionsMatch { .. } => "BlockedIfConditionsMatch",
            BlockCause::WhenAway => "InTheWay",
            BlockCause::TooSlowToIgnore { .. } => "TooSlowToIgnore",
            BlockCause::TooSlowTogether(_) => "TooSlowTogether",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (webhook, what, place) = (&self.webhook, self.what, self.place());
        let service = self.service();
        match self.cause {
            BlockCause::Blocked { lacks } => write!(
                f,
                "webhook {webhook} refuses {what}{place} now: its Service {service} has no {lacks}"
            ),
            BlockCause::BlockedIfConditionsMatch { lacks } => write!(
                f,
                "webhook {webhook} refuses {what}{place} if its matchConditions hold: {service} has no {lacks}"
            ),
            BlockCause::WhenAway => {
                let (ready, s) = (self.ready, if self.ready == 1 { "" } else { "s" });
                write!(
                    f,
                    "webhook {webhook} refuses {what}{place} whenever {service} is away, which has {ready} ready \
                     endpoint{s}"
                )
            }
            BlockCause::TooSlowToIgnore { timeout, patience } => write!(
                f,
                "webhook {webhook} is ignored only after {timeout} s, but writers of {what} give up after {patience} s"
            ),
            BlockCause::TooSlowTogether(Together {
                others,
                total,
                patience,
                ..
            }) => write!(
                f,
                "webhook {webhook} and {others} more in turn are ignored only after {total} s, but writers of {what} give \
                 up after {patience} s"
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let fails = !matches!(
            self.cause,
            BlockCause::TooSlowToIgnore { .. } | BlockCause::TooSlowTogether(_)
        );
        let policy = if fails { "Fail" } else { "Ignore" };
        let source = format!("webhook configuration, failurePolicy: {policy}");
        let mut evidence = vec![
            Evidence::name("webhook", &self.webhook, source),
            Evidence::name(
                "matches",
                &self.what.into(),
                "rules, selectors and conditions of the webhook",
            ),
        ];
        if let Some(service) = &self.service {
            if fails {
                let place = format!("EndpointSlices of {service}");
                evidence.push(Evidence::count("readyEndpoints", self.ready, place));
            }
            evidence.push(Evidence::name("service", service, "clientConfig.service"));
        }
        if let Reach::Few(count) = self.reach {
            evidence.push(Evidence::count(
                "namespaces",
                count,
                "namespaceSelector of the webhook",
            ));
        }
        let (timeout, source, patience) = match self.cause {
            BlockCause::TooSlowToIgnore { timeout, patience } => {
                (timeout, "timeoutSeconds of the webhook".to_owned(), patience)
            }
            BlockCause::TooSlowTogether(found) => (
                found.total,
                format!(
                    "timeoutSeconds of {} webhooks, mutating ones in turn, added up",
                    found.others + 1
                ),
                found.patience,
            ),
            BlockCause::Blocked { .. }
            | BlockCause::BlockedIfConditionsMatch { .. }
            | BlockCause::WhenAway => {
                return evidence;
            }
        };
        let patience = Val::default_of(
            i64::from(patience),
            "a kubelet's heartbeat (cmd/kubelet/app/server.go), a leader's renewal (client-go leaderelection)",
        );
        let timeout = Val::declared(i64::from(timeout), source);
        evidence.push(Evidence::number("timeout", Unit::Seconds, &timeout));
        evidence.push(Evidence::number("patience", Unit::Seconds, &patience));
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let (webhook, service) = (&self.webhook, self.service());
        let first: Advice = match self.cause {
            BlockCause::WhenAway => format!("run several replicas of {service}, on different nodes").into(),
            BlockCause::TooSlowToIgnore { patience, .. } => {
                format!("set timeoutSeconds of {webhook} well below {patience}").into()
            }
            BlockCause::TooSlowTogether(found) => format!(
                "lower timeoutSeconds of {webhook} and the {} others until they add up to well below {}",
                found.others, found.patience
            )
            .into(),
            BlockCause::Blocked { lacks } | BlockCause::BlockedIfConditionsMatch { lacks } => match lacks {
                Lacks::Endpoint => format!(
                    "bring {service} back; if that is refused too, delete this webhook configuration until it is"
                )
                .into(),
                Lacks::Port(port) => {
                    format!("compare clientConfig.service.port {port} of {webhook} with the ports of {service}")
                        .into()
                }
                Lacks::ClusterAddress => format!(
                    "make {service} anew without `clusterIP: None`: the API server calls no headless Service"
                )
                .into(),
            },
        };
        vec![first, self.narrower().into()]
    }

    fn at_most(&self) -> Severity {
        match self.cause {
            BlockCause::WhenAway if self.ready > 1 => Severity::Info,
            BlockCause::TooSlowTogether(found) if !found.one_backend => Severity::Info,
            BlockCause::WhenAway | BlockCause::TooSlowToIgnore { .. } | BlockCause::TooSlowTogether(_) => {
                Severity::Warning
            }
            BlockCause::Blocked { .. } | BlockCause::BlockedIfConditionsMatch { .. } => self.stops,
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    use BlockCause::{Blocked, BlockedIfConditionsMatch, TooSlowToIgnore, TooSlowTogether, WhenAway};
    use Reach::{Few, Most, Own, System};
    use Severity::{Critical, Warning};

    let of = |what: &'static str, reach, stops, ready, cause| InTheWay {
        webhook: "validate.example.com".into(),
        what,
        in_namespace: what != "nodes/status",
        reach,
        stops,
        service: Some("policy/gate".into()),
        ready,
        cause,
    };
    let by_url = |case: InTheWay| InTheWay {
        service: None,
        ..case
    };
    let (beats, leases, pods) = ("Leases in kube-node-lease", "Leases in kube-system", "new Pods");
    let (no_endpoint, no_port) = (Lacks::Endpoint, Lacks::Port(9443));
    let blocked = |lacks| Blocked { lacks };
    let if_matched = |lacks| BlockedIfConditionsMatch { lacks };
    let late = TooSlowToIgnore {
        timeout: 10,
        patience: 5,
    };
    let in_turn = |one_backend| {
        TooSlowTogether(Together {
            others: 2,
            total: 9,
            patience: 5,
            one_backend,
        })
    };
    vec![
        Verdict::violated(of(beats, System, Critical, 0, blocked(no_endpoint))),
        Verdict::violated(of(pods, System, Critical, 0, blocked(no_endpoint))),
        Verdict::violated(of(pods, Own, Critical, 0, blocked(no_endpoint))),
        Verdict::violated(of(pods, Most, Critical, 0, blocked(no_endpoint))),
        Verdict::violated(of(pods, Few(2), Warning, 0, blocked(no_endpoint))),
        Verdict::violated(of(beats, System, Critical, 0, blocked(no_port))),
        Verdict::violated(of(beats, System, Critical, 0, blocked(Lacks::ClusterAddress))),
        Verdict::at_risk(of("nodes/status", System, Critical, 0, if_matched(no_endpoint))),
        Verdict::at_risk(of("nodes/status", System, Critical, 0, if_matched(no_port))),
        Verdict::at_risk(of(beats, System, Critical, 1, WhenAway)),
        Verdict::at_risk(of(beats, System, Critical, 3, WhenAway)),
        Verdict::at_risk(of(leases, System, Warning, 0, late)),
        Verdict::at_risk(by_url(of(leases, System, Warning, 0, late))),
        Verdict::at_risk(of(leases, System, Warning, 0, in_turn(true))),
        Verdict::at_risk(by_url(of(leases, System, Warning, 0, in_turn(false)))),
    ]
}
