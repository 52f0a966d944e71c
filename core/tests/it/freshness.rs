//! How inputs that are about whole sources change what is believed.

use std::sync::Arc;

use evenkeel_core::index::{Freshness, Part};
use evenkeel_core::know::{Now, Source};
use evenkeel_core::policy::ClusterPolicy;
use evenkeel_core::{Core, Input};
use rstest::rstest;

const SOURCE: Source = Source::Nodes;

fn cluster() -> Input<'static> {
    Input::ClusterPolicy(Some(Arc::new(ClusterPolicy::default())))
}

const WHOLE: Part<&str> = Part::Whole;
const SHOP: Part<&str> = Part::Namespace("shop");

/// What is believed of the whole and of namespace `shop`, after what was said.
fn believed(said: &[(Part<&str>, Freshness)]) -> (Freshness, Freshness) {
    let mut core = Core::default();
    for (part, freshness) in said {
        core.handle(Now::ONCE, Input::Freshness(SOURCE, *part, freshness.clone()));
    }
    let index = core.index();
    let shop = index.names.find("shop").unwrap_or_default();
    let part = Part::Namespace(shop);
    (
        index.freshness(SOURCE).clone(),
        index.freshness_of(SOURCE, part).clone(),
    )
}

#[rstest]
#[case::nothing(&[], Freshness::Missing, Freshness::Missing)]
#[case::the_whole(&[(WHOLE, Freshness::Complete)], Freshness::Complete, Freshness::Complete)]
#[case::one_namespace(&[(SHOP, Freshness::Complete)], Freshness::Missing, Freshness::Complete)]
#[case::refused_there(
    &[(WHOLE, Freshness::Complete), (SHOP, Freshness::Stale)],
    Freshness::Complete,
    Freshness::Stale
)]
#[case::read_there_alone(
    &[(WHOLE, Freshness::Stale), (SHOP, Freshness::Complete)],
    Freshness::Stale,
    Freshness::Complete
)]
#[case::withdrawn(
    &[(WHOLE, Freshness::Complete), (SHOP, Freshness::Stale), (SHOP, Freshness::Missing)],
    Freshness::Complete,
    Freshness::Complete
)]
fn a_part_speaks_for_itself(
    #[case] said: &[(Part<&str>, Freshness)],
    #[case] whole: Freshness,
    #[case] shop: Freshness,
) {
    assert_eq!(believed(said), (whole, shop));
}

#[test]
fn a_list_that_has_only_begun_is_not_believed() {
    let mut core = Core::default();
    core.handle(Now::ONCE, Input::Begin(SOURCE));
    assert_eq!(*core.index().freshness(SOURCE), Freshness::Missing);
    core.handle(Now::ONCE, Input::Synced(SOURCE));
    assert_eq!(*core.index().freshness(SOURCE), Freshness::Complete);
}

fn held(core: &Core) -> bool {
    core.index().cluster_policy().is_some()
}

#[test]
fn a_list_that_leaves_out_the_platforms_policy_removes_it() {
    let mut core = Core::default();
    core.handle(Now::ONCE, Input::Begin(Source::ClusterPolicy));
    core.handle(Now::ONCE, cluster());
    core.handle(Now::ONCE, Input::Synced(Source::ClusterPolicy));
    assert!(held(&core));
    core.handle(Now::ONCE, Input::Begin(Source::ClusterPolicy));
    core.handle(Now::ONCE, cluster());
    core.handle(Now::ONCE, Input::Synced(Source::ClusterPolicy));
    assert!(held(&core));
    core.handle(Now::ONCE, Input::Begin(Source::ClusterPolicy));
    assert!(held(&core));
    core.handle(Now::ONCE, Input::Synced(Source::ClusterPolicy));
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
    core.handle(Now::ONCE, refused);
    assert!(told(&core));
    core.handle(Now::ONCE, cluster());
    assert!(!told(&core));
}
