//! `evenkeel run --remedies` as it is, on a real API server with the component `remedy-cordon` and a Prometheus that measures:
//! from the flaps of a node to its fence and back, without a person and with one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use evenkeel::{lease, remedy, send};
use evenkeel_core::sources::claim::FENCE;
use evenkeel_e2e::audit::ACCOUNT;
use evenkeel_e2e::cluster::NAMESPACE;
use evenkeel_e2e::invariants::{Limits, verbs_of, violations};
use evenkeel_e2e::monitoring::answers::{now, vector};
use evenkeel_e2e::monitoring::{Asked, FakePrometheus, PROMETHEUS, Reply};
use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::under_test::{binary, evenkeel, evenkeel_json};
use evenkeel_e2e::{ControlPlane, Options};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::remedy_bed::{self, Account, node};

/// One at a time: each has a control plane of its own, as the fences of others would count against its budget.
static TURNS: Semaphore = Semaphore::const_new(1);

/// Of twelve nodes the budget of ten percent, rounded down, is one.
const NODES: usize = 12;
const FLAPPER: &str = "n0";
/// Far above what anything here takes on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(900);

/// Counters are counted from here on, in seconds since 1970.
const SINCE: f64 = 1_700_000_000.0;

/// What a Prometheus brings of a series that is asked for: a node that stalls, others that do not, all half full; and API
/// servers without errors. Counters grow with time.
fn value(label: &str, stalls: bool, time: f64) -> Option<f64> {
    Some(match label {
        "cpuBusy" => 5.0 * time,
        "cpuTime" => 10.0 * time,
        "memoryTotal" => 8e9,
        "memoryAvailable" => 4e9,
        "exporterUp" => 1.0,
        "cpuPressure" if stalls => 0.9 * time,
        "cpuPressure" => 0.1 * time,
        "memoryPressure" | "ioPressure" | "serverErrors" | "tooManyRequests" | "slowRequests" => 0.0,
        "requests" => 2.0 * time,
        _ => return None,
    })
}

/// The answer to one of evenkeel's queries: for each label that it asks for a series of each node, or of the API server.
fn answer(asked: &Asked, server: &str) -> Reply {
    let time = now();
    let mut series = Vec::new();
    let labels = asked.promql.split("\"evenkeel\",\"").skip(1);
    let labels: Vec<_> = labels.filter_map(|rest| rest.split('"').next()).collect();
    let brings = labels.iter().any(|label| value(label, false, time).is_some());
    let of_server = asked.promql.contains("apiserver_");
    let subjects: Vec<(String, bool)> = if of_server {
        vec![(server.to_owned(), false)]
    } else {
        (0..NODES).map(|at| (name(at), at == 0)).collect()
    };
    for label in labels {
        for (subject, stalls) in &subjects {
            let value = match label {
                "time" => brings.then_some(time),
                _ => value(label, *stalls, time - SINCE),
            };
            let Some(value) = value else { continue };
            let mut labels = json!({"evenkeel": label, "instance": subject});
            if !of_server {
                labels["node"] = json!(subject);
            }
            series.push(json!({"metric": labels, "value": [time, value.to_string()]}).to_string());
        }
    }
    Reply::body(vector(&series.join(",")))
}

fn name(at: usize) -> String {
    format!("n{at}")
}

