//! A permit bounds the whole exchange, on servers that stop in the middle of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::api::PolicyRef;
use crate::client::scripted::{endless, link, whole};
use crate::lease::{Claim, REQUEST_TIMEOUT};

fn request() -> Request {
    Request::Status {
        policy: PolicyRef {
            namespace: "shop".into(),
            name: "checkout".into(),
        },
        precondition: Precondition::default(),
        status: json!({}),
    }
}

/// A clock by which virtual time alone counts.
fn virtual_clock() -> Clock {
    Clock::with_boot_clock(|| Duration::ZERO)
}

fn permit(clock: &Clock) -> Permit {
    let now = clock.now().mono;
    let claim = Claim {
        term: 5,
        until: now.plus(15_000),
    };
    claim.permit(now).expect("a live claim gives a permit")
}

#[rstest]
#[case::success(200)]
#[case::refusal(403)]
#[case::broken_server(500)]
#[tokio::test(start_paused = true)]
async fn headers_and_then_nothing_end_with_the_permit(#[case] code: u16) {
    let clock = virtual_clock();
    let link = link(move |_| async move { endless(code, "{\"metadata\":") });
    let sender = Sender::new(Arc::new(link), clock);
    let began = Instant::now();
    let reply = sender.send(permit(&clock), &request()).await;
    assert_eq!(reply, Reply::Lost(RequestError::Late(REQUEST_TIMEOUT)));
    assert_eq!(began.elapsed().as_secs(), REQUEST_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_late_but_in_time_counts() {
    let clock = virtual_clock();
    let link = link(|_| async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        whole(200, r#"{"metadata":{"resourceVersion":"8"}}"#)
    });
    let sender = Sender::new(Arc::new(link), clock);
    let reply = sender.send(permit(&clock), &request()).await;
    assert_eq!(reply, Reply::Ok("8".into()));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_since_the_permit_sends_nothing() {
    static BOOTED: AtomicU64 = AtomicU64::new(100);
    let clock = Clock::with_boot_clock(|| Duration::from_secs(BOOTED.load(Ordering::Relaxed)));
    let received = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    let link = link(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { whole(200, "{}") }
    });
    let sender = Sender::new(Arc::new(link), clock);
    let permit = permit(&clock);
    // The monotonic clock stands still meanwhile.
    BOOTED.store(160, Ordering::Relaxed);
    assert!(matches!(sender.send(permit, &request()).await, Reply::Lost(_)));
    assert_eq!(received.load(Ordering::Relaxed), 0);
}
