//! Every way in which a watch goes wrong, and what the pump makes of it. Time is paused: seconds are exact.

use std::collections::BTreeSet;

use evenkeel_core::know::Source;
use rstest::rstest;

use super::super::Watches;
use super::super::link::LONGEST_LINE;
use super::*;
use crate::client::Link;
use crate::resources::RESOURCES;

pub(super) fn watch(acts: &[Act]) -> WatchAnswer {
    WatchAnswer::Watch(acts.to_vec())
}

#[tokio::test(start_paused = true)]
async fn lists_once_as_a_stream_then_watches_on_from_the_last_version() {
    let mut bench = PumpBench::new(nodes(), &[filled(), quiet(12), quiet(15), quiet(15), quiet(15)]);
    assert_eq!(bench.words(35).await, ["begin", "object a", "synced"]);
    let uris: Vec<_> = bench.calls().into_iter().map(|call| call.uri).collect();
    assert_eq!(
        uris[0],
        "/api/v1/nodes?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=290"
    );
    let on = |version| {
        format!(
            "/api/v1/nodes?watch=true&allowWatchBookmarks=true&timeoutSeconds=10&resourceVersion={version}"
        )
    };
    assert_eq!(uris[1..], [on(10), on(12), on(15), on(15)]);
    let seen = bench.snapshot();
    assert_eq!(
        (seen.state, seen.resource_version.as_str(), seen.lists),
        (WatchState::Watching, "15", 1)
    );
    assert_eq!((seen.restarts, seen.silences, seen.lines), (3, 0, 5));
}

