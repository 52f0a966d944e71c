//! One control plane with two teams that have done nothing wrong, and for each attack a namespace and an operator of its
//! own.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use evenkeel::api::TrafficHealthPolicy;
use evenkeel_e2e::audit::{self, ACCOUNT};
use evenkeel_e2e::demo::{example, example_in, root};
use evenkeel_e2e::monitoring::{free_port, get};
use evenkeel_e2e::operator::Operator;
use evenkeel_e2e::under_test::{binary, evenkeel};
use evenkeel_e2e::{ControlPlane, Options};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::probes::Probes;
use super::team::Team;

/// Far above what anything here takes, on a machine that is busy with other tests.
pub(super) const WITHIN: Duration = Duration::from_secs(120);

/// How often something is asked for while it is waited for.
const EVERY: Duration = Duration::from_millis(100);

/// A kubelet asks six times, ten seconds apart, before it restarts the Pod (`manifests/deployment.yaml`): an answer that
/// takes longer than this is no load any more but a loop that stands.
const LIVE_WITHIN: Duration = Duration::from_secs(10);

/// The teams that have done nothing wrong: a critical finding that stands, and a policy that is met.
const VICTIMS: [(&str, &str, &str); 2] = [("orders", "False", "Violated"), ("pay", "True", "AllMet")];

/// The series of the policy that is not met.
pub(super) const UNHEALTHY: &str = "evenkeel_policy_unhealthy{namespace=\"orders\",policy=\"reports\"} 1";

/// Only those controllers that a team can use to make others' verdicts: no kubelet runs, so what makes Pods would make
/// thousands that stay pending.
const CONTROLLERS: &str = "clusterrole-aggregation-controller,serviceaccount-controller,namespace-controller,\
                           endpointslice-controller";

