//! An operator without hands, its rights, and the control plane that it looks at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::client::Link;
use evenkeel::rights::RightScope;
use evenkeel::watch::{Events, Intake, RIGHTS, WatchStatus, Watches};
use evenkeel_core::index::Freshness;
use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::names::Key;
use evenkeel_core::{Core, Input};
use evenkeel_e2e::repository::root;
use evenkeel_e2e::{ControlPlane, Options, audit};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::timeout_at;

/// Far above what anything here takes, on a machine that is busy with other tests.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// What pumps read.
pub(super) fn sources() -> impl Iterator<Item = Source> {
    Source::ALL
        .into_iter()
        .filter(|source| !matches!(source, Source::Configz | Source::Remediations))
}

pub(super) fn options() -> Options {
    Options {
        audit: true,
        controller_manager: false,
        ..Options::default()
    }
}

/// A control plane with our kinds, which nobody ends.
pub(super) async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let plane = ControlPlane::start(options()).await.unwrap();
            plane.install_crds(&root().join("crds")).await.unwrap();
            plane
        })
        .await
}

/// A link to a control plane as a certain user, maybe through a proxy.
pub(super) fn link(plane: &ControlPlane, user: &str, port: Option<u16>) -> Link {
    let (path, user) = (plane.kubeconfig_path().to_owned(), user.to_owned());
    Link::new(move || {
        let (path, user) = (path.clone(), user.clone());
        async move {
            let file = Kubeconfig::read_from(path)?;
            let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            config.default_retry = false;
            config.proxy_url = None;
            config.auth_info.impersonate = Some(user);
            if let Some(port) = port {
                config.cluster_url = format!("https://127.0.0.1:{port}").parse()?;
            }
            Ok(Client::try_from(config)?)
        }
    })
}

/// Grants a user what the code says it needs, but for one resource.
pub(super) async fn grant(plane: &ControlPlane, user: &str, without: &str) {
    let mut objects = Vec::new();
    for (at, right) in RIGHTS.iter().enumerate() {
        let name = format!("{user}-{at}");
        let (kind, namespace) = match right.scope {
            RightScope::Cluster => ("ClusterRole", None),
            RightScope::Namespace(namespace) => ("Role", Some(namespace)),
        };
        let verbs: &[&str] = if right.resource == without {
            &[]
        } else {
            right.verbs
        };
        let rules = if verbs.is_empty() {
            json!([])
        } else {
            json!([{"apiGroups": [right.group], "resources": [right.resource], "verbs": verbs}])
        };
        objects.push(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, "rules": rules}));
        objects.push(
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"),
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]}),
        );
    }
    for object in objects {
        plane.apply_yaml(&object.to_string()).await.unwrap();
    }
}

/// An operator without hands: pumps, intake and core.
pub(super) struct Operator {
    pub(super) core: Core,
    pub(super) intake: Intake,
    pub(super) watches: Watches,
    pub(super) events: Events,
    pub(super) start: Instant,
}

impl Operator {
    pub(super) fn new(link: Link) -> Self {
        let (watches, events) = Watches::new(Arc::new(link));
        let mut this = Self {
            core: Core::default(),
            intake: Intake::default(),
            watches,
            events,
            start: Instant::now(),
        };
        this.want();
        this
    }

    pub(super) fn want(&mut self) {
        let Some(wants) = self.core.take_wants() else {
            return;
        };
        let now = self.now();
        let change = self
            .intake
            .want(&wants, &mut |input| self.core.handle(now, input));
        self.watches.apply(change);
    }

    pub(super) fn now(&self) -> Now {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        Now {
            mono: Mono(millis),
            wall: Wall(1_795_266_000),
        }
    }

    /// Takes events in until something holds, and says how long that took.
    pub(super) async fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) -> Duration {
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < WITHIN,
                "{what}: still not so; {:#?}",
                self.watches.snapshot()
            );
            self.work(Duration::from_millis(100)).await;
        }
        start.elapsed()
    }

    /// Takes in what comes within some time.
    pub(super) async fn work(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(event) = timeout_at(end, self.events.recv()).await {
            let event = event.unwrap();
            let now = self.now();
            let sink = &mut |input: Input<'_>| self.core.handle(now, input);
            self.intake.take(event, sink);
            self.want();
            if self.events.is_empty() {
                return;
            }
        }
    }

    /// Takes in everything there is for some time.
    pub(super) async fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.work(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn settled(&mut self) {
        self.until("everything is complete", |this| {
            this.intake.is_settled() && sources().all(|source| this.fresh(source) == Freshness::Complete)
        })
        .await;
    }

    pub(super) fn fresh(&self, source: Source) -> Freshness {
        self.core.index().worst_freshness(source).clone()
    }

    pub(super) fn seen(&self, source: Source) -> WatchStatus {
        self.watches
            .snapshot()
            .into_iter()
            .find(|seen| seen.source == source)
            .unwrap()
    }

    pub(super) fn lists(&self) -> u64 {
        self.watches.snapshot().iter().map(|seen| seen.lists).sum()
    }

    /// How many endpoints a Service has, as far as known.
    pub(super) fn endpoints(&self, namespace: &str, service: &str) -> Option<usize> {
        let index = self.core.index();
        let key = Key {
            namespace: index.names.find(namespace)?,
            name: index.names.find(service)?,
        };
        Some(index.endpoints(key).ok()?.len())
    }

    /// Checks that told a finding in a namespace.
    pub(super) fn findings(&mut self, namespace: &str) -> Vec<String> {
        let now = self.now();
        self.core.round(now);
        let list = self.core.findings(now);
        let here = list
            .findings
            .into_iter()
            .filter(|one| one.subject.namespace == namespace);
        here.map(|one| one.check.to_owned()).collect()
    }
}

/// Gives a Service a slice with so many endpoints.
pub(super) async fn slice(plane: &ControlPlane, namespace: &str, endpoints: u8) {
    let addresses: Vec<_> = (1..=endpoints)
        .map(|at| json!({"addresses": [format!("10.1.0.{at}")], "conditions": {"ready": true}}))
        .collect();
    let object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": addresses, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]});
    plane.apply_yaml(&object.to_string()).await.unwrap();
}

/// What a user asked for, from the audit log: verb, resource and code.
pub(super) fn asked(plane: &ControlPlane, user: &str) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    audit::asked_by(plane.audit_events().unwrap(), user)
        .iter()
        .map(|event| {
            (
                text(&event["verb"]),
                text(&event["objectRef"]["resource"]),
                event["responseStatus"]["code"].as_u64().unwrap_or(0),
            )
        })
        .collect()
}

/// The port of the current API server.
pub(super) fn port(kubeconfig: &str) -> u16 {
    let config: Value = serde_saphyr::from_str(kubeconfig).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    server.rsplit(':').next().unwrap().parse().unwrap()
}

/// Compacts etcd's history up to now, through its gateway for JSON.
pub(super) async fn compact(plane: &mut ControlPlane) {
    let etcd = plane.process("etcd").unwrap();
    let url = etcd.argument("listen-client-urls").unwrap().to_owned();
    let status = post(&url, "/v3/maintenance/status", "{}").await;
    let revision = status["header"]["revision"].as_str().unwrap().to_owned();
    let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    let done = post(&url, "/v3/kv/compaction", &body).await;
    assert!(done["header"].is_object(), "{done}");
}

pub(super) async fn post(url: &str, path: &str, body: &str) -> Value {
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    let request = http::Request::post(path).body(body.as_bytes().to_vec()).unwrap();
    client.request(request).await.unwrap()
}