#[tokio::test(start_paused = true)]
async fn changes_are_sent_in_order_and_move_the_version() {
    let acts = [
        added("b", 11),
        object("MODIFIED", "a", 12),
        object("DELETED", "b", 13),
        Act::Pause(9_000),
        Act::End,
    ];
    let mut bench = PumpBench::new(nodes(), &[filled(), watch(&acts), quiet(13)]);
    let told = bench.words(15).await;
    assert_eq!(told[3..], ["object b", "object a", "gone /b"]);
    assert!(bench.calls()[2].uri.ends_with("resourceVersion=13"));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_of_nodes_move_the_version_and_are_not_passed_on() {
    let acts = [
        beat("ADDED", 11, "False"),
        beat("MODIFIED", 12, "False"),
        beat("MODIFIED", 13, "True"),
        beat("MODIFIED", 14, "False"),
        beat("MODIFIED", 15, "False"),
        Act::Pause(9_000),
        Act::End,
    ];
    let relisted = [
        beat("ADDED", 20, "False"),
        end(20),
        beat("MODIFIED", 21, "False"),
        Act::End,
    ];
    let answers = [
        filled(),
        watch(&acts),
        WatchAnswer::Refuse(410, None),
        watch(&relisted),
        quiet(21),
    ];
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(25).await;
    assert_eq!(told[3..6], ["object n", "object n", "object n"]);
    assert_eq!(told[6..], ["begin", "object n", "synced"]);
    assert!(bench.calls()[2].uri.ends_with("resourceVersion=15"));
}

/// A node as an API server writes it, with a heartbeat at its version.
fn beat(event: &str, version: u32, ready: &str) -> Act {
    Act::Line(format!(
        r#"{{"type":"{event}","object":{{"kind":"Node","apiVersion":"v1","metadata":{{"name":"n","uid":"u","resourceVersion":"{version}","managedFields":[]}},"spec":{{}},"status":{{"conditions":[{{"type":"Ready","status":"{ready}","lastHeartbeatTime":"{version}"}}]}}}}}}"#
    ))
}

#[rstest]
#[case::feature_off(422)]
#[case::parameter_unknown(400)]
#[tokio::test(start_paused = true)]
async fn a_server_without_streams_is_read_in_pages(#[case] code: u16) {
    let answers = [
        WatchAnswer::Refuse(code, None),
        page(20, "more", &["a", "b"]),
        page(20, "", &["c"]),
        quiet(20),
    ];
    let mut bench = PumpBench::new(nodes(), &answers);
    assert_eq!(
        bench.words(5).await,
        ["begin", "page of 2", "page of 1", "synced"]
    );
    let uris: Vec<_> = bench.calls().into_iter().map(|call| call.uri).collect();
    assert_eq!(uris[1], "/api/v1/nodes?limit=500");
    assert_eq!(uris[2], "/api/v1/nodes?limit=500&continue=more");
    assert!(uris[3].ends_with("resourceVersion=20"));
}

#[tokio::test(start_paused = true)]
async fn an_expired_page_token_begins_the_list_again() {
    let answers = [
        WatchAnswer::Refuse(422, None),
        page(20, "more", &["a"]),
        WatchAnswer::Refuse(410, None),
        page(30, "", &["b"]),
        quiet(30),
    ];
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(20).await;
    assert_eq!(told, ["begin", "page of 1", "begin", "page of 1", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_ends_its_list_is_given_up_for_pages() {
    let endless = watch(&[added("a", 3)]);
    let answers = [endless.clone(), endless, page(9, "", &["a"]), quiet(9), quiet(9)];
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(80).await;
    assert_eq!(
        told,
        [
            "begin",
            "object a",
            "begin",
            "object a",
            "begin",
            "page of 1",
            "synced"
        ]
    );
}

#[rstest]
#[case::on_the_stream(watch(&[error(410)]))]
#[case::as_status(WatchAnswer::Refuse(410, None))]
#[case::going_back(watch(&[bookmark(4)]))]
#[case::an_object_going_back(watch(&[added("b", 4)]))]
#[tokio::test(start_paused = true)]
async fn what_is_no_longer_continued_is_listed_anew(#[case] answer: WatchAnswer) {
    let answers = then_quiet(&[filled(), quiet(10), answer, filled()], 10);
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(30).await;
    let told: Vec<_> = told.iter().filter(|word| *word != "object b").collect();
    assert_eq!(
        told,
        ["begin", "object a", "synced", "begin", "object a", "synced"]
    );
    assert_eq!(bench.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn expired_versions_in_a_row_do_not_become_a_storm_of_lists() {
    let answers: Vec<_> = (0..100).flat_map(|_| [filled(), watch(&[error(410)])]).collect();
    let mut bench = PumpBench::new(nodes(), &answers);
    bench.until(100).await;
    assert!(bench.lists() <= 12, "{} lists in 100 s", bench.lists());
}

#[rstest]
#[case::too_many_requests(429)]
#[case::unavailable(503)]
#[tokio::test(start_paused = true)]
async fn a_busy_server_is_left_alone_for_as_long_as_it_asks(#[case] code: u16) {
    let answers = then_quiet(&[filled(), WatchAnswer::Refuse(code, Some(7)), probe(10)], 10);
    let mut bench = PumpBench::new(nodes(), &answers);
    assert_eq!(bench.words(40).await, ["begin", "object a", "synced"]);
    let waited = bench.calls()[2].at.saturating_sub(bench.calls()[1].at);
    assert!((7_000..8_000).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(bench.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn delays_grow_while_a_server_is_away_and_it_is_silent_after_13_seconds() {
    let mut answers = vec![filled()];
    answers.extend(vec![WatchAnswer::Break; 30]);
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.until(60).await;
    assert_eq!(told.last(), Some(&(13, "stale".to_owned())));
    assert_eq!(told.iter().filter(|word| word.1 == "stale").count(), 1);
    let calls = bench.calls();
    let gaps: Vec<_> = calls
        .windows(2)
        .skip(1)
        .map(|pair| pair[1].at.saturating_sub(pair[0].at))
        .collect();
    assert!(gaps.first() < Some(&Duration::from_millis(501)));
    assert!(gaps.last() >= Some(&Duration::from_secs(5)));
    assert!(gaps.last() <= Some(&Duration::from_secs(10)));
    assert!(bench.script.renewals.lock().unwrap().len() > 5);
    assert_eq!(bench.snapshot().state, WatchState::Stale);
    assert!(
        bench
            .snapshot()
            .last_error
            .unwrap()
            .contains("connection refused")
    );
}

#[tokio::test(start_paused = true)]
async fn a_half_open_watch_is_silent_after_13_seconds_and_comes_back_without_a_list() {
    let frozen = watch(&[Act::Pause(8_000), bookmark(12)]);
    let answers = then_quiet(
        &[filled(), frozen, WatchAnswer::Hang, WatchAnswer::Hang, probe(14)],
        14,
    );
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.until(60).await;
    // The last word came after 8 s.
    assert_eq!(told[3], (21, "stale".to_owned()));
    assert_eq!(told[4].1, "complete");
    assert_eq!(told.len(), 5);
    assert!(
        !bench.script.renewals.lock().unwrap().is_empty(),
        "fresh connections are asked for"
    );
    let probing = &bench.calls()[4].uri;
    assert!(
        probing.contains("timeoutSeconds=3&resourceVersion=12"),
        "{probing}"
    );
    assert_eq!(bench.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_proves_nothing_until_a_bookmark_has_come() {
    let late = watch(&[
        added("b", 11),
        Act::Pause(1_500),
        added("c", 12),
        Act::Pause(500),
        bookmark(12),
        Act::Pause(1_000),
        Act::End,
    ]);
    let answers = then_quiet(&[filled(), watch(&[]), late], 12);
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(40).await;
    assert_eq!(told[3..], ["stale", "object b", "object c", "complete"]);
}

#[tokio::test(start_paused = true)]
async fn a_short_break_is_not_told() {
    let answers = then_quiet(
        &[filled(), watch(&[Act::Pause(3_000), Act::Break]), probe(10)],
        10,
    );
    let mut bench = PumpBench::new(nodes(), &answers);
    assert_eq!(bench.words(40).await, ["begin", "object a", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_cut_within_a_line_goes_on_from_the_last_version() {
    let answers = then_quiet(&[filled(), watch(&[added("b", 11), Act::Break]), probe(12)], 12);
    let mut bench = PumpBench::new(nodes(), &answers);
    assert_eq!(bench.words(30).await[3..], ["object b"]);
    assert!(
        bench.calls()[2]
            .uri
            .ends_with("timeoutSeconds=3&resourceVersion=11")
    );
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_not_repeated_at_once() {
    let mut answers = vec![filled()];
    answers.extend(vec![watch(&[Act::End]); 1_000]);
    let mut bench = PumpBench::new(nodes(), &answers);
    bench.until(30).await;
    assert!(
        bench.calls().len() < 20,
        "{} requests in 30 s",
        bench.calls().len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_garbled_line_is_reported_and_the_watch_goes_on_until_a_new_list() {
    let acts = [
        line(r#"{"type":"MODIFIED","object":{"metadata":"#),
        added("b", 11),
        Act::Pause(9_000),
        Act::End,
    ];
    let mut answers = vec![filled(), watch(&acts)];
    answers.extend(vec![quiet(11); 6]);
    answers.push(filled());
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.until(80).await;
    let words: Vec<_> = told.iter().map(|told| told.1.as_str()).collect();
    assert_eq!(words[3..], ["object ", "object b", "begin", "object a", "synced"]);
    // Not at once, as a list may not mend it.
    assert!((60..75).contains(&told[5].0), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_watch_lives_on_bookmarks() {
    let minute = [Act::Pause(60_000), bookmark(11), Act::Pause(60_000), bookmark(12)];
    let list = watch(&[&[added("a", 3), end(10)], minute.as_slice()].concat());
    let mut bench = PumpBench::new(target(Source::L2Advertisements), &[list]);
    let told = bench.until(600).await;
    assert_eq!(bench.calls()[0].uri.matches("timeoutSeconds=290").count(), 1);
    // One bookmark may be missed: 150 s after the second.
    assert_eq!(told[3..], [(270, "stale".to_owned())]);
}

/// The settings that critical findings rest on are read by these: their silence is noticed before the server's own bookmark
/// of one a minute would come.
#[tokio::test(start_paused = true)]
async fn a_watch_that_critical_findings_rest_on_is_frozen_for_a_minute_at_most() {
    let mut bench = PumpBench::new(target(Source::DaemonSets), &[filled(), watch(&[])]);
    let told = bench.until(300).await;
    assert!(bench.calls()[1].uri.contains("timeoutSeconds=50"));
    assert_eq!(told.last(), Some(&(60, "stale".to_owned())));
}

/// Of tenants' Pods a frozen watch is noticed when bookmarks are missed; within a minute where a critical finding rests on
/// them, from the next bookmark on, and nothing is listed for it.
#[tokio::test(start_paused = true)]
async fn a_tenants_pods_are_watched_closely_while_a_critical_finding_rests_on_them() {
    let pods = Target::pods("shop", &evenkeel_core::policy::Selector::default(), true).unwrap();
    let minute = watch(&[added("a", 3), end(10), Act::Pause(60_000), bookmark(11)]);
    let mut bench = PumpBench::new(
        pods,
        &[minute, watch(&[Act::Pause(50_000), Act::End]), watch(&[])],
    );
    bench.until(30).await;
    bench.urgent.send_replace(BTreeSet::from(["shop".into()]));
    bench.until(100).await;
    bench.urgent.send_replace(BTreeSet::new());
    let told = bench.until(600).await;
    let limits = bench.calls().into_iter().map(|call| {
        let (_, rest) = call.uri.split_once("timeoutSeconds=").unwrap();
        (call.at.as_secs(), rest.split('&').next().unwrap().to_owned())
    });
    let limits: Vec<_> = limits.collect();
    assert_eq!(
        limits[..3],
        [(0, "290".into()), (60, "50".into()), (110, "290".into())],
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_watch_without_bookmarks_is_believed_until_its_end() {
    let answers = [
        WatchAnswer::Refuse(422, None),
        page(5, "", &[]),
        watch(&[Act::Pause(290_000), Act::End]),
        watch(&[]),
    ];
    let mut bench = PumpBench::new(target(Source::L2Advertisements), &answers);
    let told = bench.until(900).await;
    assert_eq!(told.last(), Some(&(590, "stale".to_owned())));
    assert!(bench.calls()[2].uri.contains("timeoutSeconds=290"));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_slow_is_not_a_server_that_is_silent() {
    let acts: Vec<_> = (0..3_000).map(|at| added("b", 11 + at)).collect();
    let acts = [acts.as_slice(), &[Act::Pause(9_000), Act::End]].concat();
    let mut bench = PumpBench::new(nodes(), &then_quiet(&[filled(), watch(&acts)], 4_000));
    // More events than the channel holds, and none is taken for a minute.
    sleep(Duration::from_secs(60)).await;
    let told = bench.words(90).await;
    assert_eq!(told.len(), 3_003);
    assert!(!told.iter().any(|word| word == "stale"));
}

#[tokio::test(start_paused = true)]
async fn bytes_on_their_way_are_bounded() {
    // 40 MB in one list.
    let large = |at: u64| {
        line(format!(
            r#"{{"type":"ADDED","object":{{"metadata":{{"name":"n{at}","resourceVersion":"1"}},"x":"{}"}}}}"#,
            "x".repeat(1 << 20)
        ))
    };
    let acts: Vec<_> = (0..40).map(large).chain([end(10)]).collect();
    let mut bench = PumpBench::new(nodes(), &then_quiet(&[watch(&acts)], 10));
    sleep(Duration::from_secs(5)).await;
    assert!(
        bench.events.len() <= 9,
        "{} events of 1 MiB wait",
        bench.events.len()
    );
    assert_eq!(bench.words(30).await.len(), 42);
}

/// A watch whose silence is noticed within a minute proves itself before its end.
#[test]
fn what_critical_findings_rest_on_is_watched_closely() {
    let minute = [
        Source::Pods,
        Source::ConfigMaps,
        Source::DaemonSets,
        Source::Deployments,
        Source::Webhooks,
        Source::Namespaces,
        Source::CiliumNodeConfigs,
        Source::FelixConfigurations,
        Source::Installations,
    ];
    let wants = evenkeel_core::Core::default().take_wants().unwrap();
    let pods = Target::pods("kube-system", &evenkeel_core::policy::Selector::default(), false);
    for target in Target::but_pods(&wants).into_iter().chain(pods) {
        let most = if target.evidence {
            10
        } else if minute.contains(&target.source) {
            50
        } else {
            290
        };
        assert!(
            target.limit(&BTreeSet::new()).as_secs() <= most,
            "{}",
            target.show()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_a_gap_of_its_object_and_the_watch_goes_on() {
    let long = |kind: &str, name: &str, version: u32| {
        let begin = format!(
            r#"{{"type":"{kind}","object":{{"kind":"Node","metadata":{{"name":"{name}","resourceVersion":"{version}","annotations":{{"a":""#
        );
        line(begin.clone() + &"x".repeat(LONGEST_LINE - begin.len()))
    };
    let acts = [
        long("ADDED", "b", 11),
        added("c", 12),
        long("DELETED", "b", 13),
        Act::Pause(9_000),
        Act::End,
    ];
    let mut answers = vec![filled(), watch(&acts)];
    answers.extend(vec![quiet(13); 12]);
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(120).await;
    assert_eq!(
        told[3..],
        ["refused /b: it has more than 4 MiB", "object c", "gone /b"]
    );
    assert!(bench.calls()[2].uri.ends_with("resourceVersion=13"));
    assert_eq!(bench.lists(), 1, "a list would bring the same");
}

#[tokio::test(start_paused = true)]
async fn pages_of_large_objects_become_smaller_until_they_fit() {
    let answers = [
        WatchAnswer::Refuse(422, None),
        WatchAnswer::TooLong,
        WatchAnswer::TooLong,
        page(20, "more", &["a", "b"]),
        WatchAnswer::TooLong,
        page(20, "", &["c"]),
        quiet(20),
    ];
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(5).await;
    assert_eq!(told, ["begin", "page of 2", "page of 1", "synced"]);
    let asked: Vec<_> = bench.calls()[1..6]
        .iter()
        .map(|call| call.uri.trim_start_matches("/api/v1/nodes?").to_owned())
        .collect();
    assert_eq!(
        asked,
        [
            "limit=500",
            "limit=125",
            "limit=31",
            "limit=31&continue=more",
            "limit=7&continue=more"
        ]
    );
    assert!(
        bench.script.renewals.lock().unwrap().is_empty(),
        "the connection is not in doubt"
    );
}

#[tokio::test(start_paused = true)]
async fn pods_are_not_read_anew_each_time_that_a_policy_is_edited() {
    let (mut watches, _events) = Watches::new(Arc::new(Link::new(|| async {
        Err(anyhow::anyhow!("there is no server"))
    })));
    let pods = Target::pods("shop", &evenkeel_core::policy::Selector::default(), true).unwrap();
    let now = Instant::now();
    let later = now + Duration::from_secs(10);
    assert_eq!(watches.begin(&pods, now), now);
    assert_eq!(watches.begin(&pods, now), later);
    assert_eq!(
        watches.begin(&pods, now),
        later,
        "another one takes the place of one that has not begun"
    );
    assert_eq!(
        watches.begin(&pods, later + Duration::from_secs(10)),
        later + Duration::from_secs(10)
    );
    assert_eq!(
        [watches.begin(&nodes(), now), watches.begin(&nodes(), now)],
        [now; 2]
    );
}

#[test]
fn sources_that_evidence_rests_on_are_watched_closely() {
    let close: Vec<_> = RESOURCES
        .iter()
        .filter(|one| one.kind.evidence)
        .map(|one| one.source)
        .collect();
    for source in [
        Source::Services,
        Source::EndpointSlices,
        Source::Nodes,
        Source::Policies,
        Source::ClusterPolicy,
    ] {
        assert!(close.contains(&source), "{source}");
    }
}
