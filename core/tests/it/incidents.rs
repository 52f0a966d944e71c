//! Incidents and their harmless look-alikes in virtual time: what is told when, and what never.

use evenkeel_core::findings::Finding;
use evenkeel_core::judge::Severity;
use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::{Core, Input};
use serde_json::{Value, json};

const START: Now = Now {
    mono: Mono(9_000_000),
    wall: Wall(1_800_000_000),
};
/// A node's age where nothing else is said: two months, in seconds.
const OLD: i64 = 5_000_000;

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
    taint: &'static str,
}

impl Node {
    fn new(name: impl Into<String>, zone: &'static str, kernel: &'static str) -> Self {
        let long_ago = Wall(START.wall.0 - OLD);
        Self {
            name: name.into(),
            zone,
            kernel,
            image: "Linux 12",
            ready: "True",
            since: long_ago,
            created: long_ago,
            cordoned: false,
            taint: "",
        }
    }

    fn json(&self) -> Value {
        let mut taints = Vec::new();
        if self.cordoned {
            taints.push(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
        }
        if self.ready == "Unknown" {
            taints.push(json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}));
        }
        if !self.taint.is_empty() {
            taints.push(json!({"key": self.taint, "effect": "NoSchedule"}));
        }
        json!({
            "metadata": {
                "name": self.name, "labels": {"topology.kubernetes.io/zone": self.zone},
                "creationTimestamp": self.created.to_string(),
            },
            "spec": {"unschedulable": self.cordoned, "taints": taints},
            "status": {
                "conditions": [{"type": "Ready", "status": self.ready, "lastTransitionTime": self.since.to_string()}],
                "nodeInfo": {"kernelVersion": self.kernel, "osImage": self.image, "kubeletVersion": "v1.33.1"},
            },
        })
    }
}

/// A cluster that an operator watches.
struct Bed {
    core: Core,
    now: Now,
    /// What must never be told: a check, at what least severity.
    never: Vec<(&'static str, Severity)>,
    /// Checks that were told at a warning or above, with the second in which they first were.
    told: Vec<(i64, String)>,
}

impl Bed {
    /// An operator that starts now.
    fn start(nodes: &[Node]) -> Self {
        let mut bed = Self {
            core: Core::live(START),
            now: START,
            never: Vec::new(),
            told: Vec::new(),
        };
        for source in Source::ALL {
            bed.core.handle(bed.now, Input::Begin(source)).unwrap();
            if source == Source::Nodes {
                for node in nodes {
                    bed.put(node);
                }
            }
            bed.core.handle(bed.now, Input::Synced(source)).unwrap();
        }
        bed.look();
        bed
    }

    /// One that has watched for an hour.
    fn watched(nodes: &[Node]) -> Self {
        let mut bed = Self::start(nodes);
        bed.wait(3600);
        bed.told.clear();
        bed
    }

    fn put(&mut self, node: &Node) {
        let json = node.json().to_string();
        self.core
            .handle(self.now, Input::Object(Source::Nodes, json.as_bytes()))
            .unwrap();
    }

    /// Sets the readiness of a node from now on.
    fn ready(&mut self, node: &mut Node, ready: &'static str) {
        node.ready = ready;
        node.since = self.now.wall;
        self.put(node);
        self.look();
    }

    /// So many seconds pass, each with a look.
    fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now.mono.0 += 1000;
            self.now.wall.0 += 1;
            self.look();
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut found = self.core.findings(self.now).findings;
        found.retain(|one| one.severity > Severity::Info);
        found
    }

    fn look(&mut self) {
        self.core.round(self.now);
        for one in self.findings() {
            let harmful = |never: &&(&str, Severity)| {
                (never.0 == one.check || never.0 == "*") && one.severity >= never.1
            };
            if let Some(never) = self.never.iter().find(harmful) {
                panic!("{never:?} at {}: {}", self.now.wall.0 - START.wall.0, one.message);
            }
            if !self.told.iter().any(|(_, check)| *check == one.check) {
                self.told.push((self.now.wall.0, one.check.to_string()));
            }
        }
    }

    /// The message of a check that is told now, at this severity.
    fn says(&self, check: &str, severity: Severity) -> Option<String> {
        let found = self.findings();
        let mut found = found
            .iter()
            .filter(|one| one.check == check && one.severity == severity);
        found.next().map(|one| one.message.clone())
    }
}

const QUIET: &[(&str, Severity)] = &[("*", Severity::Warning)];

fn nodes(name: &str, count: usize, kernel: &'static str) -> Vec<Node> {
    let zones = ["a", "b", "c"];
    (0..count)
        .map(|at| Node::new(format!("{name}{at}"), zones[at % 3], kernel))
        .collect()
}

#[test]
fn the_last_nodes_of_a_rolling_upgrade_are_quiet() {
    let mut last = nodes("old", 5, "6.1");
    let mut bed = Bed::watched(&[nodes("new", 12, "6.8"), last.clone()].concat());
    bed.never = QUIET.to_vec();
    for node in &mut last {
        node.cordoned = true;
        bed.put(node);
        bed.wait(10);
        bed.ready(node, "False");
        bed.wait(60);
        node.kernel = "6.8";
        bed.ready(node, "True");
        bed.wait(10);
        node.cordoned = false;
        bed.put(node);
        bed.wait(40);
    }
    bed.wait(2000);
}

