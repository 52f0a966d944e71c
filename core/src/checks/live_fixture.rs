//! A cluster that is watched, for tests of checks that rest on what was seen to change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::findings::Finding;
use crate::know::{Mono, Now, Source, Wall};
use crate::policy::{ClusterPolicy, Policy};
use crate::{Core, Input};

/// A core that is fed all day, and the present.
pub(crate) struct Live {
    pub(crate) core: Core,
    pub(crate) now: Now,
}

impl Live {
    /// A cluster of which every source is complete; the first lists brought these objects.
    pub(crate) fn with(objects: &[(Source, Value)]) -> Self {
        let now = Now {
            mono: Mono(7_000_000),
            wall: Wall(1_800_000_000),
        };
        let mut live = Self {
            core: Core::live(now),
            now,
        };
        let mut lists: BTreeMap<Source, Vec<&Value>> = BTreeMap::new();
        for (source, object) in objects {
            lists.entry(*source).or_default().push(object);
        }
        for source in Source::ALL {
            live.list(source, lists.get(&source).map_or(&[][..], Vec::as_slice));
        }
        live.core.round(now);
        live
    }

    /// A whole list.
    pub(crate) fn list(&mut self, source: Source, objects: &[&Value]) {
        self.input(Input::Begin(source));
        for object in objects {
            self.put(source, object);
        }
        self.input(Input::Synced(source));
    }

    /// Any input.
    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.core.handle(self.now, input).unwrap();
    }

    /// One object.
    pub(crate) fn put(&mut self, source: Source, object: &Value) {
        if let Source::Policies | Source::ClusterPolicy | Source::Configz = source {
            return;
        }
        let json = object.to_string();
        self.input(Input::Object(source, json.as_bytes()));
    }

    /// A policy.
    pub(crate) fn policy(&mut self, policy: Policy) {
        self.input(Input::Policy(Arc::new(policy)));
    }

    /// The platform's policy.
    pub(crate) fn platform(&mut self, policy: ClusterPolicy) {
        self.input(Input::ClusterPolicy(Some(Arc::new(policy))));
    }

    /// Lets time pass, in seconds; whatever falls due meanwhile is judged when it does.
    pub(crate) fn wait(&mut self, seconds: u64) {
        let end = self.now.mono.0 + seconds * 1000;
        loop {
            self.core.round(self.now);
            let next = self.core.deadline(self.now).map_or(end, |at| at.0.min(end));
            // A deadline in the past would be one that no round ever serves.
            assert!(next > self.now.mono.0 || next == end, "stuck at {next}");
            let passed = next - self.now.mono.0;
            self.now.mono.0 = next;
            self.now.wall.0 += i64::try_from(passed / 1000).unwrap();
            if next == end {
                break;
            }
        }
        self.core.round(self.now);
    }

    /// The interned form of a text that is known.
    pub(crate) fn name(&self, text: &str) -> crate::names::Name {
        self.core.index().names.find(text).unwrap()
    }

    /// Findings of one check.
    pub(crate) fn findings(&mut self, check: &str) -> Vec<Finding> {
        assert!(super::find(check).is_some(), "no check {check}");
        self.core.round(self.now);
        let mut all = self.core.findings(self.now).findings;
        all.retain(|one| one.check == check);
        for one in &all {
            assert!(
                !one.message.contains('?'),
                "a word without evidence: {}",
                one.message
            );
            assert!(!one.advice.is_empty(), "no advice");
        }
        all
    }

    /// `verdict severity cause` of each finding of a check, joined by `; `.
    pub(crate) fn says(&mut self, check: &str) -> String {
        let found = self.findings(check);
        let line = |one: &Finding| {
            format!("{} {} {}", one.verdict, one.severity.name(), one.cause)
                .trim_end()
                .to_owned()
        };
        found.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    /// The message of the only finding of a check.
    pub(crate) fn message(&mut self, check: &str) -> String {
        let found = self.findings(check);
        assert_eq!(found.len(), 1);
        found.first().unwrap().message.clone()
    }
}

/// A slice of a Service of namespace `shop`, of one endpoint for each (last part of its address, node, ready).
pub(crate) fn slice(service: &str, number: u32, endpoints: &[(u32, &str, bool)]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(at, node, ready)| {
            json!({
                "addresses": [format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255)], "nodeName": node,
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
            })
        })
        .collect();
    json!({
        "metadata": {
            "name": format!("{service}-{number}"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}],
    })
}

/// A Service of namespace `shop`.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.255.0.1", "selector": {"app": name}, "ports": [{"port": 80}]},
    })
}

/// An eviction of a Pod of a workload of namespace `shop`, as a kubelet tells it.
pub(crate) fn evicted(number: u32, workload: &str, node: &str, count: u32) -> Value {
    json!({
        "metadata": {"name": format!("{workload}.{number}"), "namespace": "shop", "uid": format!("u{number}")},
        "reason": "Evicted", "count": count,
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": format!("{workload}-bcdfg")},
        "source": {"component": "kubelet", "host": node},
    })
}

/// A preemption of a Pod of one workload by one of another, as the scheduler tells it.
pub(crate) fn preempted(number: u32, victim: &str, winner: &str) -> Value {
    let related = if winner.is_empty() {
        Value::Null
    } else {
        json!({"kind": "Pod", "namespace": "shop", "name": format!("{winner}-7d9f8c6b5-bcdfg")})
    };
    json!({
        "metadata": {"name": format!("{victim}.{number}"), "namespace": "shop", "uid": format!("u{number}")},
        "reason": "Preempted", "reportingController": "default-scheduler",
        "regarding": {"kind": "Pod", "namespace": "shop", "name": format!("{victim}-7d9f8c6b5-bcdfg")},
        "related": related,
    })
}
