//! Playing a history, and what is told at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use evenkeel_core::findings::FindingList;
use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Now, Source};
use evenkeel_core::names::Key;
use evenkeel_core::{Core, Input};
use serde_json::json;

use super::objects::object;
use super::policies::{cluster_policy, configz, policy};
use super::world::{Health, Id, NAMESPACES, Step, Thing, World};

pub(crate) fn feed(core: &mut Core, now: Now, id: &Id, thing: &Thing) {
    // An object that cannot be understood is an input as good as any.
    match thing {
        Thing::Json(json) => core.handle(now, Input::object(id.0, json.as_bytes())),
        Thing::Policy(policy) => core.handle(now, Input::Policy(policy.clone())),
    }
}

/// Brings texts that take the numbers of those that were forgotten, and lets go of them: what still held one would find
/// another text there.
pub(crate) fn give_away_numbers(core: &mut Core, now: Now, at: usize) {
    let labels: BTreeMap<String, String> = (0..16)
        .map(|one| (format!("key-{at}-{one}"), format!("value-{at}-{one}")))
        .collect();
    let name = format!("passing-{at}");
    let object = json!({"metadata": {"name": name, "labels": labels}}).to_string();
    core.handle(now, Input::object(Source::Namespaces, object.as_bytes()));
    core.handle(now, Input::Gone(Source::Namespaces, "", &name));
}

/// Numbers of names that a core holds somewhere and that mean nothing any more. Printing passes over every field, so this
/// finds what noting its names has left out.
pub(crate) fn meaningless(core: &Core) -> Vec<u32> {
    let printed = format!("{core:?}");
    let numbers = printed
        .split("Name(")
        .skip(1)
        .filter_map(|rest| rest.split(')').next()?.parse().ok());
    let numbers: BTreeSet<u32> = numbers.collect();
    let names = &core.index().names;
    numbers
        .into_iter()
        .filter(|number| names.numbered(*number).is_none())
        .collect()
}

pub(crate) fn apply(core: &mut Core, world: &mut World, step: &Step) {
    match *step {
        Step::Put(source, at, name, variant) => {
            let (id, thing) = if source == Source::Policies {
                let policy = Arc::new(policy(at, name, variant));
                let id = (source, policy.namespace.to_string(), policy.name.to_string());
                (id, Thing::Policy(policy))
            } else {
                let (id, json) = object(source, at, name, variant);
                (id, Thing::Json(json))
            };
            feed(core, world.now(), &id, &thing);
            world.things.insert(id, thing);
        }
        Step::Delete(source, at, name) => {
            let id = if source == Source::Policies {
                let policy = policy(at, name, 0);
                (source, policy.namespace.to_string(), policy.name.to_string())
            } else {
                object(source, at, name, 0).0
            };
            core.handle(world.now(), Input::Gone(source, &id.1, &id.2));
            world.things.remove(&id);
        }
        Step::Relist(source, mask, round, ends) => relist(core, world, source, mask, round, ends),
        Step::Health(source, health) => turn(core, world, source, health),
        Step::Cluster(variant) => {
            world.cluster = variant.map(cluster_policy);
            core.handle(world.now(), Input::ClusterPolicy(world.cluster.clone()));
        }
        Step::Configz(node, variant) => {
            let node = if node == 0 {
                String::new()
            } else {
                format!("o{node}")
            };
            if let Some(variant) = variant {
                let body = configz(variant);
                core.handle(world.now(), Input::Configz(&node, &body));
                world.configz.insert(node, body);
                world.health.insert(Source::Configz, Health::Complete);
            } else {
                core.handle(world.now(), Input::Gone(Source::Configz, "", &node));
                world.configz.remove(&node);
            }
        }
        Step::Pass(Some(seconds)) => world.passed += seconds,
        Step::Pass(None) => {
            let now = world.now();
            core.round(now);
            if let Some(at) = core.deadline(now) {
                world.passed += u32::try_from(at.0.saturating_sub(now.mono.0) / 1_000).unwrap_or(0);
            }
        }
        Step::Round => drop(core.round(world.now())),
        Step::Part(verdicts) => drop(core.step(world.now(), verdicts.into())),
    }
}

/// A source is listed anew, without the things that the mask leaves out; the list may break off.
fn relist(core: &mut Core, world: &mut World, source: Source, mask: u16, round: bool, ends: bool) {
    core.handle(world.now(), Input::Begin(source));
    let mut left_out = Vec::new();
    let listed = world.things.iter().filter(|(id, _)| id.0 == source);
    for (at, (id, thing)) in listed.enumerate() {
        if (mask >> (at % 16)) & 1 == 0 {
            feed(core, world.now(), id, thing);
        } else {
            left_out.push(id.clone());
        }
    }
    if round {
        core.round(world.now());
    }
    if ends {
        for id in &left_out {
            world.things.remove(id);
        }
    }
    let health = if ends { Health::Complete } else { Health::Lost };
    tell(core, world.now(), source, health);
    world.health.insert(source, health);
}

