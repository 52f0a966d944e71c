//! Incidents that take time, each with a twin that looks alike and is harmless (or the other way round): what the operator
//! must say by when, and what it must never say. Each second of virtual time is looked at.

mod nodes;
mod pods;
mod policies;
mod system;
mod watches;

use evenkeel_core::findings::{Finding, FindingVerdict, SubjectKind};
use evenkeel_core::judge::Severity;
use evenkeel_core::know::{Source, Wall};
use serde_json::{Value, json};

use super::world::World;

/// A node's age by default, in seconds: two months.
const OLD: i64 = 5_000_000;

/// What must never be found.
type Rule = fn(&Finding) -> bool;

/// Something above info about the cluster, a zone or a node.
fn above_info(one: &Finding) -> bool {
    let whole = matches!(
        one.subject.kind,
        SubjectKind::Cluster | SubjectKind::Zone | SubjectKind::Node
    );
    one.severity > Severity::Info && whole
}

/// A cluster, the operator that watches it, and what must not be found.
struct Story {
    world: World,
    /// Second 0.
    zero: Wall,
    never: Vec<(&'static str, Rule)>,
}

impl Story {
    /// An operator that starts at second 0 over these objects.
    fn begins(objects: Vec<(Source, Value)>) -> Self {
        let mut world = World::new();
        for (source, object) in objects {
            world.put(source, object);
        }
        let mut world = world.restarted();
        world.deliver(usize::MAX);
        world.lead(5);
        world.settle();
        Self {
            zero: world.now.wall,
            world,
            never: Vec::new(),
        }
    }

    /// One that has watched for so many seconds before second 0.
    fn watched(seconds: u64, objects: Vec<(Source, Value)>) -> Self {
        let mut story = Self::begins(objects);
        story.world.live(seconds * 1000);
        story.zero = story.world.now.wall;
        story
    }

    /// From now on this is never found.
    fn never(mut self, what: &'static str, rule: Rule) -> Self {
        self.never.push((what, rule));
        self.look();
        self
    }

    /// The present second.
    fn second(&self) -> i64 {
        self.world.now.wall.0 - self.zero.0
    }

    /// Lets time pass up to a second.
    fn until(&mut self, second: i64) {
        assert!(second >= self.second(), "{second} is past");
        while self.second() < second {
            self.world.live(1000);
            self.look();
        }
    }

    fn put(&mut self, source: Source, object: Value) {
        self.world.put(source, object);
        self.world.settle();
        self.look();
    }

    fn gone(&mut self, source: Source, namespace: &str, name: &str) {
        self.world.delete(source, namespace, name);
        self.world.settle();
        self.look();
    }

    /// Sets whether a node is Ready from now on.
    fn ready(&mut self, node: &mut Node, ready: &'static str) {
        node.ready = ready;
        node.since = self.world.now.wall;
        self.node(node);
    }

    fn node(&mut self, node: &Node) {
        self.put(Source::Nodes, node.json());
    }

    fn look(&self) {
        for one in self.found() {
            if let Some((what, _)) = self.never.iter().find(|never| never.1(&one)) {
                panic!(
                    "never {what}, but at {}: {} {} of {}: {}",
                    self.second(),
                    one.check,
                    one.cause,
                    one.subject.name,
                    one.message
                );
            }
        }
    }

    fn found(&self) -> Vec<Finding> {
        self.world.operator.findings(self.world.now).findings
    }

    /// What a check has found, Unknown left out.
    fn of(&self, check: &str) -> Vec<Finding> {
        let mut found = self.found();
        found.retain(|one| one.check == check && one.verdict != FindingVerdict::Unknown);
        found
    }

    /// `verdict severity cause` of everything that a check has found, joined by `; `.
    fn says(&self, check: &str) -> String {
        let found = self.of(check);
        let line = |one: &Finding| format!("{} {} {}", one.verdict, one.severity.name(), one.cause);
        found
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("; ")
            .trim_end()
            .to_owned()
    }

    /// The message of the only finding of a check.
    fn message(&self, check: &str) -> String {
        let found = self.of(check);
        assert_eq!(found.len(), 1, "{check} at {}", self.second());
        found[0].message.clone()
    }

    /// Reason of a condition of a policy of namespace `shop`.
    fn condition(&self, policy: &str, kind: &str) -> (String, String) {
        let stored = self.world.stored(Source::Policies, "shop", policy).unwrap();
        let all = stored["status"]["conditions"].as_array().unwrap();
        let one = all.iter().find(|one| one["type"] == kind).unwrap();
        let text = |field: &str| one[field].as_str().unwrap().to_owned();
        (text("status"), text("reason"))
    }
}

/// A node as the API server shows it.
#[derive(Debug, Clone)]
struct Node {
    name: String,
    zone: &'static str,
    kernel: &'static str,
    image: &'static str,
    ready: &'static str,
    since: Wall,
    created: Wall,
    cordoned: bool,
    deleting: bool,
    taints: Vec<&'static str>,
}

impl Node {
    fn new(name: impl Into<String>, zone: &'static str) -> Self {
        let long_ago = Wall(super::world::START.wall.0 - OLD);
        Self {
            name: name.into(),
            zone,
            kernel: "6.1.0-A",
            image: "Linux 12",
            ready: "True",
            since: long_ago,
            created: long_ago,
            cordoned: false,
            deleting: false,
            taints: Vec::new(),
        }
    }

    fn kernel(mut self, kernel: &'static str) -> Self {
        self.kernel = kernel;
        self
    }

    fn json(&self) -> Value {
        let taint = |key: &str, effect: &str| json!({"key": key, "effect": effect});
        let mut taints: Vec<Value> = self.taints.iter().map(|key| taint(key, "NoSchedule")).collect();
        if self.cordoned {
            taints.push(taint("node.kubernetes.io/unschedulable", "NoSchedule"));
        }
        match self.ready {
            "Unknown" => taints.push(taint("node.kubernetes.io/unreachable", "NoExecute")),
            "False" => taints.push(taint("node.kubernetes.io/not-ready", "NoExecute")),
            _ => {}
        }
        let mut node = json!({
            "metadata": {
                "name": self.name, "labels": {"topology.kubernetes.io/zone": self.zone},
                "creationTimestamp": self.created.to_string(),
            },
            "spec": {"unschedulable": self.cordoned, "taints": taints},
            "status": {
                "conditions": [{"type": "Ready", "status": self.ready, "lastTransitionTime": self.since.to_string()}],
                "nodeInfo": {"kernelVersion": self.kernel, "osImage": self.image, "kubeletVersion": "v1.33.1"},
            },
        });
        if self.deleting {
            node["metadata"]["deletionTimestamp"] = json!(self.since.to_string());
        }
        node
    }
}

/// So many nodes of that name and a number, over three zones.
fn nodes(name: &str, count: usize) -> Vec<Node> {
    (0..count)
        .map(|at| Node::new(format!("{name}{at}"), ["a", "b", "c"][at % 3]))
        .collect()
}

fn objects<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<(Source, Value)> {
    nodes
        .into_iter()
        .map(|node| (Source::Nodes, node.json()))
        .collect()
}
