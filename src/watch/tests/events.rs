//! Events are followed from now on and never listed.

use super::pump::watch;
use super::*;

const NEWS: &str = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";

#[tokio::test(start_paused = true)]
async fn events_are_heard_from_now_on_and_never_listed() {
    let none = watch(&[Act::Pause(290_000), Act::End]);
    let some = watch(&[Act::Pause(280_000), added("e", 70), Act::Pause(10_000), Act::End]);
    let mut bench = PumpBench::new(target(Source::Events), &[none.clone(), some, none.clone(), none]);
    // No bookmark comes, and nothing is wrong.
    assert_eq!(bench.words(1_100).await, ["begin", "synced", "object e"]);
    let uris: Vec<_> = bench.calls().into_iter().map(|call| call.uri).collect();
    assert!(uris[0].contains(NEWS) && uris[1].contains(NEWS), "{uris:?}");
    // The version of ten seconds ago is one to go on from, the one of five minutes ago is not.
    assert!(uris[2].contains("&resourceVersion=70&"), "{uris:?}");
    assert!(uris[3].contains(NEWS), "{uris:?}");
    assert_eq!(uris.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn events_that_a_break_has_swallowed_are_not_claimed() {
    let answers = [
        watch(&[Act::Pause(20_000), added("e", 70), Act::Pause(20_000), Act::Break]),
        watch(&[Act::Pause(3_000), Act::End]),
        watch(&[Act::Pause(280_000), Act::Break]),
        watch(&[Act::Pause(3_000), Act::End]),
        watch(&[]),
    ];
    let mut bench = PumpBench::new(target(Source::Events), &answers);
    let told = bench.words(500).await;
    // The first break is mended from the version; by the second that is too old.
    assert_eq!(told, ["begin", "synced", "object e", "stale", "complete"]);
    let uris: Vec<_> = bench.calls().into_iter().map(|call| call.uri).collect();
    assert!(uris[1].contains("&resourceVersion=70&"), "{uris:?}");
    assert!(
        uris[3].contains(NEWS) && uris[3].contains("timeoutSeconds=3&"),
        "{uris:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn events_of_an_older_server_are_followed_from_the_version_that_one_of_them_comes_with() {
    let none = watch(&[Act::Pause(290_000), Act::End]);
    let answers = [
        WatchAnswer::Refuse(422, None),
        page(30, "more", &["any"]),
        none.clone(),
        page(40, "", &[]),
        none,
    ];
    let mut bench = PumpBench::new(target(Source::Events), &answers);
    let listed = ["begin", "page of 1", "synced"];
    assert_eq!(
        bench.words(300).await,
        [listed, ["begin", "page of 0", "synced"]].concat()
    );
    let uris: Vec<_> = bench.calls().into_iter().map(|call| call.uri).collect();
    assert_eq!(uris[1], "/api/v1/events?limit=1");
    assert!(uris[2].contains("&resourceVersion=30&"), "{uris:?}");
    assert!(uris[4].contains("&resourceVersion=40&"), "{uris:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_became_an_older_one_is_asked_for_the_version_of_events() {
    let none = watch(&[Act::Pause(290_000), Act::End]);
    let answers = [
        none,
        WatchAnswer::Refuse(422, None),
        page(30, "", &[]),
        watch(&[]),
    ];
    let mut bench = PumpBench::new(target(Source::Events), &answers);
    let told = bench.words(300).await;
    assert_eq!(told, ["begin", "synced", "begin", "page of 0", "synced"]);
}
