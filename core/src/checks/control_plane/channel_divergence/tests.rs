//! The check on requests, watch caches and connections to etcd.

use rstest::rstest;

use super::*;
use crate::checks::control_plane::servers::world::{Played, play, says, start};
use crate::sample::{Observer, PageScope, SampleSubject};

const ID: &str = "cp-channel-divergence";
const LONG_AGO: f64 = 1_799_000_000.0;
const STARTED: Played<'_> = (Metric::StartTime, "", [LONG_AGO; 3]);

/// Requests to etcd, failures and seconds, in a second, for `pods`; `leases` are served well by all.
fn etcd(requests: [f64; 3], errors: [f64; 3], seconds: [f64; 3]) -> Vec<Played<'static>> {
    vec![
        STARTED,
        (Metric::EtcdRequests, "pods", requests),
        (Metric::EtcdErrors, "pods", errors),
        (Metric::EtcdSeconds, "pods", seconds),
        (Metric::EtcdRequests, "leases", [50.0; 3]),
        (Metric::EtcdErrors, "leases", [0.0; 3]),
        (Metric::EtcdSeconds, "leases", [0.5; 3]),
    ]
}

#[rstest]
#[case::healthy([5.0; 3], [0.0; 3], [0.05; 3], "Met")]
#[case::one_fails([5.0; 3], [0.0, 2.0, 0.0], [0.05; 3], "Violated critical Fails")]
#[case::all_fail([5.0; 3], [2.0; 3], [0.05; 3], "Met")]
#[case::one_is_slow([5.0; 3], [0.0; 3], [0.05, 30.0, 0.05], "Violated critical Slow")]
#[case::all_are_slow([5.0; 3], [0.0; 3], [30.0; 3], "Met")]
#[case::a_little_slower([5.0; 3], [0.0; 3], [0.05, 2.0, 0.05], "Met")]
#[case::hardly_asked([0.01; 3], [0.0, 0.01, 0.0], [0.0; 3], "Met")]
fn channels(
    #[case] requests: [f64; 3],
    #[case] errors: [f64; 3],
    #[case] seconds: [f64; 3],
    #[case] expected: &str,
) {
    assert_eq!(says(ID, &etcd(requests, errors, seconds)), expected);
}

#[test]
fn timeouts_of_one_resource_are_enough() {
    let played = [
        STARTED,
        (Metric::ResourceRequests, "persistentvolumeclaims", [2.0; 3]),
        (Metric::GatewayTimeouts, "persistentvolumeclaims", [0.0, 0.0, 1.0]),
    ];
    let mut world = start();
    play(&mut world, 7, &played);
    assert_eq!(
        world.message(ID),
        "API server 192.0.2.3 fails at least 50 % of the requests for persistentvolumeclaims, and the others do not",
        "within three minutes"
    );
}

/// Revisions that the watch cache of `pods` has reached on each, at samples 30 s apart.
fn caches(revisions: &[[f64; 3]]) -> String {
    let mut world = start();
    for (step, of_each) in revisions.iter().enumerate() {
        if step > 0 {
            world.wait(30);
        }
        let step = f64::from(u32::try_from(step).unwrap());
        let mut samples = Vec::new();
        for (at, revision) in (1_u8..).zip(of_each) {
            let address = [192, 0, 2, at].into();
            samples.push((Metric::StartTime, SampleSubject::Instance(address), LONG_AGO));
            let pods = SampleSubject::Resource(address, "pods");
            samples.push((Metric::EtcdRequests, pods, step));
            samples.push((Metric::WatchCacheRevision, pods, *revision));
        }
        world.measure(Observer::Prometheus, PageScope::Instances, &samples);
    }
    world.verdict(ID)
}

/// Revisions as they are after years: each is 4e9 and more.
fn cache(of: impl Fn(f64) -> [f64; 3]) -> String {
    let revisions: Vec<_> = (0_u32..10)
        .map(|step| of(f64::from(step)).map(|one| one + 4e9))
        .collect();
    caches(&revisions)
}

#[test]
fn a_cache_that_gets_old_changes_is_behind() {
    assert_eq!(cache(|step| [30.0 * step; 3]), "Met", "all keep up");
    let late = |step: f64| [30.0 * step, 9.0 * step, 30.0 * step];
    assert_eq!(cache(late), "Violated critical Behind");
    // One large change in a quiet cluster, and one sibling reads it a sample later.
    let once = |step: f64| if step < 9.0 { [1.0; 3] } else { [5.0, 1.0, 5.0] };
    assert_eq!(cache(once), "Met");
    // Its last change is long ago; the other has asked etcd for its newest revision since.
    let quiet = |step: f64| [1.0 + 30.0 * step, 1.0, 1.0 + 30.0 * step];
    assert_eq!(cache(quiet), "Met", "it stands still");
    let two = |step: f64| [30.0 * step, 9.0 * step, 9.0 * step];
    assert_eq!(cache(two), "Met", "two are behind: that is no channel of one");
}

#[test]
fn one_large_list_is_no_channel() {
    let mut world = start();
    play(&mut world, 6, &etcd([0.1; 3], [0.0; 3], [0.005; 3]));
    world.wait(30);
    // Three more requests to etcd, of which one takes 40 s: the mean over 120 s is above 3 s.
    let pods = SampleSubject::Resource("192.0.2.2".parse().unwrap(), "pods");
    let once = [
        (Metric::EtcdRequests, pods, 18.0),
        (Metric::EtcdErrors, pods, 0.0),
        (Metric::EtcdSeconds, pods, 40.9),
    ];
    world.measure(Observer::Prometheus, PageScope::Instances, &once);
    assert_eq!(world.verdict(ID), "Met");
}

#[test]
fn one_that_has_just_started_fills_its_caches() {
    let mut played = etcd([5.0; 3], [0.0; 3], [0.05, 30.0, 0.05]);
    played[0].2[1] = 1_799_999_900.0;
    assert_eq!(says(ID, &played), "Met");
}

#[test]
fn a_cache_that_is_behind_alone_is_at_risk() {
    let mut played = etcd([5.0; 3], [0.0; 3], [0.05; 3]);
    played.push((Metric::ConsistentReadFallbacks, "pods", [0.0, 1.0, 0.0]));
    assert_eq!(says(ID, &played), "AtRisk warning FallsBack");
    played.pop();
    played.push((Metric::ConsistentReadFallbacks, "pods", [1.0; 3]));
    assert_eq!(says(ID, &played), "Met");
}

#[test]
fn without_samples_of_one_it_is_unknown() {
    assert_eq!(
        says(ID, &etcd([5.0, f64::NAN, 5.0], [0.0; 3], [0.0; 3])),
        "Met",
        "leases are measured there"
    );
    assert_eq!(says(ID, &[STARTED]), "Unknown unknown");
}
