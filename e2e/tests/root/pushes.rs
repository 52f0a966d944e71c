//! Alerts by push: the operator tells real Alertmanagers by itself.
//!
//! Needs root, for an address that an `EndpointSlice` may name, so it is a target that `cargo test` runs only when named;
//! `make pushes` does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use evenkeel_e2e::Address;
use evenkeel_e2e::monitoring::{AlertBed, Alertmanager, SERVER_NAME, SERVICE, WITHIN, free_port};

use crate::certificate::certificate;

#[tokio::test(flavor = "multi_thread")]
async fn pushes_reach_every_alertmanager_that_lives_and_end_when_the_finding_does() {
    let mut bed = AlertBed::start().await.unwrap();
    let address = Address::add().unwrap();
    let at = || SocketAddr::from((address.ip(), free_port().unwrap()));
    let a = bed.alertmanager("a", at()).await.unwrap();
    let b = bed.alertmanager("b", at()).await.unwrap();
    let dead = at();
    let ports = [a.address(), b.address(), dead].map(|one| one.port());
    bed.plane
        .alertmanager_service(address.ip(), &ports)
        .await
        .unwrap();
    let mut operator = bed
        .operator("pushing", &[format!("--alertmanager={SERVICE}")])
        .await
        .unwrap();

    let labels = [
        ("check", "path-idle-budget"),
        ("severity", "critical"),
        ("policy", "shop/reports"),
        ("namespace", "shop"),
        ("name", "reports"),
    ];
    let first = a.until_fires("EvenkeelFinding", &labels).await.unwrap();
    b.until_fires("EvenkeelFinding", &labels).await.unwrap();
    let description = first["annotations"]["description"].as_str().unwrap();
    assert!(description.contains("900 s"), "{description}");
    assert!(description.contains("1800 s"), "{description}");
    // The dead one is counted, named in the log with the cause, and delays nobody.
    let unreachable = "evenkeel_alerts_total{outcome=\"unreachable\"}";
    operator.until_metric(unreachable, WITHIN).await.unwrap();
    let log = operator.log().unwrap();
    assert!(log.contains(&dead.to_string()), "{log}");
    assert!(log.contains("Connection refused"), "{log}");

    // Repeated: the same alert, and its end moves.
    let start = Instant::now();
    loop {
        let now = a.until_fires("EvenkeelFinding", &labels).await.unwrap();
        assert_eq!(now["startsAt"], first["startsAt"]);
        if now["endsAt"].as_str().unwrap() > first["endsAt"].as_str().unwrap() {
            break;
        }
        assert!(start.elapsed() < WITHIN, "not repeated: {now:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("repeated {:?} after it was first seen", start.elapsed());

    // Not to see is no all-clear.
    bed.server().unwrap().kill();
    let blind = "evenkeel_source_fresh{source=\"endpointslices\"} 0";
    operator.until_metric(blind, WITHIN).await.unwrap();
    operator
        .until_metric("evenkeel_leader{} 0", WITHIN)
        .await
        .unwrap();
    for told in [&a, &b] {
        assert!(told.alert("EvenkeelFinding", &labels).await.unwrap().is_some());
    }
    bed.server().unwrap().restart().unwrap();
    bed.plane.ready().await.unwrap();
    operator
        .until_metric("evenkeel_leader{} 1", WITHIN)
        .await
        .unwrap();
    a.until_fires("EvenkeelFinding", &labels).await.unwrap();

    bed.declare_keepalive().await.unwrap();
    a.until_resolved("EvenkeelFinding", &[]).await.unwrap();
    b.until_resolved("EvenkeelFinding", &[]).await.unwrap();
    assert_eq!(operator.process_mut().ended().unwrap(), None);
    operator.end().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_is_refused_with_the_reason() {
    let bed = AlertBed::start().await.unwrap();
    let address = Address::add().unwrap();
    let at = SocketAddr::from((address.ip(), free_port().unwrap()));
    let (authority, (certificate_pem, key)) = certificate(SERVER_NAME);
    let (stranger, _) = certificate(SERVER_NAME);
    let _told = Alertmanager::start_tls(bed.programs(), "tls", bed.path(), at, (&certificate_pem, &key))
        .await
        .unwrap();
    bed.plane
        .alertmanager_service(address.ip(), &[at.port()])
        .await
        .unwrap();
    let arguments = |name: &str, pem: &str| {
        let file = bed.path().join(name);
        std::fs::write(&file, pem).unwrap();
        [
            format!("--alertmanager={SERVICE}"),
            format!("--alertmanager-ca-file={}", file.display()),
        ]
    };

    let wrong = bed
        .operator("wrong", &arguments("stranger.crt", &stranger))
        .await
        .unwrap();
    let unreachable = "evenkeel_alerts_total{outcome=\"unreachable\"}";
    wrong.until_metric(unreachable, WITHIN).await.unwrap();
    let log = wrong.log().unwrap();
    assert!(log.contains("invalid peer certificate"), "{log}");
    let accepted = "evenkeel_alerts_total{outcome=\"accepted\"}";
    assert_eq!(wrong.metric(accepted).await.unwrap(), None);
    wrong.end().unwrap();

    let right = bed
        .operator("right", &arguments("authority.crt", &authority))
        .await
        .unwrap();
    right.until_metric(accepted, WITHIN).await.unwrap();
    right.end().unwrap();
}
