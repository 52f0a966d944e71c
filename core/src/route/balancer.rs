//! The cloud load balancer of a Service, as far as objects show it.

use std::collections::BTreeSet;

use crate::dataplane::load_balancer::{
    LbPort, LbService, Listener, Platform, Targets, idle, listener, targets,
};
use crate::index::{Dep, NodeSums};
use crate::judge::Look;
use crate::know::{Known, Val};
use crate::names::Key;
use crate::sources::service::{Service, ServicePort, ServiceType, Transport};

/// Whether what stands in front of a Service sends to nodes or straight to Pods.
pub fn balancer_targets(look: &Look<'_>, service: &Service) -> Targets {
    let names = look.names();
    let class = names.text(service.load_balancer_class);
    let annotation = |name: &str| service.annotations.text(names, name).map(str::to_owned);
    let own = service.kind == ServiceType::LoadBalancer;
    let platform = if own { platform(look) } else { Platform::default() };
    targets(own, class, platform, &annotation)
}

/// What the platform does where a Service says nothing; as most do, where nodes were not read.
fn platform(look: &Look<'_>) -> Platform {
    Platform {
        auto_mode: has_auto_mode(look),
        terway: look.fleet().has_terway(),
    }
}

fn has_auto_mode(look: &Look<'_>) -> bool {
    look.node_sums(Dep::NodeProviders)
        .is_ok_and(NodeSums::has_auto_mode)
}

/// After how long the load balancer of a Service forgets an idle connection, seconds.
pub fn balancer_idle(look: &Look<'_>, key: Key, service: &Service, port: &ServicePort) -> Known<Val<i64>> {
    ask(look, key, service, port, idle)
}

/// The listener of a Service's load balancer: whether it forwards packets or ends connections, and its times.
pub fn balancer_listener(
    look: &Look<'_>,
    key: Key,
    service: &Service,
    port: &ServicePort,
) -> Known<Listener> {
    ask(look, key, service, port, listener)
}

fn ask<T>(
    look: &Look<'_>,
    key: Key,
    service: &Service,
    port: &ServicePort,
    answer: impl FnOnce(&LbService<'_>, LbPort<'_>) -> Known<T>,
) -> Known<T> {
    let names = look.names();
    // Nodes name the provider where the Service does not; without them the Service alone must.
    let providers: BTreeSet<&str> = look
        .node_sums(Dep::NodeProviders)
        .into_iter()
        .flat_map(NodeSums::providers)
        .map(|provider| names.text(provider))
        .filter(|text| !text.is_empty())
        .collect();
    let providers: Vec<&str> = providers.into_iter().collect();
    let class = names.text(service.load_balancer_class);
    let ingress = names.text(service.ingress);
    let hostnames: &[&str] = if ingress.is_empty() { &[] } else { &[ingress] };
    let subject = format!("Service {}", look.show(key));
    let annotation = |name: &str| service.annotations.text(names, name).map(str::to_owned);
    let keys: Vec<&str> = service
        .annotations
        .iter()
        .map(|(key, _)| names.text(key))
        .collect();
    let service = LbService {
        subject: &subject,
        class: (!class.is_empty()).then_some(class),
        keys: &keys,
        annotation: &annotation,
        provider_ids: &providers,
        hostnames,
        auto_mode: has_auto_mode(look),
    };
    let port = LbPort {
        number: port.port,
        name: names.text(port.name),
        udp: port.transport == Transport::Udp,
    };
    answer(&service, port)
}
