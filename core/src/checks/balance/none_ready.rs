//! `backend-none-ready`: something answers behind every Service.

use std::fmt;

use super::{PortBackends, backends_by_port, of_ports};
use crate::judge::{Advice, Check, Evidence, Explain, Judge, Look, Memory, ServiceCase, Severities, Verdict};
use crate::know::{Known, Reads, Source};
use crate::policy::Policy;
use crate::sample::Metrics;
use crate::sources::service::ServiceType;

/// The check.
pub static CHECK: Check = Check {
    id: "backend-none-ready",
    severity: Severities::WARNING,
    needs: Reads::of(&[Source::Services, Source::EndpointSlices]),
    uses: Reads::NONE,
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Service(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
Every Service has a ready backend.

A Service without a ready endpoint refuses its clients, or lets them wait: kube-proxy rejects connections to it, a
headless name resolves to nothing. It needs no policy.

## Formula

Over the endpoints of each port of a Service, of which those count that are ready, serving and not terminating:

- endpoints, and none of them ready: Violated, warning, cause `NoneReady`;
- the same, but some that terminate still serve, which proxies use as a last resort (`pkg/proxy/topology.go`): AtRisk,
  info, cause `OnlyTerminating`;
- a port without any endpoint beside ports that have some: Violated, warning, cause `PortWithoutEndpoints`: no Pod has a
  port of the name that the Service targets;
- a selector, and no endpoint at all: AtRisk, info, cause `NoEndpoints`: the workload is scaled to zero on purpose, or
  the selector matches no Pod.

It does not apply to a DNS alias, to a Service without selector and without endpoints, nor where a policy declares
`balance.minimumReadyBackends`: then `backend-minimum-ready` reports it.

## What to do

1. See why the Pods are not ready: `kubectl get pods` by the Service's selector, then `kubectl describe` one of them.
2. Where there is no endpoint, compare the selector with the labels of the Pods, and the target port with theirs.

## What not to do

Do not set `publishNotReadyAddresses` to fill the list: clients would meet backends that cannot answer.
";

/// A Service, or a port of one, behind which nothing answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NothingAnswers {
    /// `namespace/name` of the Service.
    service: String,
    /// The ports concerned; empty where it is all of them.
    ports: Vec<u16>,
    /// Endpoints that are not ready.
    waiting: usize,
    /// Endpoints that terminate and still serve.
    ending: usize,
    cause: NoneReadyCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum NoneReadyCause {
    NoneReady,
    OnlyTerminating,
    PortWithoutEndpoints,
    NoEndpoints,
}

fn judge(look: &Look<'_>, case: &ServiceCase<'_>) -> Known<Verdict> {
    if case.service.kind == ServiceType::ExternalName {
        return Ok(Verdict::NotApplicable("a DNS alias has no endpoints"));
    }
    if case.policy.is_some_and(declares_minimum) {
        return Ok(Verdict::NotApplicable(
            "the policy declares a minimum of ready backends, which backend-minimum-ready judges",
        ));
    }
    let by_port = backends_by_port(look, case)?;
    let any = by_port.iter().any(|one| !is_empty(one));
    let worst = by_port
        .iter()
        .filter_map(|one| Some((one, cause_of(one, any)?)))
        .max_by_key(|(_, cause)| *cause != NoneReadyCause::OnlyTerminating);
    let Some((port, cause)) = worst else {
        return Ok(Verdict::Met);
    };
    if cause == NoneReadyCause::NoEndpoints && !case.service.selects() {
        return Ok(Verdict::NotApplicable(
            "it has no selector, and no endpoints were added",
        ));
    }
    let found = NothingAnswers {
        service: look.show(case.key),
        ports: port.ports.iter().map(|port| port.port).collect(),
        waiting: port.waiting.len(),
        ending: port.ending.len(),
        cause,
    };
    Ok(match cause {
        NoneReadyCause::NoneReady | NoneReadyCause::PortWithoutEndpoints => Verdict::violated(found),
        NoneReadyCause::OnlyTerminating | NoneReadyCause::NoEndpoints => Verdict::at_risk(found),
    })
}

fn declares_minimum(policy: &Policy) -> bool {
    let balance = policy.balance.as_ref();
    balance.is_some_and(|balance| balance.minimum_ready_backends.is_some())
}

/// Why nothing answers; `None` where something does. `any` says whether the Service has endpoints at all.
fn cause_of(port: &PortBackends, any: bool) -> Option<NoneReadyCause> {
    if !port.usable.is_empty() {
        None
    } else if !port.ending.is_empty() {
        Some(NoneReadyCause::OnlyTerminating)
    } else if !port.waiting.is_empty() {
        Some(NoneReadyCause::NoneReady)
    } else if any {
        Some(NoneReadyCause::PortWithoutEndpoints)
    } else {
        Some(NoneReadyCause::NoEndpoints)
    }
}

fn is_empty(port: &PortBackends) -> bool {
    port.usable.is_empty() && port.waiting.is_empty() && port.ending.is_empty()
}

impl Explain for NothingAnswers {
    fn cause(&self) -> &'static str {
        match self.cause {
            NoneReadyCause::NoneReady => "NoneReady",
            NoneReadyCause::OnlyTerminating => "OnlyTerminating",
            NoneReadyCause::PortWithoutEndpoints => "PortWithoutEndpoints",
            NoneReadyCause::NoEndpoints => "NoEndpoints",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = of_ports(&self.ports);
        match self.cause {
            NoneReadyCause::NoneReady => write!(
                f,
                "clients are refused: of {} endpoints{ports} none is ready",
                self.waiting
            ),
            NoneReadyCause::OnlyTerminating => write!(
                f,
                "no endpoint{ports} is ready: only {} that are terminating still serve",
                self.ending
            ),
            NoneReadyCause::PortWithoutEndpoints => write!(
                f,
                "clients{ports} are refused: no endpoint of the Service has such a port, while its other ports have some"
            ),
            NoneReadyCause::NoEndpoints => f.write_str(
                "clients are refused: there is no endpoint at all; the workload is scaled to zero, or the selector \
                 matches no Pod",
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let slices = format!("EndpointSlices of {}", self.service);
        let mut evidence: Vec<Evidence> = self
            .ports
            .iter()
            .map(|port| Evidence::count("port", *port, format!("Service {}", self.service)))
            .collect();
        evidence.push(Evidence::count("readyEndpoints", 0, slices.as_str()));
        evidence.push(Evidence::count(
            "notReadyEndpoints",
            self.waiting,
            slices.as_str(),
        ));
        evidence.push(Evidence::count("terminatingEndpoints", self.ending, slices));
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        match self.cause {
            NoneReadyCause::NoneReady => vec![
                "see why its Pods are not ready: kubectl describe one of them, and its log".into(),
                "leave them running until that is known".into(),
            ],
            NoneReadyCause::OnlyTerminating => {
                vec!["see whether a successor of these Pods is on its way".into()]
            }
            NoneReadyCause::PortWithoutEndpoints => {
                vec!["compare the target port of the Service with the ports that its Pods name".into()]
            }
            NoneReadyCause::NoEndpoints => vec![
                "nothing, if it is scaled to zero on purpose".into(),
                "else compare the selector of the Service with the labels of the Pods".into(),
            ],
        }
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |cause, ports: &[u16], waiting, ending| NothingAnswers {
        service: "shop/checkout".into(),
        ports: ports.to_vec(),
        waiting,
        ending,
        cause,
    };
    vec![
        Verdict::violated(of(NoneReadyCause::NoneReady, &[], 3, 0)),
        Verdict::violated(of(NoneReadyCause::NoneReady, &[8443], 1, 0)),
        Verdict::at_risk(of(NoneReadyCause::OnlyTerminating, &[], 1, 2)),
        Verdict::violated(of(NoneReadyCause::PortWithoutEndpoints, &[9090], 0, 0)),
        Verdict::at_risk(of(NoneReadyCause::NoEndpoints, &[], 0, 0)),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::world::{World, balanced, service, slice, slice_of};

    const ID: &str = "backend-none-ready";

    fn world(spec: Value) -> World {
        World::complete().with(Source::Services, service("api", spec))
    }

    /// Endpoints as (ready, serving, terminating).
    fn endpoints(of: &[(bool, bool, bool)]) -> Value {
        let one = |(at, (ready, serving, terminating)): (usize, &(bool, bool, bool))| {
            json!({
                "addresses": [format!("10.0.0.{at}")], "nodeName": "n1",
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            })
        };
        of.iter().enumerate().map(one).collect()
    }

    const READY: (bool, bool, bool) = (true, true, false);
    const NOT_READY: (bool, bool, bool) = (false, false, false);
    const ENDING: (bool, bool, bool) = (false, true, true);
    const ENDED: (bool, bool, bool) = (false, false, true);

    #[rstest]
    #[case::ready(&[READY], "Met")]
    #[case::one_of_two(&[READY, NOT_READY], "Met")]
    #[case::none_of_two(&[NOT_READY, NOT_READY], "Violated warning NoneReady")]
    #[case::one_still_serves(&[NOT_READY, ENDING], "AtRisk info OnlyTerminating")]
    #[case::one_has_ended(&[ENDED], "AtRisk info NoEndpoints")]
    #[case::nothing(&[], "AtRisk info NoEndpoints")]
    fn without_a_policy(#[case] of: &[(bool, bool, bool)], #[case] expected: &str) {
        let slice = slice_of("api", "a", "IPv4", &endpoints(of));
        for spec in [json!({}), json!({"clusterIP": "None"})] {
            let mut world = world(spec).with(Source::EndpointSlices, &slice);
            assert_eq!(world.verdict(ID), expected);
        }
    }

    #[rstest]
    #[case::alias(json!({"type": "ExternalName"}), "NotApplicable")]
    #[case::no_selector(json!({"selector": null}), "NotApplicable")]
    #[case::no_slice(json!({}), "AtRisk info NoEndpoints")]
    fn without_endpoints(#[case] spec: Value, #[case] expected: &str) {
        assert_eq!(world(spec).verdict(ID), expected);
    }

    #[test]
    fn a_port_that_no_pod_has() {
        let ports = json!({"ports": [{"name": "main", "port": 80}, {"name": "metrics", "port": 9090}]});
        let mut world = world(ports).with(Source::EndpointSlices, slice("api", &[("n1", "a")]));
        assert_eq!(world.verdict(ID), "Violated warning PortWithoutEndpoints");
        assert!(world.findings(ID)[0].message.contains("port 9090"));
    }

    #[test]
    fn a_declared_minimum_reports_instead() {
        let mut world = world(json!({})).policy(balanced(Some(1), None, None));
        assert_eq!(world.verdict(ID), "NotApplicable");
    }

    #[test]
    fn slices_that_nobody_read_are_not_absent() {
        let mut world =
            World::without(&[Source::EndpointSlices]).with(Source::Services, service("api", json!({})));
        assert_eq!(world.verdict(ID), "Unknown");
    }
}