/// A cluster in slack, and an operator that acts.
struct RunBed {
    plane: ControlPlane,
    admin: Account,
    operator: Operator,
    /// How often the flapper has failed.
    flips: usize,
    _prometheus: FakePrometheus,
    _folder: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl RunBed {
    async fn start(mode: &str) -> Self {
        let turn = TURNS.acquire().await.unwrap();
        // Its node controller would judge nodes that have no kubelet.
        let plane = remedy_bed::start(Options {
            audit: true,
            controller_manager: false,
            ..Options::default()
        })
        .await;
        let admin = Account::admin(&plane).await;
        for at in 0..NODES {
            let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name(at)}});
            admin.post("/api/v1/nodes", &object).await.unwrap();
            // Its taint says that the kubelet has not reported yet.
            let none = json!({"spec": {"taints": null}});
            admin.merge(&node(&name(at)), &none).await.unwrap();
            ready(&admin, &name(at), "True").await;
        }
        for team in TEAMS {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}});
            admin.post("/api/v1/namespaces", &object).await.unwrap();
        }
        let slices = admin
            .get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")
            .await;
        let slice = &slices["items"][0];
        let server = format!(
            "{}:{}",
            slice["endpoints"][0]["addresses"][0].as_str().unwrap(),
            slice["ports"][0]["port"]
        );
        let here = SocketAddr::from((own_address(), 0));
        let prometheus = FakePrometheus::start(here, move |asked| answer(asked, &server))
            .await
            .unwrap();
        let address = prometheus.address();
        plane
            .prometheus_service(own_address(), address.port())
            .await
            .unwrap();
        admin.post(POLICIES, &policy(mode)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let flags = [
            "--remedies",
            "--node-name=",
            &format!("--prometheus={PROMETHEUS}"),
        ];
        let flags = flags.map(str::to_owned);
        let operator = Operator::start(&plane, binary().unwrap(), "acts", &flags, folder.path());
        let operator = operator.await.unwrap();
        operator.until_ready().await.unwrap();
        Self {
            plane,
            admin,
            operator,
            flips: 0,
            _prometheus: prometheus,
            _folder: folder,
            _turn: turn,
        }
    }

    /// The flapper fails, comes back, and Pods of three teams fill it; until something holds.
    async fn flap_until(&mut self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let flapped = tokio::time::timeout(WITHIN, async {
            loop {
                self.flap().await;
                if holds(self).await {
                    return;
                }
            }
        });
        if flapped.await.is_err() {
            let policy = self.admin.get(&format!("{POLICIES}/cluster")).await;
            panic!(
                "{what}: not within {} s; plans: {}\nlog: {}",
                WITHIN.as_secs(),
                policy["status"]["plans"],
                self.operator.log().unwrap_or_default()
            );
        }
    }

    async fn flap(&mut self) {
        let pause = || tokio::time::sleep(Duration::from_secs(2));
        ready(&self.admin, FLAPPER, "False").await;
        pause().await;
        ready(&self.admin, FLAPPER, "True").await;
        pause().await;
        self.flips += 1;
        for team in TEAMS {
            let address = format!("10.1.{}.{}", self.flips / 250, self.flips % 250 + 1);
            let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": format!("web-{}", self.flips), "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [],
                "endpoints": [{"addresses": [address], "nodeName": FLAPPER, "conditions": {"ready": true}}]});
            let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{team}/endpointslices");
            self.admin.post(&slices, &slice).await.unwrap();
        }
        pause().await;
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let waited = tokio::time::timeout(WITHIN, async {
            while !holds(self).await {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let in_time = waited.await.is_ok();
        assert!(in_time, "{what}: {}", self.operator.log().unwrap_or_default());
    }

    async fn is_fenced(&self) -> bool {
        let node = self.admin.get(&node(FLAPPER)).await;
        let mut taints = node["spec"]["taints"].as_array().into_iter().flatten();
        taints.any(|one| one["key"] == FENCE)
    }

    /// What becomes of the plan for the flapper.
    async fn decision(&self) -> Option<String> {
        let policy = self.admin.get(&format!("{POLICIES}/cluster")).await;
        let mut plans = policy["status"]["plans"].as_array().into_iter().flatten();
        let plan = plans.find(|one| one["node"] == FLAPPER)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(text(&plan["decision"]))
    }

    async fn records(&self) -> Vec<Value> {
        let path = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/remediations");
        self.admin.get(&path).await["items"].as_array().unwrap().clone()
    }

    /// What `evenkeel status` says of records that are open.
    fn status(&self) -> Value {
        let kubeconfig = self.plane.kubeconfig_path().to_str().unwrap();
        let arguments = ["status", "-o", "json", "--kubeconfig", kubeconfig];
        evenkeel_json(&arguments).unwrap().0["remediations"].take()
    }

    fn says(&self, arguments: &[&str]) -> String {
        let kubeconfig = self.plane.kubeconfig_path().to_str().unwrap();
        let said = evenkeel(&[arguments, &["--kubeconfig", kubeconfig]].concat()).unwrap();
        assert_eq!(said.code, 0, "{arguments:?}: {} {}", said.out, said.err);
        said.out
    }

    /// How often the operator has asked whether people said stop.
    fn asked_for_stop(&self) -> usize {
        self.asked(|one| one["verb"] == "get" && one["objectRef"]["name"] == remedy::STOP)
    }

    /// How often it has read what people say to plans.
    fn listed_approvals(&self) -> usize {
        self.asked(|one| one["verb"] == "list" && one["objectRef"]["resource"] == "remediationapprovals")
    }

    fn asked(&self, what: impl Fn(&Value) -> bool) -> usize {
        let events = self.plane.audit_events().unwrap();
        let ours = events.iter().filter(|one| one["user"]["username"] == ACCOUNT);
        ours.filter(|one| what(one)).count()
    }

    /// It ends in good order, and nothing that it did breaks an invariant.
    fn end(self) {
        self.operator.end().unwrap();
        let rights = [remedy::RIGHTS, lease::RIGHTS, send::RIGHTS];
        let limits = Limits {
            rights: rights.into_iter().flat_map(verbs_of).collect(),
            ..Limits::default()
        };
        assert_eq!(violations(&self.plane.audit_events().unwrap(), &limits), []);
    }
}

const TEAMS: [&str; 3] = ["team-a", "team-b", "team-c"];
const POLICIES: &str = "/apis/evenkeel.dev/v1alpha1/clustertraffichealthpolicies";

/// Windows as short as they may be, so that the test is.
fn policy(mode: &str) -> Value {
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "ClusterTrafficHealthPolicy", "metadata": {"name": "cluster"},
        "spec": {"nodes": {"flap": {"transitions": 3, "windowSeconds": 120}, "pressure": {"forSeconds": 30},
            "cordon": {"mode": mode, "steadySeconds": 300}}}})
}

