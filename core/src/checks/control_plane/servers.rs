//! The API servers, one by one, and what was measured on each.

use std::net::IpAddr;

use crate::judge::Look;
use crate::know::{Gap, Known};
use crate::names::{Key, Name};
use crate::sample::{Metric, Reading};

/// Addresses of the ready API servers, as they write them into `default/kubernetes`, in order.
pub(super) fn servers(look: &Look<'_>) -> Known<Vec<IpAddr>> {
    let names = look.names();
    let unseen = || Gap::Opaque("no endpoints of default/kubernetes are to be seen".into());
    let key = Key {
        namespace: names.find("default").ok_or_else(unseen)?,
        name: names.find("kubernetes").ok_or_else(unseen)?,
    };
    let endpoints = look.endpoints(key)?;
    let mut all: Vec<IpAddr> = endpoints
        .iter()
        .filter(|one| one.ready)
        .map(|one| one.address)
        .collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() { Err(unseen()) } else { Ok(all) }
}

/// A metric of each of them; a gap where one of them was not measured.
pub(super) fn on_each<'a>(
    look: &Look<'a>,
    metric: Metric,
    servers: &[IpAddr],
) -> Known<Vec<(IpAddr, Reading<'a>)>> {
    let one = |at: &IpAddr| Ok((*at, look.on_instance(metric, *at)?));
    servers.iter().map(one).collect()
}

/// For how many seconds an API server has run.
pub(super) fn runs_for(look: &Look<'_>, server: IpAddr) -> Known<f64> {
    let now = f64::from(u32::try_from(look.now.wall.0).unwrap_or_default());
    Ok(now - look.on_instance(Metric::StartTime, server)?.value)
}

/// The Node that an API server runs on: the one that has its address.
pub(super) fn node_of(look: &Look<'_>, server: IpAddr) -> Known<Option<Name>> {
    let mut nodes = look.nodes()?.iter();
    Ok(nodes
        .find(|(_, node)| node.addresses.contains(&server))
        .map(|(key, _)| key.name))
}

/// Three API servers on three Nodes, measured every 30 s: counters grow by so much in a second, levels stand still.
#[cfg(test)]
pub(super) mod world {
    use serde_json::json;

    use crate::handle::Input;
    use crate::know::Source;
    use crate::sample::{Metric, MetricKind, Observer, Of, PageScope, SampleSubject};
    use crate::world::{World, instances, node};

    const SERVERS: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];

    /// A metric, of which resource, and its growth or value on each server.
    pub(in super::super) type Played<'a> = (Metric, &'a str, [f64; 3]);

    pub(in super::super) fn start() -> World {
        let mut world = World::watched(&[(Source::EndpointSlices, instances(&SERVERS))]);
        for (at, address) in SERVERS.iter().enumerate() {
            let mut node = node(&format!("m{at}"), "z");
            node["status"]["addresses"] = json!([{"type": "InternalIP", "address": address}]);
            world.put(Source::Nodes, &node);
        }
        world.input(Input::Observers(&[Observer::Prometheus]));
        world
    }

    /// Plays so many samples.
    pub(in super::super) fn play(world: &mut World, samples: u32, played: &[Played<'_>]) {
        for step in 0..samples {
            if step > 0 {
                world.wait(30);
            }
            for (metric, resource, values) in played {
                let samples: Vec<_> = (0..3_u8)
                    .zip(values)
                    .filter(|one| !one.1.is_nan())
                    .map(|(at, value)| {
                        let address = SERVERS[usize::from(at)].parse().unwrap();
                        let subject = match metric.of() {
                            Of::Resource => SampleSubject::Resource(address, *resource),
                            Of::Node => SampleSubject::Node(["m0", "m1", "m2"][usize::from(at)]),
                            Of::Cluster => SampleSubject::Cluster,
                            Of::Instance | Of::Backend => SampleSubject::Instance(address),
                        };
                        let value = match metric.kind() {
                            MetricKind::Gauge => *value,
                            MetricKind::Counter => value * 30.0 * f64::from(step),
                        };
                        (*metric, subject, value)
                    })
                    .collect();
                let scope = match metric.of() {
                    Of::Node => PageScope::Nodes,
                    Of::Cluster => PageScope::Cluster,
                    Of::Instance | Of::Resource | Of::Backend => PageScope::Instances,
                };
                let most = if metric.of() == Of::Cluster { 1 } else { 3 };
                world.measure(
                    Observer::Prometheus,
                    scope,
                    samples.get(..most).unwrap_or(&samples),
                );
            }
        }
    }

    /// What one check says after twelve samples.
    pub(in super::super) fn says(id: &str, played: &[Played<'_>]) -> String {
        let mut world = start();
        play(&mut world, 12, played);
        world.verdict(id)
    }
}
