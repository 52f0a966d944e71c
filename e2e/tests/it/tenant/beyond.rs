//! What is beyond a namespace's share: not kept, and known again when there is room.

use std::time::Instant;

use serde_json::{Value, json};

use super::attack::Attack;
use super::bed::{EVERY, WITHIN};
use super::services::slice;
use super::team::{labelled, service};

/// Services so small that all of them have room once the large ones are gone.
const SMALL: usize = 400;

/// The share, what one more list of it takes, and what the allocator keeps, in MiB.
const LEFT: u64 = 80;

/// A namespace that has filled its share makes hundreds of Services more, and then room for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_known_again_when_there_is_room() {
    let attack = Attack::begin("room").await;
    let team = &attack.team;
    let refused = team
        .make_all((0..80).map(|at| labelled(&format!("large-{at}"), 4_000)))
        .await;
    assert!(refused < 10, "{refused} of 80 large Services were refused");
    let refused = team
        .make_all((0..SMALL).map(|at| labelled(&format!("small-{at}"), 200)))
        .await;
    assert!(refused < 10, "{refused} of {SMALL} small Services were refused");
    team.policy("own", &json!({"balance": {"minimumReadyBackends": 1_000}}))
        .await
        .unwrap();
    attack.until_own("backend-minimum-ready").await;
    let known = small(&attack).await;
    assert!(
        known < SMALL / 4,
        "{known} small Services are known beside the large ones"
    );
    for at in 0..80 {
        team.delete(("v1", "Service"), &format!("large-{at}")).await;
    }
    let start = Instant::now();
    loop {
        let known = small(&attack).await;
        if known >= SMALL - 10 {
            break;
        }
        assert!(start.elapsed() < WITHIN, "only {known} small Services are known");
        tokio::time::sleep(EVERY).await;
    }
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    assert!(after < before + LEFT, "{after} MiB after {before}");
}

/// How many of the small Services are judged.
async fn small(attack: &Attack) -> usize {
    let own = attack.own_findings().await;
    let of_small = own.iter().filter(|one| {
        let is_small = one["subject"]["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("small-"));
        is_short(one) && is_small
    });
    of_small.count()
}

/// Whether a finding says that a Service has too few backends, and not that this is not known.
fn is_short(finding: &Value) -> bool {
    finding["check"] == "backend-minimum-ready" && finding["verdict"] == "Violated"
}

/// Endpoints by the hundred thousand, all of two Services.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_without_end_are_the_gap_of_their_namespace() {
    let attack = Attack::begin_as("endpoints", true).await;
    let team = &attack.team;
    for name in ["one", "two"] {
        team.make(&service(name, 1)).await.unwrap();
    }
    team.policy("own", &json!({"balance": {"minimumReadyBackends": 100_000}}))
        .await
        .unwrap();
    attack.until_own("backend-minimum-ready").await;
    let refused = team
        .make_all((0..400).map(|at| slice(at, ["one", "two"][at % 2], 1_000)))
        .await;
    eprintln!("{refused} of 400 EndpointSlices with 1,000 endpoints were refused");
    assert!(refused < 40, "most are taken");
    attack.until_seen().await;
    let own = attack.own_findings().await;
    assert!(
        own.iter().all(|one| !is_short(one)),
        "nothing is said of backends of which some are not kept"
    );
    let figures = attack.end().await;
    let [before, _, after] = figures.memory;
    assert!(after < before + LEFT, "{after} MiB after {before}");
}