/// As the kubelet reports it.
async fn ready(admin: &Account, name: &str, ready: &str) {
    let condition = json!({"type": "Ready", "status": ready, "reason": "Kubelet", "message": ""});
    let status = json!({"status": {"conditions": [condition],
        "addresses": [{"type": "InternalIP", "address": address(name)}],
        "allocatable": {"cpu": "10", "memory": "8G", "pods": "110"}, "capacity": {"cpu": "10", "memory": "8G", "pods": "110"}}});
    admin
        .merge(&format!("{}/status", node(name)), &status)
        .await
        .unwrap();
}

/// An address of this machine that a slice may name, which those of the loopback device are not: the one by which it would
/// reach others. Nothing is sent.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).unwrap();
    let IpAddr::V4(address) = socket.local_addr().unwrap().ip() else {
        panic!("an address of another family")
    };
    address
}

fn address(name: &str) -> String {
    let number: usize = name.trim_start_matches('n').parse().unwrap();
    format!("10.0.0.{}", number + 1)
}

/// While people say stop nothing is stored and no taint lands; when they say go the flapper is fenced, once, and its fence goes
/// after it was steady.
#[tokio::test(flavor = "multi_thread")]
async fn in_mode_enforce_a_flapper_is_fenced_when_people_say_go_and_unfenced_when_it_is_steady() {
    let mut bed = RunBed::start("Enforce").await;
    bed.says(&["stop", "--reason", "a test"]);
    bed.flap_until("a plan that only stop holds", async |bed: &RunBed| {
        bed.decision().await.as_deref() == Some("Planned") && bed.asked_for_stop() >= 2
    })
    .await;
    assert!(!bed.is_fenced().await && bed.records().await.is_empty());
    bed.says(&["go"]);
    bed.flap_until("the fence", RunBed::is_fenced).await;
    bed.until("the record", async |bed: &RunBed| {
        bed.status()[0]["state"] == "InEffect"
    })
    .await;
    let others = bed.admin.get("/api/v1/nodes").await;
    let fenced = others["items"].as_array().unwrap().iter();
    assert_eq!(fenced.filter(|one| one.to_string().contains(FENCE)).count(), 1);
    bed.until("its undo", async |bed: &RunBed| !bed.is_fenced().await)
        .await;
    bed.until("the end of the record", async |bed: &RunBed| {
        bed.status().is_null()
    })
    .await;
    let records = bed.records().await;
    assert_eq!(records.len(), 1);
    let conditions = records[0]["status"]["conditions"].as_array().unwrap();
    let finished = conditions.iter().find(|one| one["type"] == "Finished").unwrap();
    assert_eq!(finished["reason"], "Undone");
    bed.end();
}

