//! Mistakes in policies that no schema can know: names of what does not exist, which judge nothing and look like health, and
//! what cannot all be true.

mod contradictions;

use std::collections::BTreeSet;

use crate::index::Freshness;
use crate::judge::declared_ports;
use crate::know::{Gap, Source};
use crate::names::Key;
use crate::policy::{Connection, Policy, PortRef, Protocol, ServicePick};
use crate::program::Core;
use crate::sources::selects;
use crate::sources::service::Service;

impl Core {
    /// Every namespace that exists, as far as one can be seen by itself or by an object in it; `None` where not all of
    /// them can, because their list was refused.
    pub fn namespaces(&self) -> Option<BTreeSet<&str>> {
        let index = &self.index;
        if !matches!(
            index.freshness(Source::Namespaces),
            Freshness::Complete | Freshness::Missing
        ) {
            return None;
        }
        let own = index.namespaces.iter().map(|one| one.0.name);
        let keys = index.services.iter().map(|one| one.0);
        let keys = keys.chain(index.slices.iter().map(|one| one.0));
        let keys = keys.chain(index.pods.iter().map(|one| one.0));
        let keys = keys.chain(index.config_maps.iter().map(|one| one.0));
        let keys = keys.chain(index.daemon_sets.iter().map(|one| one.0));
        let keys = keys.chain(index.policies.iter().map(|one| one.0));
        let all = own.chain(keys.map(|key| key.namespace));
        Some(all.map(|name| index.names.text(name)).collect())
    }

    /// Why the Services or the policies of a namespace cannot be seen, if they cannot.
    pub fn unseen(&self, namespace: &str) -> Option<Gap> {
        let index = &self.index;
        let gap = |source| match index.names.find(namespace) {
            Some(name) => index.gap_in(source, name),
            None => index.unread(source),
        };
        gap(Source::Policies).or_else(|| gap(Source::Services))
    }

    /// The names of the Services of a namespace, sorted.
    pub fn services_of(&self, namespace: &str) -> Vec<&str> {
        let index = &self.index;
        let keys = index.names.find(namespace).map(|name| index.services_in.of(name));
        let mut names: Vec<_> = keys
            .into_iter()
            .flatten()
            .map(|key| index.names.text(key.name))
            .collect();
        names.sort_unstable();
        names
    }

    /// The names of the policies of a namespace, those that could not be understood included, sorted.
    pub fn policy_names(&self, namespace: &str) -> BTreeSet<&str> {
        let index = &self.index;
        let Some(space) = index.names.find(namespace) else {
            return BTreeSet::new();
        };
        let refused = index
            .opaque
            .keys()
            .filter(|(source, key)| *source == Source::Policies && key.namespace == space);
        let all = index.policies_in.of(space).chain(refused.map(|one| one.1));
        all.map(|key| index.names.text(key.name)).collect()
    }

    /// What the policies name and what does not exist, and what contradicts itself, as text, sorted. Nothing is reported of a
    /// namespace of which Services were not read.
    pub fn unmatched(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut namespaces = BTreeSet::new();
        for (key, policy) in self.index.policies.iter() {
            let shown = format!("policy {}", self.index.show(key));
            contradictions::impossible(&format!("{shown},"), policy, &mut found);
            self.without_effect(&shown, policy, &mut found);
            if self.index.gap_in(Source::Services, key.namespace).is_none() {
                self.absent(key, policy, &shown, &mut found);
                self.without_pods(key, policy, &shown, &mut found);
                namespaces.insert(key.namespace);
            }
        }
        for namespace in namespaces {
            self.contradictions(namespace, &mut found);
        }
        found.sort();
        found
    }

    /// What the status of a policy says of its mistakes, sorted. Of clients that select no Pod it says nothing: between two runs
    /// of a batch job that is as it should be, and an audit says it.
    pub(crate) fn mistakes(&self, key: Key, policy: &Policy) -> Mistakes {
        let mut mistakes = Mistakes::default();
        contradictions::impossible("its", policy, &mut mistakes.conflicts);
        if self.index.gap_in(Source::Services, key.namespace).is_none() {
            self.contradicted(key, policy, &mut mistakes.conflicts);
            self.absent(key, policy, "it", &mut mistakes.absent);
        }
        mistakes.conflicts.sort();
        mistakes.absent.sort();
        mistakes
    }

