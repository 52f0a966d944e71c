//! More Pods than are kept, and room again.

use super::*;

#[test]
fn more_pods_than_a_namespace_may_have_are_its_gap_alone() {
    let mut bed = Bed::default();
    bed.want(&[("shop", ""), ("pay", "x=1")]);
    let id = bed.id(Source::Pods, "shop");
    let pods = (0..=20_000).map(|at| pod(&format!("p{at}")));
    let told = bed.take(id, std::iter::once(What::Begin).chain(pods).collect());
    let why = "policies select more than 20000 Pods of this namespace, and no more are kept";
    assert_eq!(told.len(), 20_001);
    assert_eq!(
        told.last().unwrap(),
        &format!(r#"Unreadable("{why}") pods Namespace("shop")"#)
    );
    assert_eq!(bed.take(id, vec![pod("p7"), What::Synced]), ["pods shop/p7"]);
    let other = bed.id(Source::Pods, "pay");
    assert_eq!(
        bed.take(other, vec![What::Begin, What::Synced]),
        [r#"Complete pods Namespace("pay")"#]
    );
}

/// Lists so many Pods of a namespace; returns what was told but of the Pods themselves.
fn listed(bed: &mut Bed, namespace: &str, count: usize) -> Vec<String> {
    let id = bed.id(Source::Pods, &format!("/{namespace}/"));
    let pods = (0..count).map(|at| pod_of(namespace, &format!("p{at}")));
    let list = std::iter::once(What::Begin).chain(pods).chain([What::Synced]);
    let mut told = bed.take(id, list.collect());
    told.retain(|one| !one.starts_with("pods ") && !one.starts_with("gone "));
    told
}

#[test]
fn of_more_pods_than_all_namespaces_may_have_the_largest_has_none() {
    let mut bed = Bed::default();
    bed.want(&[("a", ""), ("b", ""), ("c", ""), ("small", ""), ("d", "")]);
    for (namespace, count) in [("a", 20_000), ("b", 19_000), ("c", 19_990), ("small", 10)] {
        let complete = format!(r#"Complete pods Namespace("{namespace}")"#);
        assert_eq!(listed(&mut bed, namespace, count), [complete]);
    }
    let why = "policies select more than 60000 Pods of all namespaces, of which this one has most, and none of its own are kept";
    let told = listed(&mut bed, "d", 1_100);
    let gap = format!(r#"Unreadable("{why}") pods Namespace("a")"#);
    assert_eq!(told, [gap, r#"Complete pods Namespace("d")"#.into()]);
    // It stays a gap when one of its Pods changes, and takes no room from others.
    let id = bed.id(Source::Pods, "/a/");
    assert_eq!(bed.take(id, vec![pod_of("a", "p7")]), Vec::<String>::new());
    // Listed anew it is known again, and the one that has more before its list ends gives up instead.
    let gap = format!(r#"Unreadable("{why}") pods Namespace("c")"#);
    let told = listed(&mut bed, "a", 20_000);
    assert_eq!(told, [gap, r#"Complete pods Namespace("a")"#.into()]);
    assert!(
        bed.take(bed.id(Source::Pods, "/small/"), vec![pod_of("small", "new")])
            .len()
            == 1
    );
}

/// Namespaces with 60,001 Pods in all: the largest, which is watched by two selectors, has given up its own.
fn crowded() -> Bed {
    let mut bed = Bed::default();
    bed.want(&[("a", "x=1"), ("a", "y=2"), ("b", ""), ("c", ""), ("d", "")]);
    bed.take(bed.id(Source::Pods, "y=2"), vec![What::Begin, What::Synced]);
    for (namespace, count) in [("a", 20_000), ("b", 19_000), ("c", 19_000)] {
        let complete = format!(r#"Complete pods Namespace("{namespace}")"#);
        assert_eq!(listed(&mut bed, namespace, count), [complete]);
    }
    let told = listed(&mut bed, "d", 2_001);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("Unreadable(") && told[0].ends_with(r#"Namespace("a")"#));
    bed
}

/// Lists both targets of `a` with one Pod; returns what was told.
fn both_listed(bed: &mut Bed) -> Vec<String> {
    let mut told = Vec::new();
    let words = vec![What::Begin, pod_of("a", "p1"), What::Synced];
    told.extend(bed.take(bed.id(Source::Pods, "x=1"), words));
    told.push("then".into());
    told.extend(bed.take(bed.id(Source::Pods, "y=2"), vec![What::Begin, What::Synced]));
    told
}

#[test]
fn a_namespace_that_gave_up_is_known_when_each_selector_is_listed_anew() {
    let mut bed = crowded();
    assert_eq!(listed(&mut bed, "a", 20_000), [""; 0], "it has most again");
    let b = bed.id(Source::Pods, "/b/");
    assert_eq!(bed.take(b, vec![pod_of("b", "p0")]), ["pods b/p0"], "others stay");
    let complete = r#"Complete pods Namespace("a")"#;
    assert_eq!(both_listed(&mut bed), ["pods a/p1", "then", complete]);
}

#[test]
fn a_namespace_that_gave_up_is_read_anew_when_there_is_room_again() {
    let mut bed = crowded();
    assert_eq!(bed.retry(), TargetChange::default(), "there is none");
    let gone = ["p0", "p1"].map(|name| What::Gone("b".into(), name.into()));
    bed.take(bed.id(Source::Pods, "/b/"), gone.into());
    let change = bed.retry();
    assert_eq!((change.start.len(), change.stop.len()), (2, 2));
    assert!(change.start.iter().all(|one| !one.known));
    assert_eq!(bed.retry(), TargetChange::default(), "it is being read");
    let complete = r#"Complete pods Namespace("a")"#;
    assert_eq!(both_listed(&mut bed), ["pods a/p1", "then", complete]);
}

#[test]
fn a_namespace_that_gave_up_is_not_known_by_those_that_take_over() {
    let mut bed = crowded();
    bed.told.clear();
    let change = bed.want(&[("a", "x=1"), ("b", ""), ("c", ""), ("d", "")]);
    assert_eq!((change.start.len(), change.stop.len()), (1, 2));
    assert!(!change.start[0].known);
    assert_eq!(bed.told, [r#"Missing pods Namespace("a")"#]);
}
