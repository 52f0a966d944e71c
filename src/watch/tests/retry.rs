//! What a pump makes of refusals. Time is paused: seconds are exact.

use evenkeel_core::know::Source;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_and_its_return_needs_no_list() {
    let mut answers = vec![filled(), quiet(10)];
    answers.extend(vec![WatchAnswer::Refuse(403, None); 4]);
    answers.push(probe(12));
    let mut bench = PumpBench::new(nodes(), &then_quiet(&answers, 12));
    let told = bench.until(80).await;
    assert_eq!(
        told[3],
        (12, "unreadable: missing right: watch nodes (no)".to_owned())
    );
    assert_eq!(told[4].1, "complete");
    // Told at the second refusal, asked again after 5, 10 and 20 s, then a bookmark after one second.
    assert_eq!(told[4].0, 48);
    assert_eq!((told.len(), bench.lists()), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn a_right_that_was_never_there_is_asked_for_until_it_is() {
    let answers = then_quiet(
        &[
            WatchAnswer::Refuse(403, None),
            WatchAnswer::Refuse(403, None),
            filled(),
        ],
        10,
    );
    let mut bench = PumpBench::new(nodes(), &answers);
    let told = bench.words(30).await;
    assert_eq!(
        told,
        [
            "unreadable: missing right: watch nodes (no)",
            "begin",
            "object a",
            "synced"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_refusal_by_a_server_that_is_starting_is_not_reported() {
    let answers = then_quiet(&[filled(), WatchAnswer::Refuse(403, None), probe(10)], 10);
    let mut bench = PumpBench::new(nodes(), &answers);
    assert_eq!(bench.words(30).await, ["begin", "object a", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn the_right_to_list_is_named_where_pages_are_refused() {
    let refused = WatchAnswer::Refuse(403, None);
    let mut bench = PumpBench::new(
        nodes(),
        &[WatchAnswer::Refuse(422, None), refused.clone(), refused],
    );
    assert_eq!(
        bench.words(5).await,
        ["begin", "begin", "unreadable: missing right: list nodes (no)"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_an_empty_one_until_it_is() {
    let mut answers = vec![WatchAnswer::Refuse(404, None); 4];
    answers.push(filled());
    let mut bench = PumpBench::new(target(Source::Policies), &then_quiet(&answers, 10));
    let told = bench.until(25).await;
    assert_eq!(told[..2], [(0, "begin".to_owned()), (0, "synced".to_owned())]);
    assert_eq!(
        told[2..],
        [
            (20, "begin".to_owned()),
            (20, "object a".to_owned()),
            (20, "synced".to_owned())
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_others_that_is_not_served_is_asked_for_ever_more_rarely() {
    let mut bench = PumpBench::new(
        target(Source::CiliumNodeConfigs),
        &vec![WatchAnswer::Refuse(404, None); 100],
    );
    let hour = bench.until(3_600).await;
    assert_eq!(
        hour,
        [(0, "begin".to_owned()), (0, "synced".to_owned())],
        "it stays known to be absent"
    );
    // After 0, 5, 15, 35, 75, 155 and 315 s, and every 300 s from then on; two versions each time.
    assert_eq!(bench.calls().len(), 2 * 17);
    assert_eq!(bench.snapshot().state, WatchState::Absent);
}

#[tokio::test(start_paused = true)]
async fn the_version_that_is_served_is_found() {
    let answers = then_quiet(&[WatchAnswer::Refuse(404, None), filled()], 10);
    let mut bench = PumpBench::new(target(Source::CiliumNodeConfigs), &answers);
    assert_eq!(bench.words(5).await, ["begin", "object a", "synced"]);
    assert!(bench.calls()[1].uri.starts_with("/apis/cilium.io/v2alpha1/"));
}

#[tokio::test(start_paused = true)]
async fn one_404_does_not_undo_what_was_served() {
    let gone = WatchAnswer::Refuse(404, None);
    let mut bench = PumpBench::new(
        nodes(),
        &then_quiet(&[filled(), quiet(10), gone.clone(), filled()], 10),
    );
    let told = bench.words(40).await;
    assert_eq!(
        told,
        ["begin", "object a", "synced", "begin", "object a", "synced"]
    );
    // Two do: the kind has been removed.
    let mut bench = PumpBench::new(nodes(), &[filled(), quiet(10), gone.clone(), gone]);
    let told = bench.until(16).await;
    assert_eq!(told[3..], [(15, "begin".to_owned()), (15, "synced".to_owned())]);
    assert_eq!(bench.snapshot().state, WatchState::Absent);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_renewed() {
    let answers = then_quiet(&[filled(), WatchAnswer::Refuse(401, None), probe(10)], 10);
    let mut bench = PumpBench::new(nodes(), &answers);
    assert_eq!(bench.words(30).await, ["begin", "object a", "synced"]);
    assert_eq!(bench.script.renewals.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_stays_missing_in_a_namespace_is_asked_for_ever_more_rarely() {
    let pods = Target::pods("shop", &evenkeel_core::policy::Selector::default(), true).unwrap();
    let mut bench = PumpBench::new(pods, &vec![WatchAnswer::Refuse(403, None); 100]);
    let told = bench.words(3_600).await;
    assert_eq!(told, ["unreadable: missing right: watch pods (no)"]);
    // After 0, 2, 7, 17, 37, 77, 157 and 317 s, and every 300 s from then on.
    assert_eq!(bench.calls().len(), 8 + 10);
    let mut bench = PumpBench::new(nodes(), &vec![WatchAnswer::Refuse(403, None); 200]);
    bench.words(3_600).await;
    // After 0, 2, 7, 17 and 37 s, and every 30 s from then on, as our own role may be mended.
    assert_eq!(bench.calls().len(), 5 + 118);
}
