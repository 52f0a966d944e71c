//! `admission-heartbeat-block`: no admission webhook that can be down blocks the requests that keep a cluster alive.

mod in_the_way;
mod in_turn;

use super::calls::{CallScope, ComponentCall, REQUESTS, Stops};
use super::requests::{Reach, reach};
use crate::dataplane::api_server;
use crate::judge::{Check, Judge, Look, Memory, ServiceCase, Severities, Severity, Verdict};
use crate::know::{Gap, Known, Reads, Source};
use crate::names::Key;
use crate::route::backends_by_port;
use crate::sample::Metrics;
use crate::sources::service::ServiceType;
use crate::sources::webhook::Webhook;
#[cfg(test)]
pub(crate) use in_the_way::examples;
use in_the_way::{BlockCause, InTheWay, Lacks};

/// The check.
pub static CHECK: Check = Check {
    id: "admission-heartbeat-block",
    severity: Severities::CRITICAL,
    needs: Reads::of(&[Source::Webhooks]),
    uses: Reads::of(&[
        Source::Namespaces,
        Source::Nodes,
        Source::Pods,
        Source::DaemonSets,
        Source::Deployments,
        Source::Services,
        Source::EndpointSlices,
    ]),
    profiles: false,
    history: Memory::Unused,
    samples: Metrics::NONE,
    baseline: true,
    judge: Judge::Webhook(judge),
    doc: DOC,
    #[cfg(test)]
    examples,
};

const DOC: &str = "\
No admission webhook that can be down blocks the requests that keep a cluster alive.

A webhook with `failurePolicy: Fail` refuses what it cannot be asked about. If it matches the Leases by which nodes
report that they live, all nodes are declared lost as soon as it is away; if it matches Pods, nothing that failed is
replaced, its own Pods included; if it matches EndpointSlices, no Service learns of new or lost Pods.

A webhook with `failurePolicy: Ignore` lets requests pass, but only after `timeoutSeconds`. Where its backend does not
answer (its node died, the network drops packets), each request waits that long, and callers give up earlier.

## Formula

The requests that count: Leases in kube-node-lease and kube-system, nodes and nodes/status; new Pods, their bindings,
status and tokens; EndpointSlices; TokenReviews, SubjectAccessReviews and CertificateSigningRequests with their approval
and status. For every webhook its rules, namespaceSelector, objectSelector and matchConditions are evaluated against each
of them; of who asks, the conditions see kubelets, the scheduler and the controllers of kube-controller-manager. `Fail`:

- it matches, and its Service has no ready endpoint at its port, or no such port: Violated, `Blocked`. A warning where it
  reaches fewer than half of the namespaces outside of the system's and not its own, for reviews and
  CertificateSigningRequests, and where only new Leases or EndpointSlices are refused (those that are there are
  updated, not created); else critical;
- it matches, and its Service is headless: the same, as an API server calls the Service's cluster address, unless it runs
  with `--enable-aggregator-routing`; Unknown where its flags are not to be seen;
- the same with matchConditions whose answer is not known: AtRisk, `BlockedIfConditionsMatch`;
- it matches Leases or nodes, and its Service has ready endpoints: AtRisk, `InTheWay`, a warning when there is only one;
- it matches, and is reached by a URL or through an ExternalName: Unknown;

and `Ignore`, whether its backend is ready or not:

- Leases of kube-node-lease or nodes/status with `timeoutSeconds` of 10 or more, as kubelets wait 10 s: AtRisk,
  `TooSlowToIgnore`;
- Leases of kube-system with 5 or more, as leaders wait 5 s: the same;
- several webhooks of which none is that slow: validating ones are asked at the same time, so that the longest counts;
  mutating ones one after the other, so that their times add up, over all configurations, and the longest validating one
  comes on top. Where the sum is that much: AtRisk, `TooSlowTogether`, told of the first configuration by name; info where
  only webhooks of several Services come to it, as those are rarely silent at the same time.

Selectors see the labels of Namespaces and nodes, and of Pods and the templates of Deployments and DaemonSets in
kube-system and in the webhook's own namespace, as far as they are read. Where none of its own Pods is there, nor such a
template, as of a StatefulSet, they have the labels that its Service selects. Elsewhere only a webhook that is asked about
Pods without labels is seen. Rules that name only versions which are served no longer match nothing, whatever
`matchPolicy` is.

## What to do

1. Take the system out of the webhook: a namespaceSelector that leaves out kube-system, kube-node-lease and the
   webhook's own namespace, and rules that name resources instead of `*`.
