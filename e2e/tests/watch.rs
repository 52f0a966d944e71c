//! The watch pumps against a real API server: what they see, what they survive, and that they never list at rest.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::link::Link;
use evenkeel::rights::Place;
use evenkeel::watch::{Event, Intake, RIGHTS, Snapshot, Watches};
use evenkeel_core::facts::Wants;
use evenkeel_core::index::Fresh;
use evenkeel_core::know::{Mono, Now, Source, Wall};
use evenkeel_core::names::Key;
use evenkeel_core::{Core, Input};
use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::process::Process;
use evenkeel_e2e::{ControlPlane, Options, Proxy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout_at;

/// Far above what anything here takes, on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What pumps read.
fn sources() -> impl Iterator<Item = Source> {
    Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Configz)
}

fn options() -> Options {
    Options {
        audit: true,
        controller_manager: false,
        ..Options::default()
    }
}

/// A control plane with our kinds, which nobody ends.
async fn plane() -> &'static ControlPlane {
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
fn link(plane: &ControlPlane, user: &str, port: Option<u16>) -> Link {
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
async fn grant(plane: &ControlPlane, user: &str, without: &str) {
    let mut objects = Vec::new();
    for (at, right) in RIGHTS.iter().enumerate() {
        let name = format!("{user}-{at}");
        let (kind, namespace) = match right.place {
            Place::Cluster => ("ClusterRole", None),
            Place::Namespace(namespace) => ("Role", Some(namespace)),
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
struct Operator {
    core: Core,
    intake: Intake,
    watches: Watches,
    events: mpsc::Receiver<Event>,
    start: Instant,
}

impl Operator {
    fn new(link: Link) -> Self {
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

    fn want(&mut self) {
        let wants = Wants::of(self.core.index());
        let now = self.now();
        let change = self
            .intake
            .want(&wants, &mut |input| drop(self.core.handle(now, input)));
        self.watches.apply(change);
    }

    fn now(&self) -> Now {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        Now {
            mono: Mono(millis),
            wall: Wall(1_795_266_000),
        }
    }

    /// Takes events in until something holds, and says how long that took.
    async fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) -> Duration {
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
    async fn work(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(event) = timeout_at(end, self.events.recv()).await {
            let event = event.unwrap();
            let now = self.now();
            let sink = &mut |input: Input<'_>| drop(self.core.handle(now, input));
            if self.intake.take(event, sink) {
                self.want();
            }
            if self.events.is_empty() {
                return;
            }
        }
    }

    /// Takes in everything there is for some time.
    async fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.work(Duration::from_millis(100)).await;
        }
    }

    async fn settled(&mut self) {
        self.until("everything is complete", |this| {
            this.intake.is_settled() && sources().all(|source| this.fresh(source) == Fresh::Complete)
        })
        .await;
    }

    fn fresh(&self, source: Source) -> Fresh {
        self.core.index().fresh(source).clone()
    }

    fn seen(&self, source: Source) -> Snapshot {
        self.watches
            .snapshot()
            .into_iter()
            .find(|seen| seen.source == source)
            .unwrap()
    }

    fn lists(&self) -> u64 {
        self.watches.snapshot().iter().map(|seen| seen.lists).sum()
    }

    /// How many endpoints a Service has, as far as known.
    fn endpoints(&self, namespace: &str, service: &str) -> Option<usize> {
        let index = self.core.index();
        let key = Key {
            namespace: index.names.find(namespace)?,
            name: index.names.find(service)?,
        };
        Some(index.endpoints(key).ok()?.len())
    }

    /// Checks that told a finding in a namespace.
    fn findings(&mut self, namespace: &str) -> Vec<String> {
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
async fn slice(plane: &ControlPlane, namespace: &str, endpoints: u8) {
    let addresses: Vec<_> = (1..=endpoints)
        .map(|at| json!({"addresses": [format!("10.1.0.{at}")], "conditions": {"ready": true}}))
        .collect();
    let object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": addresses, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]});
    plane.apply_yaml(&object.to_string()).await.unwrap();
}

/// What a user asked for, from the audit log: verb and resource.
fn asked(plane: &ControlPlane, user: &str) -> Vec<(String, String, u64)> {
    let text = |event: &Value, at: &str| {
        event
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    plane
        .audit_events()
        .unwrap()
        .iter()
        .filter(|event| event["impersonatedUser"]["username"] == user)
        .map(|event| {
            (
                text(event, "/verb"),
                text(event, "/objectRef/resource"),
                event["responseStatus"]["code"].as_u64().unwrap_or(0),
            )
        })
        .collect()
}

#[tokio::test]
async fn under_its_declared_rights_it_sees_changes_stays_alive_on_bookmarks_and_never_lists_at_rest() {
    let plane = plane().await;
    grant(plane, "resting", "").await;
    let namespace = plane.namespace().await.unwrap();
    slice(plane, &namespace, 1).await;
    let mut operator = Operator::new(link(plane, "resting", None));
    operator.settled().await;
    operator
        .until("the first list is seen", |this| {
            this.endpoints(&namespace, "web") == Some(1)
        })
        .await;
    slice(plane, &namespace, 3).await;
    let seen = operator
        .until("a change is seen", |this| {
            this.endpoints(&namespace, "web") == Some(3)
        })
        .await;
    eprintln!("a change was seen {seen:?} after it was applied");

    let (lists, before) = (operator.lists(), operator.seen(Source::EndpointSlices));
    operator.rest(Duration::from_secs(25)).await;
    for source in sources() {
        assert_eq!(operator.fresh(source), Fresh::Complete, "{source}");
    }
    let after = operator.seen(Source::EndpointSlices);
    assert!(
        after.restarts >= before.restarts + 2,
        "watches end every 10 s: {after:?}"
    );
    assert!(
        after.lines > before.lines,
        "bookmarks come on a source at rest: {after:?}"
    );
    assert_eq!((operator.lists(), after.silences), (lists, 0));
    assert!(operator.watches.snapshot().iter().all(|seen| seen.silences == 0));

    let asked = asked(plane, "resting");
    assert!(
        asked
            .iter()
            .any(|one| one.0 == "watch" && one.1 == "endpointslices")
    );
    // 1.36 streams its lists: not even the start needs one.
    assert!(!asked.iter().any(|one| one.0 == "list"), "{asked:?}");
    assert!(!asked.iter().any(|one| one.2 == 403), "{asked:?}");
    assert!(
        !asked.iter().any(|one| one.1 == "leases" || one.1 == "secrets"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_network_that_lets_nothing_through_is_told_and_new_connections_heal_it() {
    let plane = plane().await;
    grant(plane, "frozen", "").await;
    let namespace = plane.namespace().await.unwrap();
    slice(plane, &namespace, 1).await;
    let proxy = Proxy::start(port(&plane.kubeconfig().unwrap())).await.unwrap();
    let mut operator = Operator::new(link(plane, "frozen", Some(proxy.port())));
    operator.settled().await;
    operator.rest(Duration::from_secs(3)).await;
    let lists = operator.lists();

    proxy.freeze();
    slice(plane, &namespace, 2).await;
    for source in [
        Source::EndpointSlices,
        Source::Services,
        Source::Nodes,
        Source::Policies,
    ] {
        let told = operator
            .until("silence is told", |this| this.fresh(source) == Fresh::Stale)
            .await;
        eprintln!("{source} was told silent {told:?} after that");
    }
    let silences = operator.seen(Source::EndpointSlices);
    // The last line came at most a moment before the freeze, and silence may last 13 s; the rest is this test's own.
    assert!(silences.last_line_age_ms < Some(20_000), "{silences:?}");
    assert_eq!(
        operator.endpoints(&namespace, "web"),
        None,
        "what is stale is unknown"
    );
    let accepted = proxy.accepted();

    // Old connections stay dead for good.
    proxy.heal();
    let healed = operator
        .until("it is healed", |this| {
            this.fresh(Source::EndpointSlices) == Fresh::Complete
                && this.endpoints(&namespace, "web") == Some(2)
        })
        .await;
    eprintln!("healed {healed:?} after traffic returned");
    assert!(proxy.accepted() > accepted);
    assert_eq!(
        operator.lists(),
        lists,
        "the version is still known: nothing is listed"
    );
    for source in [Source::Services, Source::Nodes, Source::Policies] {
        operator
            .until("all are healed", |this| this.fresh(source) == Fresh::Complete)
            .await;
    }
}

#[tokio::test]
async fn a_right_taken_away_is_named_and_its_return_is_noticed() {
    let plane = plane().await;
    grant(plane, "limited", "").await;
    let mut operator = Operator::new(link(plane, "limited", None));
    operator.settled().await;
    let lists = operator.lists();
    grant(plane, "limited", "nodes").await;
    let lost = operator
        .until("the loss is told", |this| {
            matches!(this.fresh(Source::Nodes), Fresh::Unreadable(_))
        })
        .await;
    let Fresh::Unreadable(why) = operator.fresh(Source::Nodes) else {
        panic!("just seen")
    };
    assert!(why.starts_with("missing right: watch nodes ("), "{why}");
    assert_eq!(operator.fresh(Source::Services), Fresh::Complete);
    grant(plane, "limited", "").await;
    let back = operator
        .until("the return is noticed", |this| {
            this.fresh(Source::Nodes) == Fresh::Complete
        })
        .await;
    eprintln!("a lost right was told after {lost:?}, its return after {back:?}");
    assert_eq!(operator.lists(), lists);
}

#[tokio::test]
async fn kinds_that_appear_later_are_seen() {
    let plane = ControlPlane::start(Options {
        audit: false,
        ..options()
    })
    .await
    .unwrap();
    let demo = |file: &str| std::fs::read_to_string(root().join("e2e/demo").join(file)).unwrap();
    for file in ["cluster.yaml", "shop.yaml"] {
        plane.apply_yaml(&demo(file)).await.unwrap();
    }
    grant(&plane, "early", "").await;
    let mut operator = Operator::new(link(&plane, "early", None));
    // A kind that is not served is one without objects, not an unknown one.
    operator
        .until("no policies are known", |this| {
            this.fresh(Source::Policies) == Fresh::Complete
        })
        .await;
    operator.rest(Duration::from_secs(1)).await;
    assert_eq!(operator.seen(Source::Policies).state, "Absent");
    plane.install_crds(&root().join("crds")).await.unwrap();
    plane.apply_yaml(&demo("policy.yaml")).await.unwrap();
    let seen = operator
        .until("the policy is judged", |this| {
            this.findings("shop")
                .iter()
                .any(|check| check == "path-idle-budget")
        })
        .await;
    eprintln!("a policy of a new kind was judged {seen:?} after it was applied");
}

#[tokio::test]
async fn a_server_without_streams_is_read_in_pages_once() {
    let plane = ControlPlane::start(Options {
        api_server_args: vec!["--feature-gates=WatchList=false".into()],
        ..options()
    })
    .await
    .unwrap();
    let size = Size {
        nodes: 3,
        services: 600,
        endpoints_per_service: 1,
        pods: 0,
    };
    load(&plane.client().await.unwrap(), &size, |_| {}).await.unwrap();
    grant(&plane, "paging", "").await;
    let mut operator = Operator::new(link(&plane, "paging", None));
    operator.settled().await;
    let lists = |plane: &ControlPlane| -> Vec<String> {
        let all = asked(plane, "paging").into_iter();
        all.filter(|one| one.0 == "list").map(|one| one.1).collect()
    };
    let count = |lists: &[String], of: &str| lists.iter().filter(|one| *one == of).count();
    operator.rest(Duration::from_secs(1)).await;
    let first = lists(&plane);
    // 600 of them, and the one of the API server itself.
    assert_eq!(
        (count(&first, "services"), count(&first, "nodes")),
        (2, 1),
        "{first:?}"
    );
    operator.rest(Duration::from_secs(15)).await;
    assert_eq!(lists(&plane), first);
    assert_eq!(operator.seen(Source::Services).silences, 0);
}

#[tokio::test]
async fn a_killed_server_and_compacted_history_are_survived() {
    let mut plane = ControlPlane::start(options()).await.unwrap();
    plane.install_crds(&root().join("crds")).await.unwrap();
    let namespace = plane.namespace().await.unwrap();
    slice(&plane, &namespace, 1).await;
    let api = port(&plane.kubeconfig().unwrap());
    let proxy = Proxy::start(api).await.unwrap();
    grant(&plane, "survivor", "").await;
    let mut operator = Operator::new(link(&plane, "survivor", Some(proxy.port())));
    operator.settled().await;

    // Killed and started again, with nothing else going on.
    process(&mut plane, "kube-apiserver-0").restart().unwrap();
    plane.ready().await.unwrap();
    slice(&plane, &namespace, 2).await;
    let seen = operator
        .until("a change after the restart is seen", |this| {
            this.endpoints(&namespace, "web") == Some(2)
        })
        .await;
    let refused = asked(&plane, "survivor")
        .iter()
        .filter(|one| one.2 == 403)
        .count();
    eprintln!("a change was seen {seen:?} after a restarted server took it; {refused} requests were refused");
    operator.settled().await;

    // The store, too. Its API server goes on serving what it knows, and takes writes when the store is back.
    process(&mut plane, "etcd").restart().unwrap();
    plane.ready().await.unwrap();
    slice(&plane, &namespace, 3).await;
    operator
        .until("a change after the store's restart is seen", |this| {
            this.endpoints(&namespace, "web") == Some(3)
        })
        .await;
    operator.settled().await;

    // Away while history moves on and is compacted: what it knew is no longer continued.
    proxy.cut();
    for endpoints in 4..9 {
        slice(&plane, &namespace, endpoints).await;
    }
    compact(&mut plane).await;
    process(&mut plane, "kube-apiserver-0").restart().unwrap();
    plane.ready().await.unwrap();
    let lists = operator.seen(Source::EndpointSlices).lists;
    proxy.heal();
    operator
        .until("what was missed is seen", |this| {
            this.endpoints(&namespace, "web") == Some(8)
        })
        .await;
    assert_eq!(
        operator.seen(Source::EndpointSlices).lists,
        lists + 1,
        "one list, after 410"
    );
    operator.settled().await;
}

fn process<'a>(plane: &'a mut ControlPlane, name: &str) -> &'a mut Process {
    let mut all = plane.processes().iter_mut();
    all.find(|process| process.name() == name).unwrap()
}

/// The port of the current API server.
fn port(kubeconfig: &str) -> u16 {
    let config: Value = serde_saphyr::from_str(kubeconfig).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    server.rsplit(':').next().unwrap().parse().unwrap()
}

/// Compacts etcd's history up to now, through its gateway for JSON.
async fn compact(plane: &mut ControlPlane) {
    let etcd = process(plane, "etcd");
    let url = etcd.argument("listen-client-urls").unwrap().to_owned();
    let status = post(&url, "/v3/maintenance/status", "{}").await;
    let revision = status["header"]["revision"].as_str().unwrap().to_owned();
    let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    let done = post(&url, "/v3/kv/compaction", &body).await;
    assert!(done["header"].is_object(), "{done}");
}

async fn post(url: &str, path: &str, body: &str) -> Value {
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    let request = http::Request::post(path).body(body.as_bytes().to_vec()).unwrap();
    client.request(request).await.unwrap()
}
