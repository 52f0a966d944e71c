//! The watch pumps against a real API server: what they see, what they survive, and that they never list at rest.

mod bed;
mod budgets;

use std::time::Duration;

use evenkeel::watch::WatchState;
use evenkeel_core::index::Freshness;
use evenkeel_core::know::Source;
use evenkeel_e2e::load::{Size, load};
use evenkeel_e2e::repository::{example, root};
use evenkeel_e2e::{ControlPlane, Options, Proxy};

use bed::{Operator, asked, compact, grant, link, options, plane, port, slice, sources};

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
    // Long enough for the longest that a server leaves a long watch without a bookmark, two minutes.
    operator.rest(Duration::from_secs(130)).await;
    for source in sources() {
        assert_eq!(operator.fresh(source), Freshness::Complete, "{source}");
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
async fn a_blocked_network_is_reported_and_new_connections_recover() {
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
            .until("silence is told", |this| this.fresh(source) == Freshness::Stale)
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
            this.fresh(Source::EndpointSlices) == Freshness::Complete
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
            .until("all are healed", |this| this.fresh(source) == Freshness::Complete)
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
            matches!(this.fresh(Source::Nodes), Freshness::Unreadable(_))
        })
        .await;
    let Freshness::Unreadable(why) = operator.fresh(Source::Nodes) else {
        panic!("just seen")
    };
    assert!(why.starts_with("missing right: watch nodes ("), "{why}");
    assert_eq!(operator.fresh(Source::Services), Freshness::Complete);
    grant(plane, "limited", "").await;
    let back = operator
        .until("the return is noticed", |this| {
            this.fresh(Source::Nodes) == Freshness::Complete
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
    for file in ["demo/cluster.yaml", "demo/shop.yaml"] {
        plane.apply_yaml(&example(file).unwrap()).await.unwrap();
    }
    grant(&plane, "early", "").await;
    let mut operator = Operator::new(link(&plane, "early", None));
    // A kind that is not served is one without objects, not an unknown one.
    operator
        .until("no policies are known", |this| {
            this.fresh(Source::Policies) == Freshness::Complete
        })
        .await;
    operator.rest(Duration::from_secs(1)).await;
    assert_eq!(operator.seen(Source::Policies).state, WatchState::Absent);
    plane.install_crds(&root().join("crds")).await.unwrap();
    plane
        .apply_yaml(&example("demo/policy.yaml").unwrap())
        .await
        .unwrap();
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
    plane.process("kube-apiserver-0").unwrap().restart().unwrap();
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
    plane.process("etcd").unwrap().restart().unwrap();
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
    plane.process("kube-apiserver-0").unwrap().restart().unwrap();
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
