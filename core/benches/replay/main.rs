//! How fast and how small the core is on a large cluster: 5,000 nodes, 10,000 Services, 150,000 endpoints.
//!
//! Prints figures and asserts none: machines differ. `cargo bench -p evenkeel-core`. With the argument `small` it
//! judges a small world once, for `instructions.sh`, which counts the instructions of each check.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "it measures time and prints"
)]
#![allow(clippy::cast_precision_loss)] // figures for people

#[path = "../../src/world/objects/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "each program makes its clusters of some of them"
)]
mod objects;
mod world;

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::{Core, Input};
use objects::{dns, proxy, proxy_config};
use world::{IPVS, crowded, node, platform, policy, service, slice, webhook};

#[global_allocator]
static HEAP: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

const NODES: usize = 5_000;
const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 15;
const NAMESPACES: usize = 100;
const EVENTS: usize = 100_000;
/// How many changes a reader hands over at once when it lags behind.
const CHUNK: usize = 64;

fn main() {
    let now = Now {
        mono: Mono(1_000),
        wall: Wall(1_800_000_000),
    };
    if std::env::args().any(|arg| arg == "small") {
        small(now);
        return;
    }
    let nodes: Vec<String> = (0..NODES).map(node).collect();
    let services: Vec<String> = (0..SERVICES).map(service).collect();
    let slices: [Vec<String>; 2] = [false, true].map(|odd| (0..SERVICES).map(|at| slice(at, odd)).collect());
    let [even, odd] = &slices;
    let bytes: usize = even.iter().map(String::len).sum();
    println!(
        "world: {NODES} nodes, {SERVICES} Services, {SERVICES} slices of {ENDPOINTS} endpoints and {} bytes",
        bytes / SERVICES
    );
    let mut core = load(now, &nodes, &services, even);
    changes(&mut core, now, even, odd);
    rest(&mut core, now);
    crowd(&mut core, now, odd, even);
    units(now, &nodes, &services, [even, odd]);
    history(&nodes, even, odd);
    flapping(&nodes, &services, even);
}

/// A small cluster, loaded and judged once: what instructions are counted of.
fn small(now: Now) {
    let part = NAMESPACES * 4;
    let slices: Vec<String> = (0..part).map(|at| slice(at, false)).collect();
    let nodes: Vec<String> = (0..100).map(node).collect();
    let services: Vec<String> = (0..part).map(service).collect();
    let mut core = Core::default();
    surroundings(&mut core, &nodes, &services);
    list(&mut core, Source::EndpointSlices, &slices);
    black_box(core.round(now));
}

/// The whole cluster, loaded and judged once.
fn load(now: Now, nodes: &[String], services: &[String], slices: &[String]) -> Core {
    let before = HEAP.allocated();
    let mut core = Core::default();
    let start = Watch::start();
    surroundings(&mut core, nodes, services);
    let without = HEAP.allocated();
    let slices_from = Watch::start();
    list(&mut core, Source::EndpointSlices, slices);
    let slices_took = slices_from.elapsed();
    let loaded = HEAP.allocated();
    let load = start.elapsed();
    let start = Watch::start();
    core.round(now);
    let first = start.elapsed();
    let judged = HEAP.allocated();
    let summary = core.findings(now).summary;
    println!("verdicts: {summary:?}");
    println!(
        "load: {load:.0?}, of which slices {slices_took:.0?} ({:.0}/s); first round: {first:.0?}",
        SERVICES as f64 / slices_took.as_secs_f64()
    );
    let all = (SERVICES * ENDPOINTS) as f64;
    println!(
        "heap: {:.1} bytes per endpoint for slices alone, {:.1} for everything ({} MiB); peak {} MiB",
        (loaded - without) as f64 / all,
        (judged - before) as f64 / all,
        (judged - before) >> 20,
        (HEAP.max_allocated() - before) >> 20,
    );
    core
}

/// Every event is a slice in which one endpoint changed its readiness.
fn changes(core: &mut Core, now: Now, even: &[String], odd: &[String]) {
    let start = Watch::start();
    for (at, json) in events(even, odd) {
        give(core, Input::object(Source::EndpointSlices, json.as_bytes()));
        if at.is_multiple_of(4096) {
            black_box(&core);
        }
    }
    let handled = start.elapsed();
    core.round(now);
    let start = Watch::start();
    for (_, json) in events(odd, even) {
        give(core, Input::object(Source::EndpointSlices, json.as_bytes()));
        black_box(core.round(now));
    }
    let judged = start.elapsed();
    let start = Watch::start();
    for (at, json) in events(odd, even) {
        give(core, Input::object(Source::EndpointSlices, json.as_bytes()));
        if at % CHUNK == CHUNK - 1 {
            black_box(core.round(now));
        }
    }
    let drained = start.elapsed();
    let rate = |took: Duration| EVENTS as f64 / took.as_secs_f64();
    println!(
        "replay: {:.0} changed slices/s handled; handled and judged: {:.0}/s one by one, {:.0}/s in chunks of {CHUNK}",
        rate(handled),
        rate(judged),
        rate(drained),
    );
}

