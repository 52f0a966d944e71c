//! How inputs that are about whole sources change what is believed.

use std::sync::Arc;

use evenkeel_core::index::Fresh;
use evenkeel_core::know::{Now, Source};
use evenkeel_core::policy::ClusterPolicy;
use evenkeel_core::{Core, Input};
use rstest::rstest;

const SOURCE: Source = Source::Nodes;

fn cluster() -> Input<'static> {
    Input::ClusterPolicy(Some(Arc::new(ClusterPolicy::default())))
}

#[rstest]
#[case::silent(&[Input::Begin(SOURCE), Input::Synced(SOURCE), Input::Silent(SOURCE)], Fresh::Complete)]
#[case::complete(&[Input::Begin(SOURCE), Input::Synced(SOURCE)], Fresh::Complete)]
#[case::never_read(&[], Fresh::Missing)]
#[case::half_read(&[Input::Begin(SOURCE)], Fresh::Missing)]
#[case::lost(&[Input::Synced(SOURCE), Input::Lost(SOURCE, "refused")], Fresh::Unreadable("refused".into()))]
fn a_sign_of_life_mends_silence_and_nothing_else(#[case] before: &[Input<'_>], #[case] after: Fresh) {
    let mut core = Core::default();
    for input in before {
        core.handle(Now::ONCE, copy(input)).unwrap();
    }
    core.handle(Now::ONCE, Input::Alive(SOURCE)).unwrap();
    assert_eq!(*core.index().fresh(SOURCE), after);
}

/// The inputs that these tables use.
fn copy<'a>(input: &Input<'a>) -> Input<'a> {
    match *input {
        Input::Begin(source) => Input::Begin(source),
        Input::Synced(source) => Input::Synced(source),
        Input::Silent(source) => Input::Silent(source),
        Input::Lost(source, why) => Input::Lost(source, why),
        _ => unreachable!("not in the tables"),
    }
}

fn held(core: &Core) -> bool {
    core.index().cluster_policy().is_some()
}

#[test]
fn a_list_that_leaves_out_the_platforms_policy_removes_it() {
    let mut core = Core::default();
    core.handle(Now::ONCE, Input::Begin(Source::ClusterPolicy))
        .unwrap();
    core.handle(Now::ONCE, cluster()).unwrap();
    core.handle(Now::ONCE, Input::Synced(Source::ClusterPolicy))
        .unwrap();
    assert!(held(&core));
    core.handle(Now::ONCE, Input::Begin(Source::ClusterPolicy))
        .unwrap();
    core.handle(Now::ONCE, cluster()).unwrap();
    core.handle(Now::ONCE, Input::Synced(Source::ClusterPolicy))
        .unwrap();
    assert!(held(&core));
    core.handle(Now::ONCE, Input::Begin(Source::ClusterPolicy))
        .unwrap();
    assert!(held(&core));
    core.handle(Now::ONCE, Input::Synced(Source::ClusterPolicy))
        .unwrap();
    assert!(!held(&core));
}

#[test]
fn a_good_platform_policy_takes_the_place_of_a_refused_one() {
    let told = |core: &Core| {
        let list = core.findings(Now::default());
        list.unreadable
            .iter()
            .any(|one| one.reason.contains("no such field"))
    };
    let mut core = Core::default();
    let refused = Input::Refused(Source::ClusterPolicy, "", "cluster", "no such field");
    core.handle(Now::ONCE, refused).unwrap();
    assert!(told(&core));
    core.handle(Now::ONCE, cluster()).unwrap();
    assert!(!told(&core));
}
