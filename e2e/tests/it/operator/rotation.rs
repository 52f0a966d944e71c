//! Certificates and tokens that are replaced under a running operator.

use std::time::{Duration, Instant};

use evenkeel_e2e::operator::Operator;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;

use super::bed::{OperatorBed, WITHIN, told};

const FRESH: &str = "evenkeel_source_fresh{source=\"endpointslices\"} 1";
const STALE: &str = "evenkeel_source_fresh{source=\"endpointslices\"} 0";

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_replaced_needs_no_restart_of_ours() {
    let mut bed = OperatorBed::start().await;
    let access = bed.access("lasting", None).await;
    let mut operator = bed.operator_by("lasting", &access);
    operator.until_ready().await.unwrap();
    bed.until_holds("lasting").await;
    bed.apply("demo/policy").await;
    bed.until("Healthy", "False", "Violated").await;
    let identity = bed.holder().await;

    // The server first, as an operator may see it: its own file still names the old authority, which signs no more.
    let before = bed.statuses();
    bed.plane.replace_authority().await.unwrap();
    operator.until_metric(STALE, WITHIN).await.unwrap();
    operator
        .until_metric("evenkeel_leader{} 0.0", WITHIN)
        .await
        .unwrap();

    access.put_authority(&bed.plane.authority().unwrap()).unwrap();
    let replaced = Instant::now();
    operator.until_metric(FRESH, WITHIN).await.unwrap();
    operator
        .until_metric("evenkeel_leader{} 1.0", WITHIN)
        .await
        .unwrap();
    eprintln!(
        "fresh and leading {:?} after the file was replaced",
        replaced.elapsed()
    );
    bed.until("Healthy", "False", "Violated").await;
    goes_on(&bed, &mut operator, &identity, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_is_read_before_the_claim_ends() {
    let bed = OperatorBed::start().await;
    let access = bed.access("lasting", None).await;
    let token = async |secret: &str| {
        let token = bed.plane.token_bound_to("evenkeel-system", "evenkeel", secret);
        token.await.unwrap()
    };
    access.put_token(&token("first").await).unwrap();
    let mut operator = bed.operator_by("lasting", &access);
    operator.until_ready().await.unwrap();
    bed.until_holds("lasting").await;
    bed.apply("demo/policy").await;
    bed.until("Healthy", "False", "Violated").await;
    let (identity, before) = (bed.holder().await, bed.statuses());

    access.put_token(&token("second").await).unwrap();
    let secrets: Api<Secret> = Api::namespaced(bed.plane.client().await.unwrap(), "evenkeel-system");
    secrets.delete("first", &DeleteParams::default()).await.unwrap();
    // The server forgets a while later that the first was good: whoever still has it is refused then, and looks anew.
    let start = Instant::now();
    while bed.tokens().len() < 2 {
        assert!(start.elapsed() < WITHIN, "the second token is not used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!(
        "the new token is used {:?} after the old one's end",
        start.elapsed()
    );
    goes_on(&bed, &mut operator, &identity, before).await;
}

/// Nobody was told of health since so many statuses; the writer has a new client, too, and it is the same process that
/// holds the Lease.
async fn goes_on(bed: &OperatorBed, operator: &mut Operator, identity: &str, before: usize) {
    let since = bed.written().split_off(before);
    assert!(
        since.iter().all(|one| told(one, "Healthy") != "True"),
        "health was told of what could not be seen: {since:#?}"
    );
    bed.apply("demo-keepalive").await;
    bed.until_cleared().await;
    assert_eq!(bed.holder().await, identity);
    operator.lives().unwrap();
}
