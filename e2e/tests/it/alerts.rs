//! Alerts by rules: a real Prometheus loads ours, scrapes the operator, and tells a real Alertmanager. Debian's packages
//! are fetched when they are missing.

use std::net::{Ipv4Addr, SocketAddr};

use evenkeel_e2e::monitoring::{
    AlertBed, Programs, Prometheus, check_rules, free_port, impatient, rules, test_rules,
};

#[test]
fn the_rules_do_what_their_unit_tests_say() {
    let programs = Programs::find_or_fetch().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checked = check_rules(&programs, folder.path()).unwrap();
    let count = rules().unwrap()["groups"][0]["rules"].as_array().unwrap().len();
    assert!(checked.contains(&format!("{count} rules found")), "{checked}");
    test_rules(&programs, folder.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_fire_and_resolve_on_a_real_prometheus() {
    let bed = AlertBed::start().await.unwrap();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let told = bed.alertmanager("alertmanager", at).await.unwrap();
    let mut operator = bed.operator("watched", &[]).await.unwrap();
    // How long each rule waits is what promtool tests; here every one waits for a second.
    let rules = impatient(rules().unwrap());
    let prometheus = Prometheus::start(bed.programs(), bed.path(), &rules, &[operator.port()], at)
        .await
        .unwrap();

    told.until_fires("EvenkeelWatchdog", &[]).await.unwrap();
    let labels = [("check", "path-idle-budget"), ("severity", "critical")];
    let alert = told
        .until_fires("EvenkeelCriticalFinding", &labels)
        .await
        .unwrap();
    assert_eq!(
        alert["annotations"]["summary"],
        "1 critical findings of path-idle-budget in shop, policy reports"
    );
    let labels = [("namespace", "shop"), ("policy", "reports")];
    told.until_fires("EvenkeelPolicyUnhealthy", &labels)
        .await
        .unwrap();
    // With a leader that reads everything, those of the operator itself are silent, and not about to fire.
    told.until_resolved("EvenkeelNoLeader", &[]).await.unwrap();
    told.until_resolved("EvenkeelSourceStale", &[]).await.unwrap();
    let active = prometheus.active().await.unwrap();
    for own in [
        "EvenkeelDown",
        "EvenkeelNoLeader",
        "EvenkeelSourceStale",
        "EvenkeelCannotWrite",
    ] {
        assert!(active.iter().all(|one| one.0 != own), "{active:?}");
    }

    bed.declare_keepalive().await.unwrap();
    told.until_resolved("EvenkeelCriticalFinding", &[]).await.unwrap();
    told.until_resolved("EvenkeelPolicyUnhealthy", &[]).await.unwrap();

    operator.process_mut().kill();
    told.until_fires("EvenkeelDown", &[("severity", "critical")])
        .await
        .unwrap();
    told.until_fires("EvenkeelNoLeader", &[("severity", "critical")])
        .await
        .unwrap();
    operator.process_mut().restart().unwrap();
    told.until_resolved("EvenkeelDown", &[]).await.unwrap();
    told.until_resolved("EvenkeelNoLeader", &[]).await.unwrap();
}