#[test]
fn the_first_nodes_of_an_update_that_kills_are_told_by_its_name() {
    let mut first = nodes("u", 5, "6.1");
    let mut bed = Bed::watched(&[nodes("n", 12, "6.1"), first.clone()].concat());
    for node in &mut first {
        bed.ready(node, "False");
        bed.wait(40);
        node.kernel = "6.8";
        bed.ready(node, "True");
    }
    bed.wait(1300);
    for node in &mut first[..3] {
        bed.ready(node, "Unknown");
        bed.wait(10);
    }
    let told = bed.says("fleet-change-sync", Severity::Critical).unwrap();
    assert!(told.contains("6.8"), "{told}");
    for node in &mut first[3..] {
        bed.ready(node, "Unknown");
    }
    bed.wait(7200);
    assert!(bed.says("fleet-change-sync", Severity::Critical).is_some());
    for node in &mut first {
        bed.ready(node, "True");
    }
    assert_eq!(bed.says("fleet-change-sync", Severity::Critical), None);
}

/// Twelve nodes, and three of a pool with an image of its own.
fn with_a_pool(taint: &'static str) -> (Bed, Vec<Node>) {
    let mut pool: Vec<_> = (0..3)
        .map(|at| Node::new(format!("gpu{at}"), "a", "6.1"))
        .collect();
    for node in &mut pool {
        node.image = "GPU Linux";
    }
    let mut bed = Bed::watched(&[nodes("n", 12, "6.1"), pool.clone()].concat());
    if !taint.is_empty() {
        bed.never = QUIET.to_vec();
    }
    for node in &mut pool {
        node.taint = taint;
        bed.put(node);
    }
    bed.wait(60);
    for node in &mut pool {
        bed.ready(node, "Unknown");
    }
    (bed, pool)
}

#[test]
fn a_pool_that_the_autoscaler_takes_is_quiet() {
    let (mut bed, pool) = with_a_pool("ToBeDeletedByClusterAutoscaler");
    bed.wait(140);
    for node in &pool {
        bed.core
            .handle(bed.now, Input::Gone(Source::Nodes, "", &node.name))
            .unwrap();
    }
    bed.wait(2000);
}

#[test]
fn a_pool_that_is_lost_is_told() {
    let (bed, _) = with_a_pool("");
    let told = bed.says("node-mass-loss", Severity::Warning).unwrap();
    assert!(told.starts_with("3 of 15 nodes"), "{told}");
}

#[test]
fn a_zone_that_opens_is_quiet() {
    let mut bed = Bed::watched(
        &(0..6)
            .map(|at| Node::new(format!("n{at}"), "a", "6.1"))
            .collect::<Vec<_>>(),
    );
    bed.never = QUIET.to_vec();
    let mut new: Vec<_> = (0..3)
        .map(|at| Node::new(format!("new{at}"), "b", "6.1"))
        .collect();
    for node in &mut new {
        node.created = bed.now.wall;
        node.taint = "node.cloudprovider.kubernetes.io/uninitialized";
        bed.ready(node, "False");
    }
    bed.wait(45);
    for node in &mut new {
        node.taint = "";
        bed.ready(node, "True");
    }
    bed.wait(900);
}

#[test]
fn a_zone_that_is_cut_off_is_told_and_ends() {
    let mut zone: Vec<_> = (0..3).map(|at| Node::new(format!("b{at}"), "b", "6.1")).collect();
    let others: Vec<_> = (0..6).map(|at| Node::new(format!("n{at}"), "a", "6.1")).collect();
    let mut bed = Bed::watched(&[others, zone.clone()].concat());
    for node in &mut zone {
        bed.ready(node, "Unknown");
    }
    assert!(bed.says("node-zone-disruption", Severity::Critical).is_some());
    bed.wait(120);
    for node in &mut zone {
        bed.ready(node, "True");
    }
    assert_eq!(
        bed.findings()
            .iter()
            .filter(|one| one.check == "node-zone-disruption")
            .count(),
        0
    );
    bed.wait(600);
    assert!(
        bed.core
            .findings(bed.now)
            .findings
            .iter()
            .all(|one| one.check != "node-zone-disruption")
    );
}

/// A hundred nodes of which thirty run another kernel, down or not, when the operator starts.
fn found(ready: &'static str) -> Bed {
    let mut all = [nodes("b", 30, "6.8"), nodes("a", 70, "6.1")].concat();
    for node in &mut all[..30] {
        node.ready = ready;
        node.since = Wall(START.wall.0 - 3000);
    }
    Bed::start(&all)
}

#[test]
fn an_operator_that_starts_in_the_middle_says_what_objects_show() {
    let bed = found("Unknown");
    let told = bed.says("node-mass-loss", Severity::Warning).unwrap();
    assert!(told.starts_with("30 of 100 nodes"), "{told}");
    let told = bed.says("fleet-change-sync", Severity::Warning).unwrap();
    assert!(told.contains("kernelVersion 6.8"), "{told}");
}

#[test]
fn an_operator_that_starts_beside_another_kernel_is_quiet() {
    let mut bed = found("True");
    bed.wait(100);
    assert_eq!(bed.told, []);
}
