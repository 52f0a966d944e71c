//! The endpoints of each port of a Service: Pods that lack a named port serve the others only.

use std::borrow::Cow;

use super::Index;
use crate::know::Known;
use crate::names::Key;
use crate::sources::service::{Service, ServicePort};
use crate::sources::slice::{Endpoint, Slice};

/// The endpoints of one port of a Service, or of several that have the same ones.
#[derive(Debug, Clone)]
pub struct PortEndpoints<'a> {
    /// The ports; empty where the Service has none or all of them have the same endpoints.
    pub ports: Vec<ServicePort>,
    /// Its endpoints, each address once, by address.
    pub endpoints: Cow<'a, [Endpoint]>,
}

impl Index {
    /// The endpoints of a Service by port; ports with the same ones come together, in the order of the Service.
    ///
    /// Proxies find the endpoints of a port by its name (`pkg/proxy/endpointslicecache.go`), and the control plane puts
    /// Pods that lack a named port into slices without it. Where no slice names any port of the Service, they were
    /// written by hand, and each counts for every port.
    ///
    /// # Errors
    /// As [`Index::endpoints`].
    pub fn endpoints_by_port(&self, key: Key, service: &Service) -> Known<Vec<PortEndpoints<'_>>> {
        let all = self.endpoints(key)?;
        let slices: Vec<&Slice> = self
            .slices_of
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|key| self.slices.get(*key))
            .filter(|slice| !slice.endpoints.is_empty())
            .collect();
        let mut groups: Vec<(Vec<ServicePort>, Vec<bool>)> = Vec::new();
        for port in &service.ports {
            let by: Vec<bool> = slices.iter().map(|slice| serves(slice, port)).collect();
            match groups.iter_mut().find(|group| group.1 == by) {
                Some(group) => group.0.push(*port),
                None => groups.push((vec![*port], by)),
            }
        }
        let differ = groups.len() > 1 && groups.iter().any(|group| group.1.contains(&true));
        if !differ {
            let ports = Vec::new();
            return Ok(vec![PortEndpoints {
                ports,
                endpoints: all,
            }]);
        }
        let of = |(ports, by): (Vec<ServicePort>, Vec<bool>)| {
            let serving = slices.iter().zip(by).filter(|one| one.1).map(|one| *one.0);
            PortEndpoints {
                ports,
                endpoints: Cow::Owned(self.merge(serving)),
            }
        };
        Ok(groups.into_iter().map(of).collect())
    }
}

/// Whether the endpoints of a slice serve a port of their Service.
fn serves(slice: &Slice, port: &ServicePort) -> bool {
    let mut ports = slice.ports.iter();
    ports.any(|one| one.name == port.name && one.transport == port.transport)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::names::Key;
    use crate::world::{World, service};

    /// A slice with one endpoint and these ports.
    fn slice(at: usize, ports: &str) -> Value {
        let ports: Vec<Value> = ports
            .split(' ')
            .map(|name| json!({"name": name, "port": 8080}))
            .collect();
        json!({
            "addressType": "IPv4", "ports": ports,
            "metadata": {"name": format!("api-{at}"), "namespace": "shop", "labels": {"kubernetes.io/service-name": "api"}},
            "endpoints": [{"addresses": [format!("10.0.0.{at}")], "conditions": {"ready": true}}],
        })
    }

    #[rstest]
    #[case::alike("web admin, web admin", "2")]
    #[case::one_lacks_a_port("web admin, web", "web 2, admin 1")]
    #[case::nobody_has_a_port("web, web", "web 2, admin 0")]
    #[case::written_by_hand("y, x", "2")]
    #[case::none("", "0")]
    fn endpoints_by_port(#[case] slices: &str, #[case] expected: &str) {
        let ports = json!({"ports": [{"name": "web", "port": 80}, {"name": "admin", "port": 81}]});
        let mut world = World::complete().with(Source::Services, service("api", ports));
        let slices = slices.split(", ").filter(|ports| !ports.is_empty());
        for (at, ports) in slices.enumerate() {
            world = world.with(Source::EndpointSlices, slice(at, ports));
        }
        let index = world.core.index();
        let key = Key {
            namespace: index.names.find("shop").unwrap(),
            name: index.names.find("api").unwrap(),
        };
        let service = index.services.get(key).unwrap();
        let found: Vec<String> = index
            .endpoints_by_port(key, service)
            .unwrap()
            .iter()
            .map(|one| {
                let mut words: Vec<String> = one
                    .ports
                    .iter()
                    .map(|port| index.names.text(port.name).into())
                    .collect();
                words.push(one.endpoints.len().to_string());
                words.join(" ")
            })
            .collect();
        assert_eq!(found.join(", "), expected);
    }
}
