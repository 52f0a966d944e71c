//! What nobody wishes for: killed, cut off, replaced, without power.

use std::ops::Range;
use std::time::{Duration, Instant};

use evenkeel::api::FindingVerdict;
use evenkeel_e2e::audit::{self, ACCOUNT};
use evenkeel_e2e::cluster::{Claims, Cluster, Overlay, WITHIN, condition, until};
use evenkeel_e2e::image::OPERATOR;
use evenkeel_e2e::node_bed::{Component, NodeBed};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use serde_json::Value;

use super::story::{HEALTHY, VIOLATED, status, still_written, tell};

/// The image of the next release: the same program under another tag.
pub(super) const NEXT: &str = "localhost/evenkeel:next";

/// How long a claim lasts (`src/lease/mod.rs`), which is how long nobody may lead.
const LEASE: Duration = Duration::from_secs(15);

/// The process of the leader is killed: no goodbye, nothing given back.
pub(super) async fn leader_is_killed(bed: &NodeBed, cluster: &Cluster) {
    let (pod, holder) = cluster.leader().await.unwrap();
    let container = pod.status.unwrap().container_statuses.unwrap()[0]
        .container_id
        .clone()
        .unwrap();
    let container = container.strip_prefix("containerd://").unwrap();
    let node = pod.spec.unwrap().node_name.unwrap();
    let node = bed.nodes().iter().find(|one| one.name() == node).unwrap();
    let before = cluster.restarts().await.unwrap();
    node.run(
        "ctr",
        &[
            "--namespace=k8s.io",
            "tasks",
            "kill",
            "--signal=SIGKILL",
            container,
        ],
    )
    .unwrap();
    let taken = cluster.until_led_by_another(&holder).await.unwrap();
    tell("from SIGKILL of the leader to another one", taken);
    still_written(cluster).await;
    cluster.until_rolled_out(OPERATOR).await.unwrap();
    assert_eq!(
        cluster.restarts().await.unwrap(),
        before + 1,
        "of the one that was killed"
    );
}

/// The API server is killed and comes back. Returns from when to when it did not call itself ready.
pub(super) async fn server_is_restarted(bed: &mut NodeBed, cluster: &Cluster) -> Range<Timestamp> {
    let before = cluster.restarts().await.unwrap();
    let told = cluster.status("shop", "reports").await.unwrap();
    let written = statuses(bed);
    let (start, from) = (Instant::now(), Timestamp::now());
    bed.restart(Component::ApiServer).await.unwrap();
    let to = Timestamp::now();
    tell("without an API server", start.elapsed());
    until("all sources are fresh again", WITHIN, async || {
        fresh(cluster).await
    })
    .await
    .unwrap();
    tell("until the leader's sources were fresh again", start.elapsed());
    assert_eq!(cluster.status("shop", "reports").await.unwrap(), told);
    assert_eq!(
        statuses(bed),
        written,
        "a status was written although nothing has changed"
    );
    still_written(cluster).await;
    assert_eq!(cluster.restarts().await.unwrap(), before);
    from..to
}

/// Whether the leader has every source that it has rights for.
async fn fresh(cluster: &Cluster) -> anyhow::Result<()> {
    let (leader, _) = cluster.leader().await?;
    let text = cluster.ask(&leader, "/metrics").await?;
    let stale: Vec<_> = text
        .lines()
        .filter(|line| {
            line.starts_with("evenkeel_source_fresh{") && !line.ends_with(" 1") && !line.ends_with(" 1.0")
        })
        .collect();
    anyhow::ensure!(stale.is_empty(), "{stale:?}");
    Ok(())
}

