//! YAML, CRDs and loads reach the cluster; all tests share one control plane.

use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::{ControlPlane, apply, cilium_crds};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;

#[tokio::test]
async fn every_document_is_applied_with_its_status() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace().await.unwrap();
    let text = format!(
        "---
apiVersion: v1
kind: Node
metadata: {{name: of-{namespace}}}
status:
  addresses: [{{type: InternalIP, address: 192.0.2.77}}]
  conditions: [{{type: Ready, status: 'True'}}]
---
# nothing here
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: one, namespace: {namespace}}}
data: {{key: value}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: one, namespace: {namespace}}}
addressType: IPv4
endpoints: [{{addresses: [192.0.2.1], conditions: {{ready: true}}}}]
"
    );
    // The second time changes nothing and is no error.
    for _ in 0..2 {
        assert_eq!(plane.apply_yaml(&text).await.unwrap().len(), 3);
    }
    let client = plane.client().await.unwrap();
    let node = Api::<Node>::all(client.clone())
        .get(&format!("of-{namespace}"))
        .await
        .unwrap();
    assert_eq!(node.status.unwrap().addresses.unwrap()[0].address, "192.0.2.77");
    let map = Api::<ConfigMap>::namespaced(client.clone(), &namespace)
        .get("one")
        .await
        .unwrap();
    assert_eq!(map.data.unwrap()["key"], "value");
    Api::<EndpointSlice>::namespaced(client, &namespace)
        .get("one")
        .await
        .unwrap();
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_name() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace().await.unwrap();
    let text = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: typo, namespace: {namespace}}}, dta: {{}}}}"
    );
    let error = plane.apply_yaml(&text).await.unwrap_err();
    assert!(format!("{error:#}").contains("dta"), "{error:#}");
}

#[tokio::test]
async fn a_published_crd_is_served_once_installed() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace().await.unwrap();
    let file = cilium_crds().unwrap().join("ciliumnodeconfigs.yaml");
    apply::install_crd_files(&plane.client().await.unwrap(), &[file])
        .await
        .unwrap();
    let text = format!(
        "apiVersion: cilium.io/v2
kind: CiliumNodeConfig
metadata: {{name: one, namespace: {namespace}}}
spec:
  defaults: {{bpf-ct-global-tcp-max: '524288'}}
  nodeSelector: {{matchLabels: {{pool: edge}}}}
"
    );
    assert_eq!(plane.apply_yaml(&text).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_small_load_is_whole_and_may_be_repeated() {
    let plane = ControlPlane::shared().await.unwrap();
    let client = plane.client().await.unwrap();
    let size = Size {
        pods: 10,
        ..Size::of_nodes(5)
    };
    for _ in 0..2 {
        let mut kinds = Vec::new();
        load(&client, &size, |stage| kinds.push(stage.kind))
            .await
            .unwrap();
        assert_eq!(kinds, ["namespaces", "nodes", "services", "slices", "pods"]);
    }
    let all = ListParams::default();
    let nodes = Api::<Node>::all(client.clone()).list(&all).await.unwrap().items;
    let ready = nodes
        .iter()
        .filter(|node| node.metadata.name.as_deref().unwrap().starts_with("node-0"));
    assert_eq!(
        ready
            .filter(|node| node.status.as_ref().unwrap().images.is_some())
            .count(),
        5
    );
    let services = Api::<Service>::namespaced(client.clone(), "load-000")
        .list(&all)
        .await
        .unwrap()
        .items;
    assert_eq!(services.len(), 10);
    assert!(
        services
            .iter()
            .all(|service| service.spec.as_ref().unwrap().cluster_ip.is_some())
    );
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), "load-000")
        .list(&all)
        .await
        .unwrap()
        .items;
    assert_eq!(
        slices
            .iter()
            .map(|slice| slice.endpoints.as_ref().unwrap().len())
            .sum::<usize>(),
        150
    );
    let pods = Api::<Pod>::namespaced(client, "load-000")
        .list(&all)
        .await
        .unwrap()
        .items;
    assert_eq!(pods.len(), 10);
    assert!(
        pods.iter()
            .all(|pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Running"))
    );
}