/// A source becomes fresh, or no longer is.
fn turn(core: &mut Core, world: &mut World, source: Source, health: Health) {
    // What was silent may be heard of again instead of being listed anew.
    if health == Health::Complete && world.health.get(&source) == Some(&Health::Silent) {
        core.handle(
            world.now(),
            Input::Freshness(source, Part::Whole, Freshness::Complete),
        );
        world.health.insert(source, health);
        return;
    }
    if matches!(health, Health::Complete | Health::Torn) {
        apply(core, world, &Step::Relist(source, 0, false, true));
        if health == Health::Torn {
            tell(core, world.now(), source, health);
            world.health.insert(source, health);
        }
        return;
    }
    if health == Health::Within {
        let now = world.now();
        core.handle(now, Input::Begin(source));
        world
            .things
            .retain(|id, _| id.0 != source || id.1 == NAMESPACES[0]);
        for (id, thing) in world.things.iter().filter(|(id, _)| id.0 == source) {
            feed(core, now, id, thing);
        }
    }
    tell(core, world.now(), source, health);
    world.health.insert(source, health);
}

/// Says how fresh a source is.
pub(crate) fn tell(core: &mut Core, now: Now, source: Source, health: Health) {
    let whole = |freshness| Input::Freshness(source, Part::Whole, freshness);
    let first = Part::Namespace(NAMESPACES[0]);
    core.handle(now, Input::Freshness(source, first, Freshness::Missing));
    match health {
        Health::Complete => core.handle(now, Input::Synced(source)),
        Health::Silent => core.handle(now, whole(Freshness::Stale)),
        Health::Lost => core.handle(now, whole(Freshness::unreadable("cut off"))),
        Health::Torn => {
            core.handle(now, Input::Synced(source));
            core.handle(now, Input::Freshness(source, first, Freshness::Stale));
        }
        Health::Within => {
            core.handle(now, Input::Synced(source));
            core.handle(now, whole(Freshness::unreadable("cut off")));
            core.handle(now, Input::Freshness(source, first, Freshness::Complete));
        }
    }
}

/// A core that gets only what is left, in an order of its own.
pub(crate) fn from_nothing(world: &World, mut order: u64) -> Core {
    let mut core = Core::default();
    let mut things: Vec<_> = world.things.iter().collect();
    for at in (1..things.len()).rev() {
        // A linear congruential step (Knuth's MMIX constants) is random enough for a shuffle.
        order = order
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        things.swap(at, (order >> 33) as usize % (at + 1));
    }
    for (id, thing) in things {
        feed(&mut core, world.now(), id, thing);
    }
    for (node, body) in &world.configz {
        core.handle(world.now(), Input::Configz(node, body));
    }
    core.handle(world.now(), Input::ClusterPolicy(world.cluster.clone()));
    for (source, health) in &world.health {
        tell(&mut core, world.now(), *source, *health);
    }
    core.round(world.now());
    core
}

/// Everything a core has to tell, in one comparable form.
pub(crate) fn told(core: &Core, world: &World) -> (FindingList, Vec<String>) {
    let mut list = core.findings(world.now());
    for finding in &mut list.findings {
        finding.since = None;
    }
    let index = core.index();
    let mut joins = Vec::new();
    for (_, namespace, name) in world.things.keys().filter(|id| id.0 == Source::Services) {
        let find = |text: &str| index.names.find(text).unwrap_or_default();
        let text = match index.endpoints(Key {
            namespace: find(namespace),
            name: find(name),
        }) {
            Err(gap) => gap.to_string(),
            Ok(endpoints) => endpoints.iter().fold(String::new(), |mut text, one| {
                let (node, zone) = (index.names.text(one.node), index.names.text(one.zone));
                let hint = index.names.text(one.node_hint);
                let _ = write!(text, "{} {node} {zone} {hint} {} ", one.address, one.ready);
                text
            }),
        };
        joins.push(format!("{namespace}/{name}: {text}"));
    }
    for class in &core.fleet().classes {
        joins.push(format!("{class:?}"));
    }
    for node in ["o0", "o1", "o2"] {
        let class = index.names.find(node).and_then(|name| core.fleet().class(name));
        joins.push(format!("{node}: {:?}", class.map(|class| &class.sample)));
    }
    // When time alone changes something is part of what is known: a deadline that is missed is a change untold.
    joins.push(format!("{:?}", core.deadline(world.now())));
    (list, joins)
}