    fn without_effect(&self, shown: &str, policy: &Policy, found: &mut Vec<String>) {
        found.extend(crate::findings::without_effect(self.engine.checks(), policy).map(|check| {
            format!(
                "{shown} has an exception for {check}, which does not judge its Services: it has no effect; the \
                 platform's policy can have one (spec.exceptions)"
            )
        }));
    }

    /// Services and ports that a policy names and that do not exist.
    fn absent(&self, key: Key, policy: &Policy, shown: &str, found: &mut Vec<String>) {
        let index = &self.index;
        let all = || {
            let keys = index.services_in.of(key.namespace);
            keys.filter_map(|service| Some((service, index.services.get(service)?)))
        };
        if let ServicePick::Names(names) = &policy.services {
            for name in names {
                let service = index.names.find(name).map(|name| Key { name, ..key });
                if service.and_then(|service| index.services.get(service)).is_none() {
                    found.push(format!(
                        "{shown} names Service {name}, which does not exist in its namespace"
                    ));
                }
            }
        }
        let governed: Vec<&Service> = all()
            .filter(|(service, row)| index.governs(policy, *service, row))
            .map(|(_, row)| row)
            .collect();
        if governed.is_empty() {
            if matches!(policy.services, ServicePick::Selector(_)) {
                found.push(format!("{shown} selects no Service of its namespace"));
            }
            return;
        }
        for connection in &policy.connections {
            let mut ports = governed
                .iter()
                .flat_map(|service| declared_ports(connection, service, &index.names));
            if ports.next().is_none() {
                let hint = if governed.iter().all(|service| service.ports.is_empty()) {
                    " (a Service without ports is judged by the numbers that the connection's ports name)"
                } else {
                    ""
                };
                found.push(format!(
                    "{shown} declares connection {} for {}, which no Service that it governs has: nothing is judged by \
                     it{hint}",
                    connection.name,
                    wanted(connection)
                ));
            }
        }
    }

    /// Clients whose selector matches no Pod of the namespace, where its Pods were read.
    fn without_pods(&self, key: Key, policy: &Policy, shown: &str, found: &mut Vec<String>) {
        let index = &self.index;
        if index.gap_in(Source::Pods, key.namespace).is_some() {
            return;
        }
        let clients = policy
            .connections
            .iter()
            .flat_map(|connection| &connection.clients);
        for client in clients {
            let Some(selector) = &client.pods else {
                continue;
            };
            let keys = index.pods_in.of(key.namespace);
            let mut pods = keys.filter_map(|pod| index.pods.get(pod));
            if !pods.any(|pod| selects(selector, &pod.template.labels, &index.names)) {
                found.push(format!(
                    "{shown}: podSelector of client {} selects no Pod of its namespace: what its Pods set is not known",
                    client.name
                ));
            }
        }
    }
}

/// What is wrong with one policy, as text.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    /// What cannot be true together.
    pub(crate) conflicts: Vec<String>,
    /// What does not exist.
    pub(crate) absent: Vec<String>,
}