/// Everything but the slices.
fn surroundings(core: &mut Core, nodes: &[String], services: &[String]) {
    list(core, Source::Nodes, nodes);
    list(core, Source::ConfigMaps, &[proxy_config(IPVS, "").to_string()]);
    list(core, Source::DaemonSets, &[proxy().to_string()]);
    list(core, Source::Deployments, &[dns(2, 2).to_string()]);
    list(core, Source::Pods, &[]);
    list(core, Source::CiliumNodeConfigs, &[]);
    list(core, Source::Namespaces, &[]);
    list(core, Source::Webhooks, &[webhook()]);
    list(core, Source::ClusterPolicy, &[]);
    give(core, Input::ClusterPolicy(Some(Arc::new(platform()))));
    list(core, Source::Services, services);
    give(core, Input::Begin(Source::Policies));
    for at in 0..NAMESPACES * 2 {
        give(core, Input::Policy(Arc::new(policy(at))));
    }
    give(core, Input::Synced(Source::Policies));
}

/// What it costs to remember what was seen to change, beside a core that does not.
fn history(nodes: &[String], even: &[String], odd: &[String]) {
    let mut now = Now {
        mono: Mono(1_000),
        wall: Wall(1_800_000_000),
    };
    let mut cost = |mut core: Core, name: &str| {
        list(&mut core, Source::Nodes, nodes);
        list(&mut core, Source::EndpointSlices, even);
        let before = HEAP.allocated();
        let mut replay = |one, other| {
            let start = Watch::start();
            for (_, json) in events(one, other) {
                now.mono.0 += 1;
                let input = Input::object(Source::EndpointSlices, json.as_bytes());
                core.handle(now, input);
            }
            start.elapsed().as_nanos() / EVENTS as u128
        };
        let (same, changed) = (replay(even, even), replay(even, odd));
        println!(
            "{name}: {same} ns for a slice that says the same, {changed} ns for a changed one, {} KiB of heap for it",
            HEAP.allocated().saturating_sub(before) >> 10
        );
    };
    cost(Core::default(), "without history");
    cost(Core::live(Now::ONCE), "with history");
}

/// Nodes that turn Unknown and come back, 17 a second, watched by a core that remembers.
fn flapping(nodes: &[String], services: &[String], slices: &[String]) {
    let mut now = Now {
        mono: Mono(1_000),
        wall: Wall(1_800_000_000),
    };
    let mut core = Core::live(now);
    surroundings(&mut core, nodes, services);
    list(&mut core, Source::EndpointSlices, slices);
    list(&mut core, Source::Events, &[]);
    core.round(now);
    let start = Watch::start();
    for at in 0..1_000 {
        now.mono.0 += 60;
        let healthy = node(at % 500);
        let json = if at < 500 {
            healthy.replace("\"True\"", "\"Unknown\"")
        } else {
            healthy
        };
        core.handle(now, Input::object(Source::Nodes, json.as_bytes()));
        black_box(core.round(now));
    }
    println!(
        "a node fails or comes back, watched, handled and judged: {:.1?}",
        start.elapsed() / 1_000
    );
}

/// How many units one input has judged again, on a core that is watched.
fn units(now: Now, nodes: &[String], services: &[String], [even, odd]: [&[String]; 2]) {
    let mut core = Core::live(Now::ONCE);
    surroundings(&mut core, nodes, services);
    list(&mut core, Source::EndpointSlices, even);
    list(&mut core, Source::Events, &[]);
    println!("units judged at first: {}", core.round(now).units);
    let (Some(slice), sick) = (odd.first(), node(7).replace("\"True\"", "\"Unknown\"")) else {
        return;
    };
    let nodes_are = |freshness| Input::Freshness(Source::Nodes, Part::Whole, freshness);
    let refused = Freshness::unreadable("forbidden");
    let inputs = [
        (
            "one node falls ill",
            Input::object(Source::Nodes, sick.as_bytes()),
        ),
        (
            "one slice changes",
            Input::object(Source::EndpointSlices, slice.as_bytes()),
        ),
        (
            "Pods of one namespace are refused",
            Input::Freshness(Source::Pods, Part::Namespace("team-7"), refused),
        ),
        ("all nodes are stale", nodes_are(Freshness::Stale)),
        ("all nodes are heard of again", nodes_are(Freshness::Complete)),
    ];
    for (name, input) in inputs {
        give(&mut core, input);
        let start = Watch::start();
        let units = core.round(now).units;
        println!("units judged when {name}: {units}, in {:.1?}", start.elapsed());
    }
}

