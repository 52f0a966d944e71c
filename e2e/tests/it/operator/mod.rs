//! The operator as it runs in a cluster: the real binary, under exactly the rights of our manifests, against a real API
//! server that is killed, frozen, restarted, and given other certificates.

mod bed;
mod histories;
mod rotation;
mod stuck_thread;
mod versions;

use std::time::{Duration, Instant};

use evenkeel::run::LOOP_THREAD;
use evenkeel_e2e::Proxy;
use evenkeel_e2e::operator::Operator;
use kube::Api;

use bed::{OperatorBed, WITHIN};
use stuck_thread::StuckThread;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_gets_its_status_and_nothing_is_written_twice() {
    let bed = OperatorBed::start().await;
    let mut first = bed.operator("first").await;
    let ready = first.until_ready().await.unwrap();
    bed.until_holds("first").await;
    bed.apply("demo/policy").await;
    let told = bed.until("Healthy", "False", "Violated").await;
    eprintln!("ready after {ready:?}; a policy was told {told:?} after it was applied");

    let policy = bed.policy().await;
    let status = policy.status.unwrap();
    assert_eq!(status.observed_generation, policy.metadata.generation);
    assert_eq!(status.governed_services, Some(1));
    let worst = &status.findings[0];
    assert_eq!(worst.check, "path-idle-budget");
    assert!(worst.message.contains("900 s"), "{}", worst.message);
    first
        .until_metric(
            "evenkeel_findings{check=\"path-idle-budget\",verdict=\"Violated\",severity=\"critical\"} 1",
            WITHIN,
        )
        .await
        .unwrap();
    first
        .until_metric(
            "evenkeel_policy_unhealthy{namespace=\"shop\",policy=\"reports\"} 1",
            WITHIN,
        )
        .await
        .unwrap();

    let events: Api<k8s_openapi::api::core::v1::Event> =
        Api::namespaced(bed.plane.client().await.unwrap(), "shop");
    let told = events
        .list(&kube::api::ListParams::default())
        .await
        .unwrap()
        .items;
    let turned: Vec<_> = told
        .iter()
        .filter(|one| one.reason.as_deref() == Some("NotHealthy"))
        .collect();
    assert_eq!(turned.len(), 1, "{told:#?}");
    assert!(turned[0].message.as_deref().unwrap().contains("1800 s"));

    // A second process finds everything said: it writes nothing.
    first.signal("-TERM").unwrap();
    let second = bed.operator("second").await;
    second.until_ready().await.unwrap();
    bed.until_holds("second").await;
    second
        .until_metric(
            "evenkeel_policies{condition=\"Healthy\",status=\"False\"} 1",
            WITHIN,
        )
        .await
        .unwrap();
    let before = bed.statuses();
    // What it would write it would write at once: the cleared finding comes after.
    bed.apply("demo-keepalive").await;
    bed.until_cleared().await;
    assert_eq!(bed.statuses(), before + 1, "one write for one change");
    let ended = first.process_mut().ended().unwrap();
    assert!(ended.is_some_and(|status| status.success()));

    let forbidden: Vec<_> = bed
        .asked()
        .into_iter()
        .filter(|one| one["responseStatus"]["code"] == 403)
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    let lists = bed.asked().iter().filter(|one| one["verb"] == "list").count();
    assert_eq!(lists, 0, "this server streams its lists");
}

/// The Lease and HTTP have a thread of their own, which notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_stands_loses_the_lease_and_is_not_alive() {
    let bed = OperatorBed::start().await;
    let a = bed.operator("a").await;
    a.until_ready().await.unwrap();
    bed.until_holds("a").await;
    let b = bed.operator("b").await;
    b.until_ready().await.unwrap();
    assert_eq!(a.probe("/livez").await.unwrap().0, 200);

    let stuck = StuckThread::of(a.id(), LOOP_THREAD);
    let start = Instant::now();
    bed.until_holds("b").await;
    eprintln!("taken over {:?} after the loop stood", start.elapsed());
    // The one that goes on says what there is to say.
    bed.apply("demo/policy").await;
    bed.until("Healthy", "False", "Violated").await;
    until_livez(&a, 503).await;
    eprintln!("/livez fails {:?} after the loop stood", start.elapsed());
    assert_eq!(b.probe("/livez").await.unwrap().0, 200);

    let written = bed.statuses();
    drop(stuck);
    until_livez(&a, 200).await;
    a.until_metric("evenkeel_leader{} 0.0", WITHIN).await.unwrap();
    assert_eq!(bed.statuses(), written, "who stood has nothing to say");
    assert!(bed.holder().await.starts_with("b_"));
}

