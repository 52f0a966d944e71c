//! A pump that takes over from one before it: what is read anew stays known meanwhile, and not for long.

use rstest::rstest;

use super::pump::watch;
use super::*;

/// A list that is long, as one namespace has many large objects: nobody is blinded by it, and not for long.
#[rstest]
// As long after the end of its list as any watch that is silent.
#[case::it_ends(4, &["begin", "object a", "object a", "object a", "object a", "synced"], 49)]
#[case::it_never_ends(
    9,
    &["begin", "object a", "object a", "object a", "object a", "object a", "object a", "object a"],
    60
)]
#[tokio::test(start_paused = true)]
async fn it_stays_known_while_its_list_comes(
    #[case] lines: usize,
    #[case] expected: &[&str],
    #[case] stale: u64,
) {
    let slow = (0..lines).flat_map(|_| [added("a", 9), Act::Pause(9_000)]);
    let acts: Vec<_> = slow.chain([end(10), Act::Pause(15_000), Act::End]).collect();
    let mut bench = PumpBench::heir(nodes(), &[watch(&acts)]);
    let told = bench.until(61).await;
    let words: Vec<_> = told.iter().map(|one| &*one.1).collect();
    assert_eq!(&words[..expected.len()], expected);
    let next = told.get(expected.len()).filter(|one| one.1 == "stale");
    assert_eq!(next.map(|one| one.0), Some(stale), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_is_not_known_for_long() {
    let mut bench = PumpBench::heir(nodes(), &[watch(&[Act::Pause(90_000)])]);
    let told = bench.until(20).await;
    let stale: Vec<_> = told
        .iter()
        .filter(|one| one.1 == "stale")
        .map(|one| one.0)
        .collect();
    assert_eq!(stale, [13], "{told:?}");
}
