//! The check on connections to a load balancer, and what its clients do.

use rstest::rstest;

use super::*;
use crate::checks::control_plane::servers::world::start;
use crate::handle::Input;
use crate::policy::ClusterPolicy;
use crate::sample::{PageGap, PageScope, SampleSubject, Why};
use crate::world::World;

const ID: &str = "lb-view-mismatch";
const LONG_AGO: f64 = 1_799_000_000.0;
const SERVERS: [IpAddr; 3] = {
    const fn of(at: u8) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, at))
    }
    [of(1), of(2), of(3)]
};

fn observed() -> World {
    let mut world = start();
    world.input(Input::Observers(&[
        Observer::Prometheus,
        Observer::Instance,
        Observer::LoadBalancer,
    ]));
    world
}

/// Three connections in 15 s, shared so, for so many samples; how often the balancer has changed; requests in a second.
struct Played {
    samples: u32,
    handshakes: [f64; 3],
    changes: f64,
    requests: [f64; 3],
    accepted: Option<[f64; 3]>,
    started: [f64; 3],
}

const ALL_ON_ONE: Played = Played {
    samples: 9,
    handshakes: [3.0, 0.0, 0.0],
    changes: 0.0,
    requests: [20.0; 3],
    accepted: None,
    started: [LONG_AGO; 3],
};

fn play(world: &mut World, played: &Played) {
    for step in 0..played.samples {
        if step > 0 {
            world.wait(15);
        }
        let step = f64::from(step);
        let of_each = |metric, values: [f64; 3]| {
            let each = SERVERS.into_iter().zip(values);
            each.map(move |(at, value)| (metric, SampleSubject::Instance(at), value))
                .collect::<Vec<_>>()
        };
        let grown = |rates: [f64; 3]| rates.map(|one| one * step);
        let handshakes = of_each(Metric::BalancerHandshakes, grown(played.handshakes));
        world.measure(Observer::LoadBalancer, PageScope::Instances, &handshakes);
        let changes = [(Metric::BalancerChanges, SampleSubject::Cluster, played.changes)];
        world.measure(Observer::LoadBalancer, PageScope::Cluster, &changes);
        let requests = of_each(Metric::Requests, grown(played.requests.map(|one| one * 15.0)));
        world.measure(Observer::Instance, PageScope::Instances, &requests);
        if let Some(rates) = played.accepted {
            let accepted = ["m0", "m1", "m2"]
                .into_iter()
                .zip(grown(rates.map(|one| one * 15.0)));
            let accepted =
                accepted.map(|(node, value)| (Metric::AcceptedConnections, SampleSubject::Node(node), value));
            world.measure(
                Observer::Prometheus,
                PageScope::Nodes,
                &accepted.collect::<Vec<_>>(),
            );
        }
        let started = of_each(Metric::StartTime, played.started);
        world.measure(Observer::Instance, PageScope::Instances, &started);
    }
}

fn says(played: &Played) -> String {
    let mut world = observed();
    play(&mut world, played);
    world.verdict(ID)
}

#[rstest]
#[case::shared(Played { handshakes: [1.0; 3], samples: 20, ..ALL_ON_ONE }, "Met")]
#[case::on_two_of_three(Played { handshakes: [2.0, 1.0, 0.0], samples: 20, ..ALL_ON_ONE }, "AtRisk warning OneUnused")]
#[case::on_two_for_a_short_time(Played { handshakes: [2.0, 1.0, 0.0], samples: 17, ..ALL_ON_ONE }, "Met")]
#[case::too_few(Played { samples: 8, ..ALL_ON_ONE }, "Unknown")]
#[case::enough_of_three(Played { samples: 9, ..ALL_ON_ONE }, "Violated warning OneUsedOrMeant")]
#[case::it_did_spread(Played { changes: 10.0, ..ALL_ON_ONE }, "Violated critical OneUsed")]
#[case::it_failed_over_once(Played { changes: 1.0, ..ALL_ON_ONE }, "Violated warning OneUsedOrMeant")]
#[case::the_others_have_just_started(
    Played { changes: 90.0, started: [LONG_AGO, 1_800_000_060.0, 1_800_000_060.0], ..ALL_ON_ONE }, "NotApplicable"
)]
fn shares(#[case] played: Played, #[case] expected: &str) {
    assert_eq!(says(&played), expected);
}