2. Where it must stay, run several replicas, outside the nodes it guards; give a webhook that may be ignored a
   `timeoutSeconds` of 1 or 2.
3. In an outage, delete the webhook configuration, not the nodes: they are healthy.

## What not to do

Do not drain or restart nodes that are NotReady because of it.
";

fn judge(look: &Look<'_>, key: Key) -> Known<Verdict> {
    let Some(row) = look.webhook(key)? else {
        return Ok(Verdict::NotApplicable("the configuration is gone"));
    };
    let mut worst = Verdict::Met;
    for hook in &row.webhooks {
        let verdict = if hook.fails {
            refuses(look, hook)
        } else {
            delays(look, hook)
        };
        let verdict = verdict.unwrap_or_else(Verdict::Unknown);
        if weight(&verdict) > weight(&worst) {
            worst = verdict;
        }
    }
    let together = in_turn::delays(look, key, row).unwrap_or_else(Verdict::Unknown);
    Ok(if weight(&together) > weight(&worst) {
        together
    } else {
        worst
    })
}

fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Violated(case) if case.at_most() == Severity::Critical => 5,
        Verdict::Violated(_) => 4,
        Verdict::AtRisk(case) if case.at_most() > Severity::Info => 3,
        Verdict::Unknown(_) => 2,
        Verdict::AtRisk(_) => 1,
        Verdict::Met | Verdict::NotApplicable(_) => 0,
    }
}

/// A request that a webhook is asked about.
#[derive(Debug, Clone, Copy)]
struct Hit {
    request: &'static ComponentCall,
    reach: Reach,
    open: bool,
}

impl Hit {
    /// How much it hurts when it is refused: what counts more comes later.
    fn rank(self) -> (Severity, bool, Reach) {
        (severity(self.request.stops, self.reach), !self.open, self.reach)
    }
}

fn severity(stops: Stops, reach: Reach) -> Severity {
    match (stops, reach) {
        (Stops::Calls, _) | (_, Reach::Few(_)) => Severity::Warning,
        _ => Severity::Critical,
    }
}

/// The worst of the requests that a webhook is asked about; of equals the first of the table.
fn worst(look: &Look<'_>, hook: &Webhook, counts: impl Fn(&ComponentCall) -> bool) -> Known<Option<Hit>> {
    let (mut gap, mut worst) = (None, None::<Hit>);
    for request in REQUESTS.iter().filter(|request| counts(request)) {
        match reach(look, hook, request) {
            Ok(None) => {}
            Ok(Some((reach, open))) => {
                let hit = Hit { request, reach, open };
                if worst.is_none_or(|held| hit.rank() > held.rank()) {
                    worst = Some(hit);
                }
            }
            Err(one) => gap = gap.or(Some(one)),
        }
    }
    match (worst, gap) {
        (None, Some(gap)) => Err(gap),
        (worst, _) => Ok(worst),
    }
}

/// A webhook that refuses what it cannot be asked about.
fn refuses(look: &Look<'_>, hook: &Webhook) -> Known<Verdict> {
    let Some(hit) = worst(look, hook, |_| true)? else {
        return Ok(Verdict::Met);
    };
    let opaque = |how: &str| {
        let what = hit.request.what;
        Gap::Opaque(format!("webhook {} is asked about {what} and is reached {how}", hook.name).into())
    };
    let service = hook.service.ok_or_else(|| opaque("by a URL"))?;
    let backend = backend(look, service, hook.port)?;
    if backend.alias {
        return Err(opaque("through an ExternalName"));
    }
    let ready = backend.ready;
    let case = |hit: Hit, cause| InTheWay {
        webhook: hook.name.clone(),
        what: hit.request.what,
        in_namespace: hit.request.scope != CallScope::Cluster,
        reach: hit.reach,
        stops: severity(hit.request.stops, hit.reach),
        service: Some(look.show(service).into()),
        ready: u32::try_from(ready).unwrap_or(u32::MAX),
        cause,
    };
    if ready == 0 {
        let lacks = backend.lacks;
        return Ok(if hit.open {
            Verdict::at_risk(case(hit, BlockCause::BlockedIfConditionsMatch { lacks }))
        } else {
            Verdict::violated(case(hit, BlockCause::Blocked { lacks }))
        });
    }
    let heartbeat = |request: &ComponentCall| matches!(request.stops, Stops::Nodes | Stops::Leaders);
    Ok(worst(look, hook, heartbeat)?.map_or(Verdict::Met, |hit| {
        Verdict::at_risk(case(hit, BlockCause::WhenAway))
    }))
}

