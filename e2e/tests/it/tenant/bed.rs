//! Control planes for all attacks, each with two teams that have done nothing wrong, and what others see there.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use evenkeel::api::TrafficHealthPolicy;
use evenkeel_e2e::audit::{self, ACCOUNT};
use evenkeel_e2e::operator::{Operator, verdicts};
use evenkeel_e2e::repository::{example, example_in};
use evenkeel_e2e::{ControlPlane, Options};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::team::Team;

/// Far above what anything here takes, on a machine that is busy with other tests.
pub(super) const WITHIN: Duration = Duration::from_secs(120);

/// How often something is asked for while it is waited for.
pub(super) const EVERY: Duration = Duration::from_millis(100);

/// The teams that have done nothing wrong: a critical finding that stands, and a policy that is met.
pub(super) const VICTIMS: [(&str, &str, &str); 2] =
    [("orders", "False", "Violated"), ("pay", "True", "AllMet")];

/// The series of the policy that is not met.
pub(super) const UNHEALTHY: &str = "evenkeel_policy_unhealthy{namespace=\"orders\",policy=\"reports\"} 1";

/// Only those controllers that a team can use to make others' verdicts: no kubelet runs, so what makes Pods would make
/// thousands that stay pending.
const CONTROLLERS: &str = "clusterrole-aggregation-controller,serviceaccount-controller,namespace-controller,\
                           endpointslice-controller";

/// What the operator asks for, and what it writes with its body; no other account.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
  users: [\"system:serviceaccount:evenkeel-system:evenkeel\"]
- level: None
";

/// How many attacks there are at a time, each on a control plane of its own: they wait more than they compute.
const BEDS: usize = 2;

/// The beds that no attack has now; made as they are needed.
static FREE: Mutex<Vec<TenantBed>> = Mutex::new(Vec::new());

/// A control plane that attacks come to one after the other.
pub(super) struct TenantBed {
    pub(super) plane: ControlPlane,
    pub(super) folder: TempDir,
    /// The namespaces of all attacks so far.
    pub(super) attacked: Vec<String>,
}

/// A bed, until its attack has ended.
pub(super) struct TakenBed {
    /// There until it is dropped.
    bed: Option<TenantBed>,
    _turn: SemaphorePermit<'static>,
}

impl Deref for TakenBed {
    type Target = TenantBed;

    fn deref(&self) -> &TenantBed {
        self.bed.as_ref().unwrap()
    }
}

impl DerefMut for TakenBed {
    fn deref_mut(&mut self) -> &mut TenantBed {
        self.bed.as_mut().unwrap()
    }
}

impl Drop for TakenBed {
    fn drop(&mut self) {
        FREE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(self.bed.take());
    }
}

impl TenantBed {
    /// A bed for one attack, which others have afterwards.
    pub(super) async fn take() -> TakenBed {
        static TURNS: Semaphore = Semaphore::const_new(BEDS);
        let turn = TURNS.acquire().await.unwrap();
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bed = match free {
            Some(bed) => bed,
            None => Self::start().await,
        };
        TakenBed {
            bed: Some(bed),
            _turn: turn,
        }
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
    pub(super) async fn clear(&mut self) {
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

    /// What others see now.
    pub(super) async fn see(&self, operator: &Operator, debug: SocketAddr) -> Sight {
        let mut sight = Sight::new();
        for mut finding in verdicts(debug).await.unwrap() {
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
        let stands = if text.contains(critical) {
            "stands"
        } else {
            "is gone"
        };
        sight.insert(format!("the critical finding {stands}"));
        let names = |line: &&str, name: &str| line.contains(&format!("=\"{name}\""));
        let of_victims = text
            .lines()
            .filter(|line| VICTIMS.iter().any(|one| names(line, one.0)));
        sight.extend(of_victims.map(|line| format!("metric {line}")));
        sight
    }

    /// What the operator has asked for so far.
    pub(super) fn asked(&self) -> Vec<Value> {
        audit::asked_by(self.noted(), ACCOUNT)
    }

    /// The same with watches that are under way.
    pub(super) fn answered(&self) -> Vec<Value> {
        audit::answered_to(self.noted(), ACCOUNT)
    }

    fn noted(&self) -> Vec<Value> {
        audit::events(&self.folder.path().join("audit.jsonl")).unwrap()
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

/// What others than the attacking teams see, a sentence each: findings on everything outside of their namespaces, the
/// victims' policies, and the metrics that name the victims.
pub(super) type Sight = BTreeSet<String>;

async fn policies(plane: &ControlPlane, namespace: &str) -> Vec<TrafficHealthPolicy> {
    let api: Api<TrafficHealthPolicy> = Api::namespaced(plane.client().await.unwrap(), namespace);
    api.list(&ListParams::default()).await.unwrap().items
}

pub(super) async fn until_told(plane: &ControlPlane, namespace: &str, status: &str, reason: &str) {
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

/// A status without the times of its conditions.
fn timeless(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    status
}

/// What one says and the other does not.
pub(super) fn difference(before: &Sight, now: &Sight) -> String {
    let gone = before.difference(now).map(|one| format!("- {one}\n"));
    gone.chain(now.difference(before).map(|one| format!("+ {one}\n")))
        .collect()
}