/// Waits until the liveness probe is answered with this code.
async fn until_livez(operator: &Operator, code: u16) {
    let start = Instant::now();
    loop {
        let answer = operator.probe("/livez").await.unwrap();
        if answer.0 == code {
            return;
        }
        assert!(start.elapsed() < WITHIN, "/livez is {answer:?}, not {code}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_takes_over_and_who_was_stopped_writes_nothing() {
    let bed = OperatorBed::start().await;
    let a = bed.operator("a").await;
    a.until_ready().await.unwrap();
    bed.until_holds("a").await;
    let mut b = bed.operator("b").await;
    b.until_ready().await.unwrap();

    // Stopped for longer than its claim lasts, with something to say when it goes on.
    a.signal("-STOP").unwrap();
    let taken = bed.until_holds("b").await;
    eprintln!("taken over {taken:?} after the holder was stopped");
    bed.apply("demo/policy").await;
    bed.until("Healthy", "False", "Violated").await;
    let written = bed.statuses();
    a.signal("-CONT").unwrap();
    a.until_metric("evenkeel_leader{} 0.0", WITHIN).await.unwrap();
    a.until_metric(
        "evenkeel_policies{condition=\"Healthy\",status=\"False\"} 1",
        WITHIN,
    )
    .await
    .unwrap();
    assert_eq!(bed.statuses(), written, "who was stopped has nothing to say");
    assert!(bed.holder().await.starts_with("b_"));

    // Killed: the other waits for the claim to run out, and no longer.
    b.process_mut().kill();
    let taken = bed.until_holds("a").await;
    eprintln!("taken over {taken:?} after the holder was killed");
    bed.apply("demo-keepalive").await;
    bed.until_cleared().await;

    // Ended in good order: the Lease is given back.
    let c = bed.operator("c").await;
    c.until_ready().await.unwrap();
    a.signal("-TERM").unwrap();
    let taken = bed.until_holds("c").await;
    eprintln!("taken over {taken:?} after the holder was ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_die_and_come_back_need_no_restart_of_ours() {
    let mut bed = OperatorBed::start().await;
    let mut operator = bed.operator("survivor").await;
    operator.until_ready().await.unwrap();
    bed.apply("demo/policy").await;
    bed.until("Healthy", "False", "Violated").await;

    bed.plane.process("kube-apiserver").unwrap().kill();
    operator
        .until_metric("evenkeel_source_fresh{source=\"endpointslices\"} 0", WITHIN)
        .await
        .unwrap();
    bed.plane.process("kube-apiserver").unwrap().restart().unwrap();
    bed.plane.ready().await.unwrap();
    operator
        .until_metric("evenkeel_source_fresh{source=\"endpointslices\"} 1", WITHIN)
        .await
        .unwrap();
    // Blindness may be told as such, never as health; what was known is known again.
    assert_ne!(bed.condition("Healthy").await.0, "True");
    bed.until("Healthy", "False", "Violated").await;

    bed.plane.process("etcd").unwrap().restart().unwrap();
    bed.plane.ready().await.unwrap();
    bed.apply("demo-keepalive").await;
    bed.until_cleared().await;
    operator.lives().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reports_a_frozen_network_and_recovers() {
    let bed = OperatorBed::start().await;
    let proxy = Proxy::start(bed.port()).await.unwrap();
    let access = bed.access("frozen", Some(proxy.port())).await;
    let mut operator = bed.operator_by("frozen", &access);
    operator.until_ready().await.unwrap();
    bed.apply("demo/policy").await;
    bed.until("Healthy", "False", "Violated").await;

    proxy.freeze();
    let frozen = Instant::now();
    operator
        .until_metric("evenkeel_source_fresh{source=\"endpointslices\"} 0", WITHIN)
        .await
        .unwrap();
    eprintln!("a frozen watch was told after {:?}", frozen.elapsed());
    operator
        .until_metric("evenkeel_leader{} 0.0", WITHIN)
        .await
        .unwrap();
    bed.apply("demo-keepalive").await;
    proxy.heal();
    let healed = bed.until_cleared().await;
    eprintln!("healed {healed:?} after traffic returned");
    operator.lives().unwrap();
}
