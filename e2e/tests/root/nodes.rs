//! Real nodes: what the bed promises to the tests that use it.
//!
//! Needs root and takes part of a minute, so it is a target that
//! `cargo test` runs only when named; `make e2e` does.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_e2e::binaries::{Binaries, Program};
use evenkeel_e2e::image::{Image, OPERATOR, operator_archive};
use evenkeel_e2e::node_bed::{Component, Detection, NodeBed, NodeOptions, POD_IMAGE, ProxyMode};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::Api;
use kube::api::ListParams;

/// Far above what anything here takes on a busy machine; nothing is judged by time.
const WITHIN: Duration = Duration::from_secs(120);

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: IMAGE
        imagePullPolicy: Never
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1, failureThreshold: 1}
        securityContext:
          runAsNonRoot: true
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
          seccompProfile: {type: RuntimeDefault}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
";

/// A Pod that asks the API for the Pods of its namespace as an operator would: by
/// the address and the token that the kubelet gives it, from an image of one static
/// program.
const CLIENT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: client}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: client}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: client, namespace: default}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  serviceAccountName: client
  restartPolicy: OnFailure
  containers:
  - name: client
    image: localhost/kubectl:e2e
    imagePullPolicy: Never
    args: [get, pods, --output=name]
    securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true}
";

/// Asks until the answer is there, and says what the last one was if it never is.
async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(last) => assert!(Instant::now() < deadline, "still not so: {what}; {last}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn ready(node: &Node) -> String {
    let conditions = node
        .status
        .clone()
        .unwrap_or_default()
        .conditions
        .unwrap_or_default();
    conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready")
        .map_or_else(|| "no condition".to_owned(), |condition| condition.status)
}

async fn web_is_ready(bed: &NodeBed, wanted: i32) {
    let api: Api<Deployment> = Api::default_namespaced(bed.client().await.unwrap());
    until(&format!("{wanted} Pods are ready"), || async {
        let status = api.get("web").await.map_err(|error| error.to_string())?.status;
        let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
        if ready == wanted {
            Ok(())
        } else {
            Err(format!("{ready} are"))
        }
    })
    .await;
}

