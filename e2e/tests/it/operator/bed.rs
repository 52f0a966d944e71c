//! The control plane of these tests, and what its audit log and its objects say of operators.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel::api::TrafficHealthPolicy;
use evenkeel_e2e::audit::{self, ACCOUNT};
use evenkeel_e2e::operator::{Operator, OperatorAccess};
use evenkeel_e2e::repository::example;
use evenkeel_e2e::{ControlPlane, Options, under_test};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Far above what anything here takes, on a machine that is busy with other tests.
pub(super) const WITHIN: Duration = Duration::from_secs(90);

/// How often something is asked for while it is waited for.
const EVERY: Duration = Duration::from_millis(50);

/// Two control planes at a time: each of these tests ends, freezes or restarts parts of its own.
static TURNS: Semaphore = Semaphore::const_new(2);

/// A control plane with our kinds, our rights and the demo's nodes and data plane.
pub(super) struct OperatorBed {
    pub(super) plane: ControlPlane,
    folder: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl OperatorBed {
    pub(super) async fn start() -> Self {
        let turn = TURNS.acquire().await.unwrap();
        let options = Options {
            audit: true,
            controller_manager: false,
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await.unwrap();
        plane.install_operator().await.unwrap();
        let bed = Self {
            plane,
            folder: tempfile::tempdir().unwrap(),
            _turn: turn,
        };
        bed.apply("demo/cluster").await;
        bed.apply("demo/shop").await;
        bed
    }

    /// Applies one of the examples.
    pub(super) async fn apply(&self, file: &str) {
        let text = example(&format!("{file}.yaml")).unwrap();
        self.plane.apply_yaml(&text).await.unwrap();
    }

    /// Where the operators keep their files.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port of the API server.
    pub(super) fn port(&self) -> u16 {
        let config: Value = serde_saphyr::from_str(&self.plane.kubeconfig().unwrap()).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
        server.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// The operator's own account; every one has a token of its own.
    pub(super) async fn access(&self, name: &str, port: Option<u16>) -> OperatorAccess {
        OperatorAccess::make(&self.plane, name, self.folder(), port)
            .await
            .unwrap()
    }

    pub(super) async fn operator(&self, name: &str) -> Operator {
        self.operator_by(name, &self.access(name, None).await)
    }

    pub(super) fn operator_by(&self, name: &str, access: &OperatorAccess) -> Operator {
        self.operator_of(under_test::binary().unwrap(), name, access)
    }

    /// An operator of another binary than this build's.
    pub(super) fn operator_of(&self, binary: &Path, name: &str, access: &OperatorAccess) -> Operator {
        Operator::start_with(&access.kubeconfig(), binary, name, &[], self.folder()).unwrap()
    }

    pub(super) async fn policy(&self) -> TrafficHealthPolicy {
        let api: Api<TrafficHealthPolicy> = Api::namespaced(self.plane.client().await.unwrap(), "shop");
        api.get("reports").await.unwrap()
    }

    /// Status and reason of a condition of the demo's policy; empty when it has none yet.
    pub(super) async fn condition(&self, kind: &str) -> (String, String) {
        let status = self.policy().await.status.unwrap_or_default();
        let found = status.conditions.into_iter().find(|one| one.r#type == kind);
        found.map_or_else(Default::default, |one| (format!("{:?}", one.status), one.reason))
    }

    pub(super) async fn until(&self, kind: &str, status: &str, reason: &str) -> Duration {
        let start = Instant::now();
        loop {
            let now = self.condition(kind).await;
            if (now.0.as_str(), now.1.as_str()) == (status, reason) {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < WITHIN,
                "{kind} is {now:?}, not {status}/{reason}"
            );
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Waits until the policy is told something else than that its path is broken.
    pub(super) async fn until_cleared(&self) -> Duration {
        let start = Instant::now();
        while self.condition("Healthy").await.1 == "Violated" {
            assert!(start.elapsed() < WITHIN, "the finding stays");
            tokio::time::sleep(EVERY).await;
        }
        start.elapsed()
    }

    pub(super) async fn lease(&self) -> Option<Lease> {
        let client = self.plane.client().await.unwrap();
        let api: Api<Lease> = Api::namespaced(client, "evenkeel-system");
        api.get_opt("evenkeel").await.unwrap()
    }

    pub(super) async fn holder(&self) -> String {
        let spec = self.lease().await.and_then(|lease| lease.spec);
        spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
    }

    pub(super) async fn until_holds(&self, name: &str) -> Duration {
        let start = Instant::now();
        while !self.holder().await.starts_with(&format!("{name}_")) {
            assert!(start.elapsed() < WITHIN, "{name} does not hold the Lease");
            tokio::time::sleep(EVERY).await;
        }
        start.elapsed()
    }

    /// What the operators have asked for, as the audit log has it: only complete answers.
    pub(super) fn asked(&self) -> Vec<Value> {
        audit::asked_by(self.plane.audit_events().unwrap(), ACCOUNT)
    }

    /// The tokens that operators were known by, each by its id.
    pub(super) fn tokens(&self) -> BTreeSet<String> {
        self.asked().iter().map(token).collect()
    }

    /// Statuses that were written so far, each as it was sent.
    pub(super) fn written(&self) -> Vec<Value> {
        let mut asked = self.asked();
        asked.retain(audit::is_status);
        asked
    }

    /// How many statuses were written so far.
    pub(super) fn statuses(&self) -> usize {
        self.written().len()
    }
}

/// The token that a request came with, by its id.
pub(super) fn token(asked: &Value) -> String {
    asked["user"]["extra"]["authentication.kubernetes.io/credential-id"].to_string()
}

/// What a written status says of a condition: `True`, `False` or `Unknown`.
pub(super) fn told(write: &Value, kind: &str) -> String {
    let conditions = write["requestObject"]["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|one| one["type"] == kind);
    found
        .and_then(|one| one["status"].as_str())
        .unwrap_or_default()
        .to_owned()
}