/// A release of another tag is applied: nobody sees a difference in the statuses.
pub(super) async fn is_upgraded(bed: &NodeBed, cluster: &Cluster) {
    let told = cluster.status("shop", "reports").await.unwrap();
    let written = statuses(bed);
    let claims = Claims::watch(cluster.client());
    let start = Instant::now();
    cluster.install(&Overlay::new(NEXT).unwrap()).await.unwrap();
    cluster.until_rolled_out(NEXT).await.unwrap();
    tell(
        "from kubectl apply -k of another tag to the end of the rollout",
        start.elapsed(),
    );
    until("a new one leads", WITHIN, async || {
        cluster.leader().await.map(drop)
    })
    .await
    .unwrap();
    until("it sees everything", WITHIN, async || fresh(cluster).await)
        .await
        .unwrap();
    let seen = claims.end().await.unwrap();
    tell("at most without a leader during it", seen.longest_gap);
    assert!(seen.longest_gap < LEASE, "{seen:?}");
    assert_eq!(cluster.status("shop", "reports").await.unwrap(), told);
    assert_eq!(
        statuses(bed),
        written,
        "a status was written although nothing has changed"
    );
    still_written(cluster).await;
}

/// The leader's own node loses its power.
pub(super) async fn node_is_lost(bed: &mut NodeBed, cluster: &Cluster) {
    let (pod, holder) = cluster.leader().await.unwrap();
    let name = pod.spec.unwrap().node_name.unwrap();
    let place = bed.nodes().iter().position(|node| node.name() == name).unwrap();
    let start = Instant::now();
    bed.node(place).unwrap().power_off();
    let taken = cluster.until_led_by_another(&holder).await.unwrap();
    tell("from the leader's node losing power to another leader", taken);
    let nodes: Api<Node> = Api::all(cluster.client());
    until("the node is Unknown", WITHIN, async || {
        let conditions = nodes
            .get(&name)
            .await?
            .status
            .and_then(|status| status.conditions);
        let ready = conditions.into_iter().flatten().find(|one| one.type_ == "Ready");
        anyhow::ensure!(
            ready.as_ref().is_some_and(|one| one.status == "Unknown"),
            "{ready:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    tell("until Kubernetes said so", start.elapsed());
    let said = cluster
        .until_healthy_is("shop", "reports", VIOLATED)
        .await
        .unwrap();
    tell("from then to the condition", said);
    let told = cluster.status("shop", "reports").await.unwrap();
    assert!(
        told.findings
            .iter()
            .any(|one| one.check == "backend-minimum-ready" && one.verdict == FindingVerdict::Violated),
        "{told:#?}"
    );
    assert_eq!(
        condition(&told, "Observed")[1],
        "True",
        "a lost node is no lost source"
    );
    fresh(cluster).await.unwrap();
    let (code, text) = status(cluster);
    assert!(code == 1 && text.contains("all complete and current"), "{text}");

    bed.power_on(place).await.unwrap();
    cluster
        .until_healthy_is("shop", "reports", HEALTHY)
        .await
        .unwrap();
    tell(
        "until it had its power back and the condition had turned",
        start.elapsed(),
    );
    cluster.until_rolled_out(NEXT).await.unwrap();
}

/// What the operator has asked for, as the API server has noted it.
pub(super) fn asked(bed: &NodeBed) -> Vec<Value> {
    audit::asked_by(audit::events(&bed.audit_log().unwrap()).unwrap(), ACCOUNT)
}

/// Nothing was refused from the first request to the last, but by a server that was starting: before it knows any
/// role, it refuses everybody.
pub(super) fn nothing_was_refused(bed: &NodeBed, starting: &Range<Timestamp>) {
    let asked = asked(bed);
    let refused: Vec<_> = asked
        .iter()
        .filter(|one| one["responseStatus"]["code"] == 403)
        .collect();
    let (early, rest): (Vec<_>, Vec<_>) = refused.into_iter().partition(|one| {
        let at = one["requestReceivedTimestamp"].as_str().unwrap();
        starting.contains(&at.parse().unwrap())
    });
    let rest: Vec<_> = rest
        .iter()
        .map(|one| (&one["verb"], &one["requestURI"], &one["requestReceivedTimestamp"]))
        .collect();
    assert!(rest.is_empty(), "{rest:#?}");
    let writes = asked
        .iter()
        .any(|one| one["verb"] == "patch" && one["responseStatus"]["code"] == 200);
    assert!(writes, "the log has {} requests of the operator", asked.len());
    eprintln!(
        "{} requests, {} of them refused, all by the server that was starting",
        asked.len(),
        early.len()
    );
}

/// How many statuses were written.
fn statuses(bed: &NodeBed) -> usize {
    asked(bed).iter().filter(|one| audit::is_status(one)).count()
}