/// The ports that a connection is declared for.
fn wanted(connection: &Connection) -> String {
    let transport = if connection.protocol == Protocol::Udp {
        "UDP"
    } else {
        "TCP"
    };
    let ports: Vec<String> = connection
        .ports
        .iter()
        .map(|port| match port {
            PortRef::Number(number) => number.to_string(),
            PortRef::Name(name) => name.to_string(),
        })
        .collect();
    if ports.is_empty() {
        format!("any {transport} port")
    } else {
        format!("{transport} port {}", ports.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::Input;
    use crate::know::Source;
    use crate::policy::{
        Beat, Connection, Hop, Layer, Limit, Policy, PortRef, Protocol, ServicePick, Upstream,
    };
    use crate::standing::Reason;
    use crate::world::{World, app, client, connection, policy, service};

    fn found(policy: Policy, missing: &[Source]) -> Vec<String> {
        let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
        let mut world = World::without(missing)
            .with(Source::Services, service("api", ports))
            .policy(policy);
        world.core.round(world.now);
        world.core.unmatched()
    }

    fn for_ports(protocol: Protocol, ports: &[PortRef]) -> Policy {
        policy(vec![Connection {
            ports: ports.to_vec(),
            ..connection(protocol, client("web"))
        }])
    }

    fn picks(services: ServicePick) -> Policy {
        Policy {
            services,
            ..policy(Vec::new())
        }
    }

    #[rstest]
    #[case::all_there(for_ports(Protocol::Grpc, &[]), &[])]
    #[case::by_name(for_ports(Protocol::Grpc, &[PortRef::Name("grpc".into())]), &[])]
    #[case::one_of_two(for_ports(Protocol::Grpc, &[PortRef::Number(80), PortRef::Number(81)]), &[])]
    #[case::mistyped(for_ports(Protocol::Grpc, &[PortRef::Name("grcp".into()), PortRef::Number(81)]), &["policy shop/p declares connection main for TCP port grcp or 81, which no Service that it governs has: nothing is judged by it"])]
    #[case::another_transport(for_ports(Protocol::Udp, &[]), &["policy shop/p declares connection main for any UDP port, which no Service that it governs has: nothing is judged by it"])]
    #[case::no_service(picks(ServicePick::Names(vec!["api".into(), "apu".into()])), &["policy shop/p names Service apu, which does not exist in its namespace"])]
    #[case::nothing_selected(picks(ServicePick::Selector(app("other"))), &["policy shop/p selects no Service of its namespace"])]
    fn what_nothing_answers_to_is_told(#[case] policy: Policy, #[case] expected: &[&str]) {
        assert_eq!(found(policy, &[]), expected);
    }

    /// As a DNS alias may be, which needs no ports.
    #[rstest]
    #[case::numbered(&[PortRef::Number(5432)], "")]
    #[case::any(&[], "policy shop/p declares connection main for any TCP port, which no Service that it governs has: nothing is judged by it (a Service without ports is judged by the numbers that the connection's ports name)")]
    fn a_service_without_ports(#[case] ports: &[PortRef], #[case] expected: &str) {
        let mut world = World::complete()
            .with(
                Source::Services,
                service("api", json!({"ports": [], "type": "ExternalName"})),
            )
            .policy(for_ports(Protocol::Tcp, ports));
        world.core.round(world.now);
        assert_eq!(world.core.unmatched().concat(), expected);
    }

    fn with_two(change: impl FnOnce(&mut Policy)) -> Vec<String> {
        let mut one = for_ports(Protocol::Grpc, &[]);
        one.connections[0].clients[0].tcp_keepalive = Some(Beat::Enabled(Some(300)));
        let mut other = Policy {
            name: "q".into(),
            ..one.clone()
        };
        change(&mut other);
        let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
        let mut world = World::without(&[])
            .with(Source::Services, service("api", ports))
            .policy(one)
            .policy(other);
        world.core.round(world.now);
        world.core.unmatched()
    }

    #[test]
    fn two_policies_that_say_the_same_do_not_contradict_each_other() {
        assert!(with_two(|_| {}).is_empty());
        // What one of them leaves out is no contradiction either.
        assert!(with_two(|other| other.connections[0].server.request_timeout_seconds = Some(60)).is_empty());
    }

    #[test]
    fn two_policies_that_contradict_each_other_are_named_with_the_field() {
        let beat = Some(Beat::Enabled(Some(60)));
        assert_eq!(
            with_two(|other| other.connections[0].clients[0].tcp_keepalive = beat),
            [
                "policies shop/p and q contradict each other on Service api: client web at port 80 tcpKeepalive is Enabled (300 s) and Enabled (60 s)"
            ]
        );
    }

    #[test]
    fn numbers_that_exclude_each_other_are_named() {
        let mut policy = for_ports(Protocol::Grpc, &[]);
        policy.connections[0].longest_request_seconds = Some(600);
        policy.connections[0].server.request_timeout_seconds = Some(60);
        policy.connections[0].server.minimum_ping_interval_seconds = Some(30);
        policy.connections[0].clients[0].ping = Some(Beat::Enabled(Some(10)));
        assert_eq!(
            found(policy, &[]),
            [
                "policy shop/p, connection main: client web pings every 10 s, and the server allows one in 30 s: such connections end",
                "policy shop/p, connection main: longestRequestSeconds 600 cannot be, as the server ends requests after 60 s",
            ]
        );
    }

    /// Behind a proxy the server sees the proxy's pings.
    #[test]
    fn the_last_proxy_pings_the_server() {
        let mut policy = for_ports(Protocol::Grpc, &[]);
        let connection = &mut policy.connections[0];
        connection.server.minimum_ping_interval_seconds = Some(30);
        connection.clients[0].ping = Some(Beat::Enabled(Some(10)));
        connection.hops = vec![Hop {
            name: "envoy".into(),
            layer: Layer::L7,
            idle_timeout: None,
            request_timeout_seconds: None,
            upstream: Upstream::default(),
        }];
        assert!(found(policy.clone(), &[]).is_empty());
        policy.connections[0].hops[0].upstream.ping = Some(Beat::Enabled(Some(20)));
        assert_eq!(
            found(policy, &[]),
            [
                "policy shop/p, connection main: hop envoy pings every 20 s, and the server allows one in 30 s: such connections end"
            ]
        );
    }

    fn idle(name: &str, seconds: u32) -> Policy {
        let mut policy = for_ports(Protocol::Grpc, &[]);
        policy.name = name.into();
        policy.connections[0].server.idle_timeout = Some(Limit::Seconds(seconds));
        policy
    }

    fn accepted(world: &World, name: &str) -> (Reason, String) {
        let standing = world.core.standing(world.now, "shop", name).unwrap();
        (standing.accepted.reason, standing.accepted.message)
    }

    #[test]
    fn a_status_says_what_is_mistaken() {
        let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
        let mut world = World::complete().with(Source::Services, service("api", ports));
        let names = ServicePick::Names(vec!["api".into(), "apu".into()]);
        world = world.policy(Policy {
            services: names,
            ..idle("p", 60)
        });
        world.core.round(world.now);
        let said = accepted(&world, "p");
        assert_eq!(said.0, Reason::TargetNotFound);
        assert!(
            said.1.contains("names Service apu, which does not exist"),
            "{}",
            said.1
        );
        // A policy that contradicts it changes what both say, and when it goes what the other says.
        world = world.policy(idle("q", 700));
        let round = world.core.round(world.now);
        let names = &world.core.index().names;
        let told: Vec<_> = round.standings.iter().map(|key| names.text(key.name)).collect();
        assert!(told.contains(&"p") && told.contains(&"q"), "{told:?}");
        let said = accepted(&world, "p");
        assert_eq!(said.0, Reason::Conflicted);
        assert!(
            said.1.starts_with(
                "in force, but policy q contradicts it on Service api: server at port 80 idleTimeoutSeconds is 700 there and 60 here"
            ) && said.1.contains("apu"),
            "{}",
            said.1
        );
        assert_eq!(accepted(&world, "q").0, Reason::Conflicted);
        world
            .core
            .handle(world.now, Input::Gone(Source::Policies, "shop", "q"));
        let round = world.core.round(world.now);
        let names = &world.core.index().names;
        assert!(round.standings.iter().any(|key| names.text(key.name) == "p"));
        assert_eq!(accepted(&world, "p").0, Reason::TargetNotFound);
    }

    /// A team may write thousands of policies for one Service: their statuses compare none, and an audit all.
    #[test]
    fn of_many_policies_for_one_service_statuses_compare_none() {
        let ports = json!({"ports": [{"name": "grpc", "port": 80}]});
        let mut world = World::complete().with(Source::Services, service("api", ports));
        for at in 0..8 {
            world = world.policy(idle(&format!("p{at}"), 60 + at));
        }
        world.core.round(world.now);
        assert_eq!(accepted(&world, "p0").0, Reason::Conflicted);
        world = world.policy(idle("p8", 90)).policy(idle("p9", 90));
        let round = world.core.round(world.now);
        assert_eq!(round.standings.len(), 10);
        assert_eq!(accepted(&world, "p0").0, Reason::Accepted);
        assert!(!world.core.unmatched().is_empty());
    }

    #[test]
    fn a_client_that_is_nobody_is_named() {
        let mut policy = for_ports(Protocol::Grpc, &[]);
        policy.connections[0].clients[0].pods = Some(app("wbe"));
        assert_eq!(
            found(policy.clone(), &[]),
            [
                "policy shop/p: podSelector of client web selects no Pod of its namespace: what its Pods set is not known"
            ]
        );
        assert!(found(policy, &[Source::Pods]).is_empty());
    }

    #[test]
    fn services_that_nobody_read_may_be_there() {
        let policy = picks(ServicePick::Names(vec!["apu".into()]));
        assert!(found(policy, &[Source::Services]).is_empty());
    }
}