/// What happens less often than a slice.
fn rest(core: &mut Core, now: Now) {
    let start = Watch::start();
    for _ in 0..EVENTS {
        black_box(core.round(now));
    }
    println!(
        "round with nothing dirty: {:.0?}",
        start.elapsed() / EVENTS as u32
    );

    let start = Watch::start();
    for turn in 0..20_000 {
        let healthy = node(turn % 1_000);
        let json = if turn / 1_000 % 2 == 0 {
            healthy.replace("\"True\"", "\"Unknown\"")
        } else {
            healthy
        };
        give(core, Input::object(Source::Nodes, json.as_bytes()));
        black_box(core.round(now));
    }
    println!(
        "a node turns Unknown or back, handled and judged: {:.1?}",
        start.elapsed() / 20_000
    );
    let start = Watch::start();
    for at in 0..1_000 {
        let json = node(at + 1_000).replace("13:00:00", "13:00:10");
        give(core, Input::object(Source::Nodes, json.as_bytes()));
        black_box(core.round(now));
    }
    println!(
        "a node's heartbeat, handled and judged: {:.1?}",
        start.elapsed() / 1_000
    );
    let start = Watch::start();
    for at in 0..20 {
        let json = node(at + 2_000).replace("6.6.1", "6.6.2");
        give(core, Input::object(Source::Nodes, json.as_bytes()));
        black_box(core.round(now));
    }
    println!(
        "a node gets another kernel, handled and judged (the first makes a class of its own): {:.1?}",
        start.elapsed() / 20
    );
    let start = Watch::start();
    for at in 0..20 {
        let mut changed = policy(at);
        changed.connections[0].longest_silence_seconds = Some(1_000);
        give(core, Input::Policy(Arc::new(changed)));
        black_box(core.round(now));
    }
    println!(
        "a policy changes, handled and judged: {:.1?}",
        start.elapsed() / 20
    );
    let start = Watch::start();
    black_box(core.findings(now));
    println!("findings told: {:.1?}", start.elapsed());
}

/// Five thousand policies in one namespace: what a slice of that namespace costs then, and one elsewhere.
fn crowd(core: &mut Core, now: Now, odd: &[String], even: &[String]) {
    let before = HEAP.allocated();
    let start = Watch::start();
    for at in 0..5_000 {
        give(core, Input::Policy(Arc::new(crowded(at))));
    }
    black_box(core.round(now));
    println!(
        "5,000 policies in one namespace: taken and judged in {:.1?}, {} KiB",
        start.elapsed(),
        (HEAP.allocated().saturating_sub(before)) >> 10,
    );
    for (place, first) in [("there", 0), ("elsewhere", 1)] {
        let start = Watch::start();
        for round in 0..10 {
            let forms = if round % 2 == 0 { odd } else { even };
            for json in forms.iter().skip(first).step_by(NAMESPACES) {
                give(core, Input::object(Source::EndpointSlices, json.as_bytes()));
                black_box(core.round(now));
            }
        }
        println!(
            "a slice {place}, handled and judged: {:.1?}",
            start.elapsed() / (10 * SERVICES / NAMESPACES) as u32
        );
    }
    let start = Watch::start();
    for at in 0..100 {
        let mut changed = crowded(at);
        changed.connections[0].longest_silence_seconds = Some(1_000);
        give(core, Input::Policy(Arc::new(changed)));
        black_box(core.round(now));
    }
    println!("one of them changes: {:.1?}", start.elapsed() / 100);
}

/// Time that this thread has run, where the kernel tells, else wall time: other work on the machine does not count.
struct Watch(Option<Duration>, Instant);

impl Watch {
    fn start() -> Self {
        Self(Self::ran(), Instant::now())
    }

    fn ran() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
    }

    fn elapsed(&self) -> Duration {
        match (self.0, Self::ran()) {
            (Some(from), Some(to)) => to.saturating_sub(from),
            _ => self.1.elapsed(),
        }
    }
}

fn give(core: &mut Core, input: Input<'_>) {
    core.handle(Now::ONCE, input);
}

fn list(core: &mut Core, source: Source, objects: &[String]) {
    give(core, Input::Begin(source));
    for json in objects {
        give(core, Input::object(source, json.as_bytes()));
    }
    give(core, Input::Synced(source));
}

/// Slices in an order that no cache likes; each pass over all of them switches between the two forms.
fn events<'a>(one: &'a [String], other: &'a [String]) -> impl Iterator<Item = (usize, &'a str)> {
    (0..EVENTS).filter_map(move |at| {
        let forms = if (at / SERVICES).is_multiple_of(2) {
            other
        } else {
            one
        };
        // 7,919 is prime to the number of slices: every pass names each once.
        Some((at, forms.get(at * 7_919 % SERVICES)?.as_str()))
    })
}