/// The names of Pods that answer at the Service's address, asked from a node.
async fn answers(bed: &mut NodeBed, service: SocketAddr, wanted: usize) {
    let deadline = Instant::now() + WITHIN;
    let mut seen = std::collections::BTreeSet::new();
    let mut last = None;
    while seen.len() < wanted {
        assert!(
            Instant::now() < deadline,
            "only {seen:?} answer at {service}; last: {last:?}"
        );
        match bed.node(0).unwrap().http_get(service, "/") {
            Ok((200, name)) => drop(seen.insert(name)),
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn service_address(bed: &NodeBed) -> SocketAddr {
    let api: Api<Service> = Api::default_namespaced(bed.client().await.unwrap());
    let address = api.get("web").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    SocketAddr::new(address.parse().unwrap(), 80)
}

/// The machine's own settings, which kubelets like to change.
fn machine_sysctls() -> Vec<String> {
    ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]
        .map(|name| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap())
        .into()
}

#[tokio::test]
async fn pods_run_services_lead_to_them_and_a_node_without_power_is_noticed() {
    let sysctls = machine_sysctls();
    let mut bed = NodeBed::start_with(NodeOptions {
        detection: Detection::Quick,
        ..NodeOptions::nodes(2)
    })
    .await
    .unwrap();
    let nodes: Api<Node> = Api::all(bed.client().await.unwrap());
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        assert_eq!(ready(&node), "True");
        assert!(node.spec.unwrap().pod_cidr.is_some());
    }

    bed.apply_yaml(&WEB.replace("IMAGE", POD_IMAGE)).await.unwrap();
    web_is_ready(&bed, 2).await;
    let service = service_address(&bed).await;
    answers(&mut bed, service, 2).await;
    let pods: Api<Pod> = Api::default_namespaced(bed.client().await.unwrap());
    let pod = &pods
        .list(&ListParams::default().labels("app=web"))
        .await
        .unwrap()
        .items[0];
    let name = pod.metadata.name.clone().unwrap();
    assert!(
        bed.pod_log("default", &name)
            .await
            .unwrap()
            .contains("listening on port 8080")
    );

    // The kubelet's own probe takes a Pod out of the Service.
    let address = pod.status.clone().unwrap().pod_ip.unwrap();
    let (status, _) = bed
        .node(0)
        .unwrap()
        .http_get(SocketAddr::new(address.parse().unwrap(), 8080), "/unready")
        .unwrap();
    assert_eq!(status, 200);
    web_is_ready(&bed, 1).await;

    bed.restart(Component::ApiServer).await.unwrap();
    bed.node(1).unwrap().power_off();
    until("n2 is not Ready", || async {
        match nodes.get("n2").await.map(|node| ready(&node)) {
            Ok(status) if status == "Unknown" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // The other one may have been late itself on a busy machine, but stays.
    until("n1 is Ready", || async {
        match nodes.get("n1").await.map(|node| ready(&node)) {
            Ok(status) if status == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    bed.power_on(1).await.unwrap();

    assert_eq!(machine_sysctls(), sysctls);
    let folder = bed.folder().display().to_string();
    assert!(commands_with(&folder) > 5);
    assert!(cgroups() > 0);
    drop(bed);
    assert_eq!(commands_with(&folder), 0);
    assert_eq!(cgroups(), 0);
}

#[tokio::test]
async fn a_kustomization_installs_and_its_pod_uses_the_api_under_its_own_name() {
    let mut bed = NodeBed::start_with(NodeOptions {
        proxy_mode: ProxyMode::Nftables,
        ..NodeOptions::nodes(1)
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let programs = Binaries::find_or_build(&[Program::Kubectl]).unwrap();
    let archive = folder.path().join("kubectl.tar");
    Image::of_program("localhost/kubectl:e2e", programs.path(Program::Kubectl).unwrap())
        .unwrap()
        .write(&archive)
        .unwrap();
    bed.import_image(&archive).unwrap();
    for (file, text) in [
        (
            "kustomization.yaml",
            "namespace: default\nresources: [client.yaml, web.yaml]\n",
        ),
        ("client.yaml", CLIENT),
        (
            "web.yaml",
            &WEB.replace("IMAGE", POD_IMAGE)
                .replace("DoNotSchedule", "ScheduleAnyway"),
        ),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let applied = bed.apply_kustomize(folder.path()).await.unwrap();
    assert!(
        applied.contains("serviceaccount/client serverside-applied"),
        "{applied}"
    );
    web_is_ready(&bed, 2).await;
    let service = service_address(&bed).await;
    answers(&mut bed, service, 2).await;
    until("the Pod lists Pods", || async {
        match bed.pod_log("default", "client").await {
            Ok(log) if log.contains("pod/client") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Name resolution aside, everything that the static program needs of an image: TLS
/// against a real server, its account's files, and nothing else.
const AUDIT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: audit}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: audit}
rules:
- {apiGroups: ['*'], resources: ['*'], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: audit}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: audit}
subjects: [{kind: ServiceAccount, name: audit, namespace: default}]
---
apiVersion: v1
kind: Pod
metadata: {name: audit}
spec:
  serviceAccountName: audit
  restartPolicy: Never
  containers:
  - name: audit
    image: IMAGE
    imagePullPolicy: Never
    args: [audit, --output=json]
    securityContext:
      runAsNonRoot: true
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
";

#[tokio::test]
async fn the_operators_image_reads_the_cluster_from_a_pod() {
    let archive = operator_archive().unwrap();
    let mut bed = NodeBed::start(1).await.unwrap();
    bed.import_image(&archive).unwrap();
    bed.apply_yaml(&AUDIT.replace("IMAGE", OPERATOR)).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(bed.client().await.unwrap());
    until("the audit ended", || async {
        let status = pods.get("audit").await.map_err(|error| error.to_string())?.status;
        match status.and_then(|status| status.phase).as_deref() {
            Some("Succeeded" | "Failed") => Ok(()),
            phase => Err(format!("{phase:?}")),
        }
    })
    .await;
    let log = bed.pod_log("default", "audit").await.unwrap();
    let report: serde_json::Value =
        serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"));
    assert!(report.is_object(), "{log}");
}

/// How many processes name the folder.
fn commands_with(folder: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok())
        .filter(|words| String::from_utf8_lossy(words).contains(folder))
        .count()
}

/// How many control groups of a second node of this process there are: at the root of each hierarchy of version 1, or of
/// the only one of version 2.
fn cgroups() -> usize {
    let own = format!("evenkeel-bed-{}-", std::process::id());
    let is_own = |name: &str| name.starts_with(&own) && name.ends_with("-n2");
    let root = Path::new("/sys/fs/cgroup");
    let within = |folder: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let top = within(root);
    let below = top.iter().flat_map(|hierarchy| within(hierarchy));
    let groups = top.iter().cloned().chain(below);
    groups
        .filter(|group| {
            group
                .file_name()
                .is_some_and(|name| is_own(&name.to_string_lossy()))
        })
        .count()
}
