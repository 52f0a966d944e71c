//! One attack: a namespace and an operator of its own, and what must not have changed in the end.

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use evenkeel::api::TrafficHealthPolicy;
use evenkeel_e2e::ControlPlane;
use evenkeel_e2e::monitoring::free_port;
use evenkeel_e2e::operator::{Operator, verdicts};
use evenkeel_e2e::process::status_kib;
use evenkeel_e2e::repository::root;
use evenkeel_e2e::under_test::{binary, evenkeel};
use kube::Api;
use serde_json::{Value, json};

use super::bed::{EVERY, Sight, TakenBed, TenantBed, UNHEALTHY, VICTIMS, WITHIN, difference, until_told};
use super::probes::Probes;
use super::team::Team;

/// A kubelet asks six times, ten seconds apart, before it restarts the Pod (`manifests/deployment.yaml`): an answer that
/// takes longer than this is no load any more but a loop that stands.
const LIVE_WITHIN: Duration = Duration::from_secs(10);

/// How it went, in numbers.
#[derive(Debug)]
pub(super) struct Figures {
    /// Memory before, at most, and at the end, in MiB.
    pub(super) memory: [u64; 3],
}

/// An attack under way: an operator that has seen the cluster as it is, and a team that may write in one namespace.
pub(super) struct Attack {
    bed: TakenBed,
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
        Self::begin_with(name, legacy, &[]).await
    }

    /// The same, against an operator with more flags.
    pub(super) async fn begin_with(name: &str, legacy: bool, flags: &[&str]) -> Self {
        let mut bed = TenantBed::take().await;
        bed.clear().await;
        let number = bed.attacked.len();
        let namespace = format!("{name}-{number}");
        bed.attacked.push(namespace.clone());
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        bed.plane.apply_yaml(&object.to_string()).await.unwrap();
        let client = bed.plane.editor(&namespace, legacy).await.unwrap();
        let debug = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        let mut more = vec![format!("--debug-listen={debug}"), "--log=info".to_owned()];
        more.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let instance = format!("operator-{number}");
        let operator = Operator::start(&bed.plane, binary().unwrap(), &instance, &more, bed.folder.path());
        let operator = operator.await.unwrap();
        operator.until_ready().await.unwrap();
        operator
            .until_metric("evenkeel_leader{} 1.0", WITHIN)
            .await
            .unwrap();
        // The statuses may be from the operator before: this one has judged when its own metrics say so.
        operator.until_metric(UNHEALTHY, WITHIN).await.unwrap();
        // Of a Prometheus that does not answer the met policy has a gap, with or without an attack.
        let is_blind = flags.iter().any(|flag| flag.starts_with("--prometheus"));
        for (namespace, status, reason) in VICTIMS {
            let (status, reason) = if is_blind && status == "True" {
                ("Unknown", "InputsMissing")
            } else {
                (status, reason)
            };
            until_told(&bed.plane, namespace, status, reason).await;
        }
        // Each observer says in its own time that it has nothing.
        for (flag, observer) in [
            ("--prometheus", "Prometheus"),
            ("--instance-metrics", "the API server's /metrics"),
        ] {
            if flags.iter().any(|one| one.starts_with(flag)) {
                until_named(debug, observer).await;
            }
        }
        let before = bed.see(&operator, debug).await;
        assert!(before.contains("the critical finding stands"), "{before:#?}");
        let probes = Probes::start(&operator);
        Self {
            seen: Cell::new(0),
            asked: bed.asked().len(),
            memory: memory(&operator, "VmRSS"),
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

    /// Waits until the operator has given the team's newest policy a status, and so has seen what was written before.
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
        let mut found = verdicts(self.debug).await.unwrap();
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

    /// How often it has asked for something in the team's namespace since the attack began, by verb and resource. Waits for
    /// the first time, as the audit log of the API server lags.
    pub(super) async fn asked_for(&self, what: (&str, &str)) -> usize {
        self.asked_in(self.team.namespace(), what).await
    }

    /// The same in any namespace.
    pub(super) async fn asked_in(&self, namespace: &str, (verb, resource): (&str, &str)) -> usize {
        let start = Instant::now();
        loop {
            let asked = self.bed.asked().split_off(self.asked);
            let is_such = |one: &&Value| {
                one["verb"] == verb
                    && one["objectRef"]["resource"] == resource
                    && one["objectRef"]["namespace"] == namespace
            };
            let count = asked.iter().filter(is_such).count();
            if count > 0 || start.elapsed() > WITHIN {
                return count;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Waits until the operator's log holds a text.
    pub(super) async fn until_logged(&self, text: &str) {
        let start = Instant::now();
        while !self.operator.log().unwrap().contains(text) {
            assert!(
                start.elapsed() < WITHIN,
                "{}: the log does not say {text}",
                self.name
            );
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Everything that operators of these attacks have asked for so far.
    pub(super) fn asked_at_all(&self) -> Vec<Value> {
        self.bed.answered()
    }

    /// How many files the operator has open.
    pub(super) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.operator.id()))
            .unwrap()
            .count()
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
        if !differs.is_empty() {
            eprintln!("{}", self.operator.log().unwrap_or_default());
        }
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
                memory(&self.operator, "VmHWM"),
                memory(&self.operator, "VmRSS"),
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

/// Waits until a verdict names an observer.
async fn until_named(debug: SocketAddr, observer: &str) {
    let start = Instant::now();
    let names = |one: &Value| {
        one["message"]
            .as_str()
            .is_some_and(|text| text.contains(observer))
    };
    while !verdicts(debug).await.unwrap().iter().any(names) {
        assert!(start.elapsed() < WITHIN, "no verdict names {observer}");
        tokio::time::sleep(EVERY).await;
    }
}

/// A line of proc(5), `status`, in MiB rounded down.
fn memory(operator: &Operator, name: &str) -> u64 {
    status_kib(operator.id(), name).unwrap() / 1024
}