/// Without a yes nothing is done, however long the node comes and goes; with the yes of somebody who may say it the fence lands,
/// and it goes with the policy.
#[tokio::test(flavor = "multi_thread")]
async fn in_mode_suggest_a_flapper_is_fenced_when_a_person_agreed() {
    let mut bed = RunBed::start("Suggest").await;
    bed.flap_until("a record that waits", async |bed: &RunBed| {
        bed.status()[0]["state"] == "AwaitsApproval"
    })
    .await;
    let waiting = bed.status()[0].clone();
    assert_eq!(waiting["target"], FLAPPER);
    let record = waiting["name"].as_str().unwrap();
    let page = bed.says(&["approve", record, "--dry-run"]);
    assert!(page.contains("the mode is Suggest"), "{page}");
    // Another plan is not this one: the operator has read it, and asks on.
    let stored = bed.records().await.remove(0);
    let another = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "RemediationApproval",
        "metadata": {"name": "another"}, "spec": {"remediationUID": stored["metadata"]["uid"],
            "planHash": "0000000000000000", "decision": "Approve", "by": "somebody-else"}});
    let approvals = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/remediationapprovals");
    let refused = bed.admin.post(&approvals, &another).await.unwrap_err();
    let who = refused
        .1
        .rsplit("requesting user: ")
        .next()
        .unwrap()
        .trim()
        .to_owned();
    let mut another = another;
    another["spec"]["by"] = json!(who);
    bed.admin.post(&approvals, &another).await.unwrap();
    let read = bed.listed_approvals();
    bed.flap_until("approvals to be read", async |bed: &RunBed| {
        bed.listed_approvals() > read + 1
    })
    .await;
    assert!(!bed.is_fenced().await);

    let said = bed.says(&["approve", record]);
    assert!(said.contains("Approved: this plan and no other"), "{said}");
    bed.flap_until("the fence", RunBed::is_fenced).await;
    bed.until("the record", async |bed: &RunBed| {
        bed.status()[0]["state"] == "InEffect"
    })
    .await;
    let stored = bed.records().await;
    let conditions = stored[0]["status"]["conditions"].as_array().unwrap();
    let approved = conditions.iter().find(|one| one["type"] == "Approved").unwrap();
    assert_eq!(approved["message"], format!("by {who}"));

    let observe = json!({"spec": policy("Observe")["spec"]});
    bed.admin
        .merge(&format!("{POLICIES}/cluster"), &observe)
        .await
        .unwrap();
    bed.until("its undo", async |bed: &RunBed| !bed.is_fenced().await)
        .await;
    bed.until("the end of the record", async |bed: &RunBed| {
        bed.status().is_null()
    })
    .await;
    bed.end();
}
