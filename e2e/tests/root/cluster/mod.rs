//! The operator as a Pod: installed from the manifests on real kubelets, under its own account and the rights that the
//! manifests give it, until it is uninstalled.
//!
//! The same story on two beds: all of it on nodes in namespaces (`make e2e`), from the installation to the alert and to
//! the end on kind (`make e2e-kind`). Both run only when named. Times are printed;
//! the only one that is judged is how long nobody leads during an upgrade.

mod ordeals;
mod story;

use evenkeel_e2e::cluster::{Bed, Cluster};
use evenkeel_e2e::image::{Image, operator_archive};
use evenkeel_e2e::kind_bed::{KindBed, KindOptions};
use evenkeel_e2e::node_bed::{Detection, NodeBed, NodeOptions, write_pod_image};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use ordeals::{NEXT, is_upgraded, leader_is_killed, node_is_lost, nothing_was_refused, server_is_restarted};
use story::{alert, chart, install, left, uninstall};

#[tokio::test(flavor = "multi_thread")]
async fn on_nodes_the_operator_lives_through_everything_and_leaves_nothing() {
    let archive = operator_archive().unwrap();
    let mut bed = NodeBed::start_with(NodeOptions {
        detection: Detection::Quick,
        audit: true,
        proxy_config: json!({"conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "15m0s", "tcpCloseWaitTimeout": "0s"}}),
        ..NodeOptions::nodes(3)
    })
    .await
    .unwrap();
    bed.load(&archive).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let next = folder.path().join("next.tar");
    Image::of_program(NEXT, &archive.with_file_name("evenkeel"))
        .unwrap()
        .write(&next)
        .unwrap();
    bed.load(&next).unwrap();
    bed.publish_proxy_config().await.unwrap();
    // What kube-proxy has really set, where it is set: the message has to name it.
    let table = "net.netfilter.nf_conntrack_tcp_timeout_established";
    assert_eq!(
        bed.nodes()[0].run("sysctl", &["-n", table]).unwrap().trim(),
        "900"
    );

    let cluster = Cluster::of(&bed).await.unwrap();
    install(&cluster).await;
    alert(&cluster, 900).await;
    leader_is_killed(&bed, &cluster).await;
    let starting = server_is_restarted(&mut bed, &cluster).await;
    is_upgraded(&bed, &cluster).await;
    node_is_lost(&mut bed, &cluster).await;
    uninstall(&cluster).await;
    nothing_was_refused(&bed, &starting);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_chart_on_nodes_the_operator_reports_and_leaves_nothing() {
    let mut bed = NodeBed::start_with(NodeOptions {
        audit: true,
        proxy_config: json!({"conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "15m0s", "tcpCloseWaitTimeout": "0s"}}),
        ..NodeOptions::nodes(3)
    })
    .await
    .unwrap();
    bed.load(&operator_archive().unwrap()).unwrap();
    bed.publish_proxy_config().await.unwrap();
    let cluster = Cluster::of(&bed).await.unwrap();
    install(&cluster).await;
    uninstall(&cluster).await;
    chart(&bed, &cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kind_a_user_installs_sees_an_alert_and_uninstalls() {
    let archive = operator_archive().unwrap();
    let mut bed = KindBed::start(KindOptions {
        workers: 1,
        ..KindOptions::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pod = folder.path().join("pod.tar");
    write_pod_image(&pod).unwrap();
    bed.load(&pod).unwrap();
    bed.load(&archive).unwrap();
    let cluster = Cluster::of(&bed).await.unwrap();

    // What kubeadm writes: nothing, which is 24 hours.
    let overlay = install(&cluster).await;
    alert(&cluster, 86400).await;
    // As docs/install.md has it, without a binary of ours.
    let folder = overlay.folder().display().to_string();
    for arguments in [
        &["-n", "evenkeel-system", "delete", "deployment", "evenkeel"][..],
        &["delete", "--ignore-not-found", "-k", &folder],
        &[
            "delete",
            "events",
            "-A",
            "--field-selector",
            "reportingComponent=evenkeel.dev/operator",
        ],
    ] {
        cluster.kubectl(arguments).await.unwrap();
    }
    assert_eq!(left(&cluster).await, "");

    install(&cluster).await;
    alert(&cluster, 86400).await;
    uninstall(&cluster).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "shop");
    assert_eq!(
        pods.list(&ListParams::default()).await.unwrap().items.len(),
        3,
        "the shop goes on"
    );
}