/// What the operator asks for, and what it writes with its body; nobody else.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
  users: [\"system:serviceaccount:evenkeel-system:evenkeel\"]
- level: None
";

/// The control plane of all attacks.
struct Bed {
    plane: ControlPlane,
    folder: TempDir,
    /// The namespaces of all attacks so far.
    attacked: Vec<String>,
}

impl Bed {
    /// One attack at a time.
    async fn lock() -> MutexGuard<'static, Self> {
        static BED: OnceCell<Mutex<Bed>> = OnceCell::const_new();
        let bed = BED.get_or_init(async || Mutex::new(Self::start().await));
        bed.await.lock().await
    }

    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("audit-policy.yaml");
        fs::write(&policy, AUDIT_POLICY).unwrap();
        let options = Options {
            api_server_args: vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", folder.path().join("audit.jsonl").display()),
            ],
            controller_manager_args: vec![format!("--controllers={CONTROLLERS}")],
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await.unwrap();
        plane.install_operator().await.unwrap();
        plane
            .apply_yaml(&example("demo/cluster.yaml").unwrap())
            .await
            .unwrap();
        for (namespace, _, _) in VICTIMS {
            plane
                .apply_yaml(&example_in("demo/shop.yaml", namespace).unwrap())
                .await
                .unwrap();
        }
        for (file, namespace) in [("demo/policy.yaml", "orders"), ("demo-keepalive.yaml", "pay")] {
            plane
                .apply_yaml(&example_in(file, namespace).unwrap())
                .await
                .unwrap();
        }
        until_aggregated(&plane).await;
        Self {
            plane,
            folder,
            attacked: Vec::new(),
        }
    }

    /// Removes what the attack before has left, also where it failed: it would be in the way of this one's figures.
    async fn clear(&mut self) {
        let Some(namespace) = self.attacked.last() else {
            return;
        };
        let client = self.plane.client().await.unwrap();
        let left = Team::new(client.clone(), namespace.clone());
        left.delete_all(("evenkeel.dev/v1alpha1", "TrafficHealthPolicy"))
            .await;
        // Without kubelets Pods leave by force only.
        left.delete_all(("v1", "Pod")).await;
        let namespaces: Api<Namespace> = Api::all(client);
        namespaces
            .delete(namespace, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// What others are told now.
    async fn see(&self, operator: &Operator, debug: SocketAddr) -> Sight {
        let mut sight = Sight::new();
        for mut finding in findings(debug).await {
            let namespace = finding["subject"]["namespace"].as_str().unwrap_or_default();
            if !self.attacked.iter().any(|one| one == namespace) {
                // An operator that has just begun has seen nothing begin.
                finding.as_object_mut().unwrap().remove("since");
                sight.insert(format!("finding {finding}"));
            }
        }
        for (victim, _, _) in VICTIMS {
            for policy in policies(&self.plane, victim).await {
                let status = serde_json::to_value(&policy.status).unwrap();
                sight.insert(format!("policy of {victim} {}", timeless(status)));
            }
        }
        let (code, text) = operator.get("/metrics").await.unwrap();
        assert_eq!(code, 200, "{text}");
        let critical =
            "evenkeel_findings{check=\"path-idle-budget\",verdict=\"Violated\",severity=\"critical\"}";
        assert!(text.contains(critical), "{text}");
        let names = |line: &&str, name: &str| line.contains(&format!("=\"{name}\""));
        let of_victims = text
            .lines()
            .filter(|line| VICTIMS.iter().any(|one| names(line, one.0)));
        sight.extend(of_victims.map(|line| format!("metric {line}")));
        sight
    }

    fn asked(&self) -> Vec<Value> {
        let events = audit::events(&self.folder.path().join("audit.jsonl")).unwrap();
        audit::asked_by(events, ACCOUNT)
    }
}

/// Waits for the controller that fills the role `edit` from its parts.
async fn until_aggregated(plane: &ControlPlane) {
    let roles: Api<ClusterRole> = Api::all(plane.client().await.unwrap());
    let start = Instant::now();
    for role in ["edit", "view"] {
        while roles
            .get(role)
            .await
            .unwrap()
            .rules
            .unwrap_or_default()
            .is_empty()
        {
            assert!(start.elapsed() < WITHIN, "the role {role} stays empty");
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// What others than the attacking teams are told, a sentence each: findings on everything outside of their namespaces, the
/// victims' policies, and the metrics that name the victims.
type Sight = BTreeSet<String>;

/// How it went, in numbers.
#[derive(Debug)]
pub(super) struct Figures {
    /// Memory before, at most, and at the end, in MiB.
    pub(super) memory: [u64; 3],
}

/// An attack under way: an operator that has seen the cluster as it is, and a team that may write in one namespace.
pub(super) struct Attack {
    bed: MutexGuard<'static, Bed>,
    pub(super) operator: Operator,
    pub(super) team: Team,
    name: String,
    debug: SocketAddr,
    before: Sight,
    /// How often it was waited for the operator to have seen everything.
    seen: Cell<usize>,
    asked: usize,
    memory: u64,
    probes: Probes,
}

impl Attack {
    /// A team with the roles `edit` and `view`.
    pub(super) async fn begin(name: &str) -> Self {
        Self::begin_as(name, false).await
    }

    /// The same; `legacy` also with the right to write EndpointSlices.
    pub(super) async fn begin_as(name: &str, legacy: bool) -> Self {
        let mut bed = Bed::lock().await;
        bed.clear().await;
        let number = bed.attacked.len();
        let namespace = format!("{name}-{number}");
        bed.attacked.push(namespace.clone());
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        bed.plane.apply_yaml(&object.to_string()).await.unwrap();
        let client = bed.plane.editor(&namespace, legacy).await.unwrap();
        let debug = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        let more = [format!("--debug-listen={debug}"), "--log=info".to_owned()];
        let instance = format!("operator-{number}");
        let operator = Operator::start(&bed.plane, binary().unwrap(), &instance, &more, bed.folder.path());
        let operator = operator.await.unwrap();
        operator.until_ready().await.unwrap();
        operator
            .until_metric("evenkeel_leader{} 1.0", WITHIN)
            .await
            .unwrap();
        // The one before may have told the policies: this one has its own word when its metrics have it.
        operator.until_metric(UNHEALTHY, WITHIN).await.unwrap();
        for (namespace, status, reason) in VICTIMS {
            until_told(&bed.plane, namespace, status, reason).await;
        }
        let before = bed.see(&operator, debug).await;
        let probes = Probes::start(&operator);
        Self {
            seen: Cell::new(0),
            asked: bed.asked().len(),
            memory: memory(&operator, "VmRSS:"),
            team: Team::new(client, namespace.clone()),
            bed,
            operator,
            name: name.to_owned(),
            debug,
            before,
            probes,
        }
    }

    /// The administrator's control plane.
    pub(super) fn plane(&self) -> &ControlPlane {
        &self.bed.plane
    }

    /// Waits until the operator has told the team what it thinks of a policy, and so has seen what was written before.
    pub(super) async fn until_seen(&self) -> Duration {
        let start = Instant::now();
        let name = format!("seen-{}", self.seen.get());
        self.seen.set(self.seen.get() + 1);
        self.team.policy(&name, &json!({})).await.unwrap();
        let policies: Api<TrafficHealthPolicy> =
            Api::namespaced(self.plane().client().await.unwrap(), self.team.namespace());
        while policies.get(&name).await.unwrap().status.is_none() {
            assert!(
                start.elapsed() < WITHIN,
                "{}: the operator does not answer the team",
                self.name
            );
            tokio::time::sleep(EVERY).await;
        }
        start.elapsed()
    }

    /// What `/debug/verdicts` says of the team's namespace.
    pub(super) async fn own_findings(&self) -> Vec<Value> {
        let mut found = findings(self.debug).await;
        found.retain(|one| one["subject"]["namespace"] == self.team.namespace());
        found
    }

    /// Waits until a check finds something in the team's namespace.
    pub(super) async fn until_own(&self, check: &str) {
        let start = Instant::now();
        while !self.own_findings().await.iter().any(|one| one["check"] == check) {
            assert!(start.elapsed() < WITHIN, "{}: no {check}", self.name);
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Whether others see something else than before.
    pub(super) async fn changed(&self) -> bool {
        let now = self.bed.see(&self.operator, self.debug).await;
        now != self.before
    }

    /// That nothing outside of the team's namespace has changed: not a word on others, no write, no question that the
    /// rights do not cover, no byte that a terminal obeys, and a process that lives and answers.
    pub(super) async fn end(mut self) -> Figures {
        let name = self.name.clone();
        let now = self.bed.see(&self.operator, self.debug).await;
        let differs = difference(&self.before, &now);
        assert!(
            differs.is_empty(),
            "{name}: others see something else:\n{differs}"
        );
        let asked = self.bed.asked().split_off(self.asked);
        let refused: Vec<_> = asked
            .iter()
            .filter(|one| one["responseStatus"]["code"] == 403)
            .collect();
        assert!(refused.is_empty(), "{name}: asked without a right: {refused:#?}");
        self.told_no_other_word(&asked);
        self.exits_are_harmless().await;
        self.operator.lives().unwrap();
        let served = self.probes.end().await;
        let figures = Figures {
            memory: [
                self.memory,
                memory(&self.operator, "VmHWM:"),
                memory(&self.operator, "VmRSS:"),
            ],
        };
        let [before, most, after] = figures.memory;
        eprintln!("{name}: memory {before} MiB, at most {most}, at the end {after}; /livez {served}");
        assert!(
            most < limit(),
            "{name}: {most} MiB are above the limit of the Pod"
        );
        assert_eq!(served.bad, 0, "{name}: /livez {served}");
        assert!(served.longest < LIVE_WITHIN, "{name}: /livez {served}");
        self.operator.end().unwrap();
        figures
    }

    /// Nothing was written elsewhere but statuses of the victims that say what they said before, or that it cannot be known:
    /// a machine that is busy with other tests may hold a watch up for longer than the operator believes it.
    fn told_no_other_word(&self, asked: &[Value]) {
        let elsewhere = |one: &&Value| {
            let place = &one["objectRef"]["namespace"];
            let reads = ["get", "list", "watch"].contains(&one["verb"].as_str().unwrap_or_default());
            !reads && place != self.team.namespace() && place != "evenkeel-system"
        };
        let written: Vec<_> = asked.iter().filter(elsewhere).collect();
        for one in &written {
            let place = &one["objectRef"]["namespace"];
            let victim = VICTIMS.iter().find(|victim| place == victim.0);
            let (_, status, _) =
                victim.unwrap_or_else(|| panic!("{}: written elsewhere: {one:#}", self.name));
            let conditions = one["requestObject"]["status"]["conditions"].as_array();
            let healthy = conditions
                .into_iter()
                .flatten()
                .find(|one| one["type"] == "Healthy");
            let word = healthy.map_or(&Value::Null, |one| &one["status"]);
            let is_event = one["objectRef"]["resource"] == "events";
            assert!(
                is_event || word == status || word == "Unknown",
                "{}: {one:#}",
                self.name
            );
        }
        if !written.is_empty() {
            eprintln!(
                "{}: {} statuses of others were written, some Unknown",
                self.name,
                written.len()
            );
        }
    }

    /// No byte that a terminal obeys leaves.
    async fn exits_are_harmless(&self) {
        let (_, metrics) = self.operator.get("/metrics").await.unwrap();
        let mut exits = vec![
            ("log".to_owned(), self.operator.log().unwrap()),
            ("metrics".to_owned(), metrics),
        ];
        let kubeconfig = self.plane().kubeconfig_path().to_str().unwrap();
        for command in [
            "status",
            "audit",
            "audit -o wide",
            "audit -o markdown",
            "dataplane",
        ] {
            let arguments: Vec<_> = command.split(' ').chain(["--kubeconfig", kubeconfig]).collect();
            let said = evenkeel(&arguments).unwrap();
            assert!(!said.out.is_empty(), "{command}: {}", said.err);
            exits.push((command.to_owned(), said.out + &said.err));
        }
        for (exit, text) in exits {
            let active = text.chars().find(|c| c.is_control() && !['\n', '\t'].contains(c));
            assert_eq!(active, None, "{}: {exit}", self.name);
        }
    }
}

/// What the Deployment gives a Pod, in MiB.
fn limit() -> u64 {
    let text = fs::read_to_string(root().join("manifests/deployment.yaml")).unwrap();
    let deployment: Value = serde_saphyr::from_str(&text).unwrap();
    let limit = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"];
    limit
        .as_str()
        .unwrap()
        .strip_suffix("Mi")
        .unwrap()
        .parse()
        .unwrap()
}

/// A line of proc(5), `status`, in MiB rounded down.
pub(super) fn memory(operator: &Operator, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", operator.id())).unwrap();
    let line = status.lines().find_map(|one| one.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

async fn policies(plane: &ControlPlane, namespace: &str) -> Vec<TrafficHealthPolicy> {
    let api: Api<TrafficHealthPolicy> = Api::namespaced(plane.client().await.unwrap(), namespace);
    api.list(&ListParams::default()).await.unwrap().items
}

async fn until_told(plane: &ControlPlane, namespace: &str, status: &str, reason: &str) {
    let start = Instant::now();
    loop {
        let policy = policies(plane, namespace).await.remove(0);
        let conditions = policy.status.unwrap_or_default().conditions;
        let healthy = conditions.into_iter().find(|one| one.r#type == "Healthy");
        let told = healthy.map(|one| (format!("{:?}", one.status), one.reason));
        if told == Some((status.to_owned(), reason.to_owned())) {
            return;
        }
        assert!(
            start.elapsed() < WITHIN,
            "{namespace}: {told:?}, not {status}/{reason}"
        );
        tokio::time::sleep(EVERY).await;
    }
}

async fn findings(debug: SocketAddr) -> Vec<Value> {
    let start = Instant::now();
    loop {
        // A loop that is busy says so; the question is asked again.
        if let Ok((200, text)) = get(debug, "/debug/verdicts").await {
            let list: Value = serde_json::from_str(&text).unwrap();
            return list["findings"].as_array().unwrap().clone();
        }
        assert!(start.elapsed() < WITHIN, "/debug/verdicts does not answer");
        tokio::time::sleep(EVERY).await;
    }
}

/// A status without the times of its conditions.
fn timeless(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    status
}

/// What one says and the other does not.
fn difference(before: &Sight, now: &Sight) -> String {
    let gone = before.difference(now).map(|one| format!("- {one}\n"));
    gone.chain(now.difference(before).map(|one| format!("+ {one}\n")))
        .collect()
}