/// What stands behind the Service of a webhook.
#[derive(Debug, Clone, Copy)]
struct WebhookBackend {
    /// Endpoints that answer at the webhook's port.
    ready: usize,
    /// Whether the Service is a DNS alias without any.
    alias: bool,
    /// What it lacks where none is ready.
    lacks: Lacks,
}

impl WebhookBackend {
    const fn ready(ready: usize) -> Self {
        let lacks = Lacks::Endpoint;
        Self {
            ready,
            alias: false,
            lacks,
        }
    }

    const fn without(lacks: Lacks) -> Self {
        Self {
            ready: 0,
            alias: false,
            lacks,
        }
    }
}

/// Whether all API servers call webhooks at the endpoints of their Services.
fn calls_endpoints(look: &Look<'_>) -> Known<bool> {
    let names = look.names();
    let mut all = Vec::new();
    for (_, pod) in look.components()?.filter(|one| !one.1.ended) {
        let mut containers = pod.template.containers.iter();
        if let Some(container) = containers.find(|one| names.text(one.name) == api_server::PROGRAM) {
            all.push(api_server::calls_endpoints(&container.command(names))?);
        }
    }
    if all.is_empty() {
        let why = "its Service is headless, and no Pod of a kube-apiserver with its flags is to be seen";
        return Err(Gap::Opaque(why.into()));
    }
    Ok(all.iter().all(|one| *one))
}

/// As the API server finds it: `ResolveCluster` and `findServicePort` in k8s.io/apiserver `pkg/util/proxy/proxy.go`.
fn backend(look: &Look<'_>, service: Key, port: u16) -> Known<WebhookBackend> {
    let count = || {
        look.endpoints(service)
            .map(|all| all.iter().filter(|one| one.ready).count())
    };
    let row = match look.service(service) {
        Ok(Some(row)) => row,
        // It asks no webhook whose Service it does not find, whatever slices are left of it.
        Ok(None) => return Ok(WebhookBackend::ready(0)),
        // Its ports are not known.
        Err(gap) => {
            return match count()? {
                0 => Err(gap),
                ready => Ok(WebhookBackend::ready(ready)),
            };
        }
    };
    // Where no slice of it was read, the Service may not be known as a whole either.
    let any = count()?;
    if row.kind == ServiceType::ExternalName {
        return Ok(WebhookBackend {
            alias: any == 0,
            ..WebhookBackend::ready(any)
        });
    }
    // "cannot route to service with ClusterIP None", however many endpoints are ready.
    if row.headless && any > 0 && !calls_endpoints(look)? {
        return Ok(WebhookBackend::without(Lacks::ClusterAddress));
    }
    if !row.ports.iter().any(|one| one.port == port) {
        return Ok(WebhookBackend::without(Lacks::Port(port)));
    }
    let case = ServiceCase {
        key: service,
        service: row,
        policy: None,
    };
    let by_port = backends_by_port(look, &case)?;
    let of_port = by_port
        .iter()
        .find(|one| one.ports.is_empty() || one.ports.iter().any(|one| one.port == port));
    // Proxies send to what is published though it is not ready, and, where nothing else is left, to what terminates and
    // still serves.
    let ready = of_port.map_or(0, |one| {
        let published = one.waiting.iter().filter(|one| one.ready).count();
        match one.usable.len() + published {
            0 => one.ending.len(),
            ready => ready,
        }
    });
    Ok(WebhookBackend::ready(ready))
}

/// A webhook that lets pass what it cannot be asked about, after a while.
fn delays(look: &Look<'_>, hook: &Webhook) -> Known<Verdict> {
    let late = |request: &ComponentCall| request.patience.is_some_and(|most| hook.timeout_seconds >= most);
    let hit = worst(look, hook, late)?;
    let slow = hit.and_then(|hit| Some((hit, hit.request.patience?)));
    Ok(slow.map_or(Verdict::Met, |(hit, patience)| {
        Verdict::at_risk(InTheWay {
            webhook: hook.name.clone(),
            what: hit.request.what,
            in_namespace: hit.request.scope != CallScope::Cluster,
            reach: hit.reach,
            stops: Severity::Warning,
            service: hook.service.map(|service| look.show(service).into()),
            ready: 0,
            cause: BlockCause::TooSlowToIgnore {
                timeout: hook.timeout_seconds,
                patience,
            },
        })
    }))
}