#[rstest]
#[case::all_clients_go_there([60.0, 2.0, 2.0], "Violated critical OneUsed")]
#[case::open_connections_may_hide_it([20.0; 3], "Violated warning OneUsedOrMeant")]
fn a_declared_balancer_is_none_that_fails_over(#[case] requests: [f64; 3], #[case] expected: &str) {
    let mut world = observed().platform(ClusterPolicy {
        load_balancer: Some("api.example.com:6443".into()),
        ..ClusterPolicy::default()
    });
    play(
        &mut world,
        &Played {
            requests,
            ..ALL_ON_ONE
        },
    );
    assert_eq!(world.verdict(ID), expected);
}

/// Clients are kept by their address, and there are many of them.
#[rstest]
#[case::spread([9.0, 8.0, 10.0], "Met")]
#[case::on_one([27.0, 0.5, 0.5], "Violated critical OneUsed")]
#[case::neither([16.0, 8.0, 3.0], "Violated warning OneUsedOrMeant")]
fn new_connections_of_all_clients_tell(#[case] accepted: [f64; 3], #[case] expected: &str) {
    let mut world = observed().platform(ClusterPolicy {
        load_balancer: Some("api.example.com:6443".into()),
        ..ClusterPolicy::default()
    });
    let accepted = Some(accepted);
    play(
        &mut world,
        &Played {
            accepted,
            ..ALL_ON_ONE
        },
    );
    assert_eq!(world.verdict(ID), expected);
}

#[test]
fn without_connections_of_our_own_it_does_not_apply() {
    assert_eq!(start().verdict(ID), "NotApplicable");
}

#[test]
fn a_certificate_that_is_shared_is_unknown_with_the_reason() {
    let mut world = observed();
    let gap = PageGap {
        why: Why::SameCertificate,
        detail: "192.0.2.1, 192.0.2.2",
    };
    world.input(Input::Samples(&crate::sample::Page {
        observer: Observer::LoadBalancer,
        metrics: Metrics::of(&[Metric::BalancerHandshakes]),
        scope: PageScope::Instances,
        asked: world.milliseconds(),
        samples: &[],
        gap: Some(gap),
    }));
    assert_eq!(
        world.message(ID),
        "cannot be judged: not measured: balancerHandshakes: the load balancer shows a certificate that several API servers share: 192.0.2.1, 192.0.2.2"
    );
}

#[test]
fn the_one_that_is_used_is_never_to_be_restarted() {
    let mut world = observed();
    play(
        &mut world,
        &Played {
            changes: 40.0,
            ..ALL_ON_ONE
        },
    );
    let found = world.findings(ID);
    assert!(
        found[0]
            .message
            .contains("every new connection to API server 192.0.2.1"),
        "{}",
        found[0].message
    );
    assert!(
        found[0]
            .advice
            .iter()
            .any(|one| one.starts_with("do not restart or drain")),
        "{:?}",
        found[0].advice
    );
}

#[rstest]
#[case(2.0, 31.0)]
#[case(3.0, 20.0)]
#[case(5.0, 14.0)]
fn connections_that_are_no_chance(#[case] n: f64, #[case] expected: f64) {
    assert!(
        (same_by_chance(n) - expected).abs() < 0.1,
        "{}",
        same_by_chance(n)
    );
    // The chance of fewer is above one in 1e9.
    assert!(n.powf(2.0 - expected) > 1.0 / CHANCE && n.powf(1.0 - expected) <= 1.0 / CHANCE);
}
