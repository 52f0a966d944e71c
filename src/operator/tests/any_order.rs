//! Whatever happens in whatever order: in the end statuses say what judging from nothing says.

use evenkeel_core::index::Freshness;
use evenkeel_core::know::Source;
use proptest::prelude::*;
use serde_json::json;

use super::super::Event;
use super::world::{ServerConduct, World, policy, service, slice};
use crate::lease::Claim;
use crate::watch::What;

/// Something that may happen.
#[derive(Debug, Clone)]
enum Happens {
    Policy(u8, u8),
    NoPolicy(u8),
    BadPolicy(u8),
    Backends(u8, u8),
    NoService(u8),
    Service(u8),
    Silent(u8),
    Alive(u8),
    Lost(u8),
    Relist(u8),
    Deliver(u8),
    Answer(u8),
    Claim(u8),
    NoClaim,
    Pass(u16),
}

const NAMESPACES: [&str; 2] = ["shop", "crowd"];
const SOURCES: [Source; 4] = [
    Source::Policies,
    Source::Services,
    Source::EndpointSlices,
    Source::Nodes,
];

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (any::<u8>(), 0..4_u8).prop_map(|(at, minimum)| Happens::Policy(at, minimum)),
        1 => any::<u8>().prop_map(Happens::NoPolicy),
        1 => any::<u8>().prop_map(Happens::BadPolicy),
        3 => (any::<u8>(), 0..4_u8).prop_map(|(at, ready)| Happens::Backends(at, ready)),
        1 => any::<u8>().prop_map(Happens::NoService),
        2 => any::<u8>().prop_map(Happens::Service),
        1 => any::<u8>().prop_map(Happens::Silent),
        1 => any::<u8>().prop_map(Happens::Alive),
        1 => any::<u8>().prop_map(Happens::Lost),
        1 => any::<u8>().prop_map(Happens::Relist),
        6 => any::<u8>().prop_map(Happens::Deliver),
        6 => any::<u8>().prop_map(Happens::Answer),
        2 => any::<u8>().prop_map(Happens::Claim),
        1 => Just(Happens::NoClaim),
        2 => any::<u16>().prop_map(Happens::Pass),
    ]
}

/// One of a few policies of a few namespaces.
fn which(at: u8) -> (&'static str, String) {
    (NAMESPACES[usize::from(at) % 2], format!("p{}", at / 2 % 4))
}

fn take(world: &mut World, happens: &Happens) {
    let namespace = |at: u8| NAMESPACES[usize::from(at) % 2];
    let source = |at: u8| SOURCES[usize::from(at) % SOURCES.len()];
    match *happens {
        Happens::Policy(at, minimum) => {
            let (namespace, name) = which(at);
            world.apply(Source::Policies, policy(namespace, &name, u32::from(minimum) + 1));
        }
        Happens::NoPolicy(at) => {
            let (namespace, name) = which(at);
            world.delete(Source::Policies, namespace, &name);
        }
        Happens::BadPolicy(at) => {
            let (namespace, name) = which(at);
            let mut bad = policy(namespace, &name, 1);
            bad["spec"]["services"] = json!({});
            world.apply(Source::Policies, bad);
        }
        Happens::Backends(at, ready) => {
            world.apply(Source::EndpointSlices, slice(namespace(at), u32::from(ready)));
        }
        Happens::NoService(at) => world.delete(Source::Services, namespace(at), "api"),
        Happens::Service(at) => world.apply(Source::Services, service(namespace(at))),
        Happens::Silent(at) => world.say(source(at), || What::Freshness(Freshness::Stale)),
        Happens::Alive(at) => world.say(source(at), || What::Freshness(Freshness::Complete)),
        Happens::Lost(at) => world.say(source(at), || What::Freshness(Freshness::unreadable("no right"))),
        Happens::Relist(at) => world.relist(source(at)),
        Happens::Deliver(most) => world.deliver(usize::from(most) + 1),
        Happens::Answer(at) => world.answer(match at % 8 {
            0 => ServerConduct::LostAfter,
            1 => ServerConduct::LostBefore,
            2 => ServerConduct::Error(500, "etcd"),
            3 => ServerConduct::Error(429, "busy"),
            _ => ServerConduct::Usual,
        }),
        Happens::Claim(seconds) => {
            let until = world.now.mono.plus(u64::from(seconds) * 1000);
            world.step(Event::Claim(Some(Claim { term: 5, until })));
        }
        Happens::NoClaim => world.step(Event::Claim(None)),
        Happens::Pass(milliseconds) => {
            world.pass(u64::from(milliseconds));
            world.step(Event::Tick);
        }
    }
}

/// Long enough that no check rests on what happened before.
const LONG: u64 = 3 * 3_600_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn in_the_end_statuses_say_what_judging_from_nothing_says(
        story in proptest::collection::vec(happens(), 1..80),
    ) {
        let mut world = World::new();
        for one in &story {
            take(&mut world, one);
        }
        world.lead(6);
        for source in SOURCES {
            world.relist(source);
        }
        world.live(LONG);
        world.writes.clear();
        let mut other = world.restarted();
        other.live(LONG);
        other.lead(7);
        other.live(60_000);
        prop_assert!(other.writes.is_empty(), "written anew: {:?}", other.writes);
    }
}
