//! How soon an uneven share is found, how often an even one is called uneven, and what samples of a large cluster take. Prints
//! figures and asserts none.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "it measures time and prints"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "what is played is made here"
)]

use std::alloc::System;
use std::time::Instant;

use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::sample::{
    Metric, MetricKind, Metrics, Observer, Of, Page, PageScope, Sample, SampleSubject,
};
use evenkeel_core::statistics::Detector;
use evenkeel_core::{Core, Input};

#[global_allocator]
static HEAP: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

const BEGINNING: i64 = 1_800_000_000;

/// Numbers that look random, in (0, 1): the generator of Knuth's MMIX.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A count with this mean: Poisson's, by Knuth.
    fn count(&mut self, mean: f64) -> f64 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.next(), 0.0);
        while product > limit {
            product *= self.next();
            count += 1.0;
        }
        count
    }
}

/// Ticks until an alarm, at most so many, where one backend has `factor` times its share.
fn delay(n: usize, mean: f64, factor: f64, most: u32, chance: &mut Chance) -> Option<u32> {
    let mut detector = Detector::of(n, 25);
    let expected = vec![1.0; n];
    for tick in 1..=most {
        let of = |at: usize| if at == 0 { mean * factor } else { mean };
        let counts: Vec<f64> = (0..n).map(|at| chance.count(of(at))).collect();
        detector.tick(&counts, &expected);
        if detector.alarm().is_some() {
            return Some(tick);
        }
    }
    None
}

fn detector() {
    const MEAN: f64 = 10.0;
    println!(
        "median connections per backend until an alarm, tolerance 25 %, {MEAN} for each backend in a tick of 10 s:"
    );
    println!(
        "{:>5} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "N", "dead", "half", "x1.5", "x2", "x3"
    );
    let mut chance = Chance(11);
    for n in [3, 10, 100] {
        let runs = if n == 100 { 21 } else { 101 };
        print!("{n:>5}");
        for factor in [0.0, 0.5, 1.5, 2.0, 3.0] {
            let mut ticks: Vec<u32> = (0..runs)
                .map(|_| delay(n, MEAN, factor, 700, &mut chance).unwrap_or(700))
                .collect();
            ticks.sort_unstable();
            print!(" {:>8}", f64::from(ticks[ticks.len() / 2]) * MEAN);
        }
        println!();
    }
    for (what, factor) in [("even", 1.0), ("15 % more", 1.15), ("15 % less", 0.85)] {
        let runs = 20;
        let alarms = (0..runs)
            .filter(|_| delay(10, 100.0, factor, 8_640, &mut chance).is_some())
            .count();
        println!("{what}, N = 10, 100 for each backend in a tick: {alarms} alarms in {runs} days");
    }
}

/// What a metric shows of each node half a minute after the other.
fn samples(names: &[String], metric: Metric, half_minute: u64) -> Vec<Sample<'_>> {
    let value = |at: usize| match metric.kind() {
        // As large as memory, so that it is in the unit of each.
        MetricKind::Gauge => 1e9 + (at as f64) + half_minute as f64,
        MetricKind::Counter => half_minute as f64,
    };
    let of = |(at, name)| Sample {
        metric,
        subject: SampleSubject::Node(name),
        value: value(at),
        at: (BEGINNING + half_minute as i64 * 30) * 1000,
    };
    names.iter().map(String::as_str).enumerate().map(of).collect()
}

/// Every metric of a node, on so many nodes, for an hour.
fn nodes(count: usize) {
    let now = |seconds: u64| Now {
        mono: Mono(seconds * 1000),
        wall: Wall(BEGINNING + seconds as i64),
    };
    let mut core = Core::live(now(0));
    let names: Vec<String> = (0..count).map(|at| format!("node-{at}")).collect();
    core.handle(now(0), Input::Begin(Source::Nodes));
    for name in &names {
        let json = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
        core.handle(now(0), Input::object(Source::Nodes, json.as_bytes()));
    }
    core.handle(now(0), Input::Synced(Source::Nodes));
    core.handle(now(0), Input::Observers(&[Observer::Prometheus]));
    core.round(now(0));
    let before = HEAP.allocated();
    let (mut folded, mut judged) = (0.0, 0.0);
    for half_minute in 0..120_u64 {
        let seconds = half_minute * 30;
        for metric in Metrics::on(Of::Node).iter() {
            let samples = samples(&names, metric, half_minute);
            let began = Instant::now();
            core.handle(
                now(seconds),
                Input::Samples(&Page {
                    observer: Observer::Prometheus,
                    metrics: Metrics::of(&[metric]),
                    scope: PageScope::Nodes,
                    asked: (BEGINNING + seconds as i64) * 1000,
                    samples: &samples,
                    gap: None,
                }),
            );
            folded += began.elapsed().as_secs_f64();
        }
        let began = Instant::now();
        core.round(now(seconds));
        judged += began.elapsed().as_secs_f64();
    }
    let samples = core.index().samples();
    println!(
        "{count} nodes, every metric of a node: {} series, {:.1} MiB of heap ({:.1} MiB as counted), {:.2} % of a core to \
         fold and {:.2} % to judge",
        samples.len(),
        (HEAP.allocated() - before) as f64 / 1_048_576.0,
        samples.bytes() as f64 / 1_048_576.0,
        folded / 36.0,
        judged / 36.0,
    );
}

fn main() {
    nodes(5_000);
    detector();
}
