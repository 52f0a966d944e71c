//! Exceptions: which findings people have accepted for a time.
//!
//! A team's policy accepts what it reports itself: findings on the Services that it governs. Everything else is the
//! platform's: nodes, zones, webhooks, workloads, the cluster, and Services that no policy governs.

use std::sync::Arc;

use serde::Serialize;

use crate::index::Index;
use crate::judge::{Check, Judge, Subject};
use crate::know::Wall;
use crate::names::Name;
use crate::policy::{ExceptedSubject, Exception, Policy};

/// An exception, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionView {
    /// Why.
    pub reason: Arc<str>,
    /// Until when by its own word, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// Until when it counts, where the platform's `maxExceptionDays` ends it earlier, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capped_at: Option<i64>,
}

impl ExceptionView {
    /// Until when it counts, in seconds since the Unix epoch.
    pub fn until(&self) -> i64 {
        self.capped_at.unwrap_or(self.expires_at)
    }
}

/// The exception that counts now, and a word on one that only the platform's ceiling has ended.
pub(crate) fn accepted(
    index: &Index,
    now: Wall,
    check: &Check,
    subject: Subject,
) -> (Option<ExceptionView>, Option<String>) {
    let days = index.max_exception_days();
    if let Some(one) = exception(index, now, check, subject) {
        let end = one.ends_at(days, now);
        let view = ExceptionView {
            reason: one.reason.clone(),
            expires_at: one.expires_at.0,
            capped_at: (end < one.expires_at).then_some(end.0),
        };
        return (Some(view), None);
    }
    let by_its_own_word = |one: &&Exception| one.expires_at > now;
    let word = speaking_of(index, check, subject).find(by_its_own_word).map(|one| {
        let (days, end) = (days.unwrap_or_default(), one.ends_at(days, now));
        format!(
            "this was accepted until {} ({}), but counts again since {end}: exceptions last {days} days at most \
             (ClusterTrafficHealthPolicy spec.ceiling.maxExceptionDays) from the last time their policy was written; \
             repair it, or write the exception anew",
            one.expires_at, one.reason
        )
    });
    (None, word)
}

/// The exception that covers a finding now: by its own word, and within what the platform allows.
pub(crate) fn exception<'a>(
    index: &'a Index,
    now: Wall,
    check: &Check,
    subject: Subject,
) -> Option<&'a Exception> {
    let days = index.max_exception_days();
    speaking_of(index, check, subject).find(|one| one.ends_at(days, now) > now)
}

/// The exceptions for a finding, whether they count or not: those of the policy that reports it.
fn speaking_of<'a>(index: &'a Index, check: &Check, subject: Subject) -> impl Iterator<Item = &'a Exception> {
    let id = check.id;
    let owner = subject.policy();
    let team = owner.and_then(|policy| index.policies.get(policy));
    let team = team.into_iter().flat_map(|policy| &policy.exceptions);
    let platform = index.cluster_policy().filter(|_| owner.is_none());
    let platform = platform
        .into_iter()
        .flat_map(|policy| &policy.exceptions)
        .filter(move |one| covers(index, &one.subject, subject))
        .map(|one| &one.exception);
    team.chain(platform).filter(move |one| &*one.check == id)
}

/// Whether an exception for these subjects covers one.
fn covers(index: &Index, excepted: &ExceptedSubject, subject: Subject) -> bool {
    let is = |wanted: &Option<Arc<str>>, name: Name| {
        wanted
            .as_ref()
            .is_none_or(|wanted| index.names.text(name) == &**wanted)
    };
    match (excepted, subject) {
        (ExceptedSubject::Cluster, Subject::Cluster) => true,
        (ExceptedSubject::Node(wanted), Subject::Node(name))
        | (ExceptedSubject::Zone(wanted), Subject::Zone(name)) => is(wanted, name),
        (ExceptedSubject::Webhook(wanted), Subject::Webhook(key)) => is(wanted, key.name),
        (ExceptedSubject::Workload { namespace, name }, Subject::Workload(key)) => {
            index.names.text(key.namespace) == &**namespace && is(name, key.name)
        }
        (
            ExceptedSubject::Service { namespace, name },
            Subject::Service {
                service,
                policy: None,
            },
        ) => index.names.text(service.namespace) == &**namespace && is(name, service.name),
        _ => false,
    }
}

/// Checks that a team's policy has exceptions for, though it never reports their findings: they judge what is the
/// platform's.
pub(crate) fn without_effect(
    checks: &'static [Check],
    policy: &Policy,
) -> impl Iterator<Item = &'static str> {
    let named = policy.exceptions.iter();
    named
        .filter_map(|one| checks.iter().find(|check| *check.id == *one.check))
        .filter(|check| !matches!(check.judge, Judge::Path(_) | Judge::Service(_)))
        .map(|check| check.id)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::know::Source;
    use crate::names::Key;
    use crate::policy::{ClusterPolicy, PlatformException};
    use crate::standing::Reason;
    use crate::world::{World, balanced, dns, node, service};

    fn accepting(check: &str, subject: ExceptedSubject, expires_at: i64) -> ClusterPolicy {
        ClusterPolicy {
            exceptions: vec![PlatformException {
                exception: Exception {
                    check: check.into(),
                    reason: "planned".into(),
                    expires_at: Wall(expires_at),
                    since: None,
                },
                subject,
            }],
            ..ClusterPolicy::default()
        }
    }

    const LATER: i64 = 1_900_000_000;
    const BEFORE: i64 = 1_700_000_000;

    /// A cluster whose DNS has no ready Pod, and whether that is accepted.
    #[rstest]
    #[case::the_cluster(ExceptedSubject::Cluster, LATER, true)]
    #[case::has_ended(ExceptedSubject::Cluster, BEFORE, false)]
    #[case::nodes(ExceptedSubject::Node(None), LATER, false)]
    fn the_platform_accepts_findings_on_the_cluster(
        #[case] subject: ExceptedSubject,
        #[case] expires_at: i64,
        #[case] expected: bool,
    ) {
        let mut cluster = World::complete()
            .with(Source::Nodes, node("n1", ""))
            .with(Source::Deployments, dns(2, 0))
            .platform(accepting("dns-n1-headroom", subject, expires_at));
        let found = &cluster.findings("dns-n1-headroom")[0];
        assert_eq!(found.exception.is_some(), expected);
    }

    fn of_service(namespace: &str, name: Option<&str>) -> ExceptedSubject {
        ExceptedSubject::Service {
            namespace: namespace.into(),
            name: name.map(Into::into),
        }
    }

    #[rstest]
    #[case::by_name(of_service("shop", Some("api")), true)]
    #[case::of_the_namespace(of_service("shop", None), true)]
    #[case::another(of_service("shop", Some("web")), false)]
    #[case::elsewhere(of_service("store", Some("api")), false)]
    fn the_platform_accepts_findings_of_the_baseline(
        #[case] subject: ExceptedSubject,
        #[case] expected: bool,
    ) {
        let platform = accepting("backend-none-ready", subject, LATER);
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .platform(platform.clone());
        assert_eq!(
            world.findings("backend-none-ready")[0].exception.is_some(),
            expected
        );
        // What a team's policy reports, that policy alone accepts.
        let mut governed = World::complete()
            .with(Source::Services, service("api", json!({})))
            .platform(platform)
            .policy(balanced(None, None, None));
        assert!(governed.findings("backend-none-ready")[0].exception.is_none());
    }

    #[test]
    fn a_standing_names_exceptions_for_what_is_not_the_teams_own() {
        let mut policy = balanced(Some(1), None, None);
        for check in ["dns-n1-headroom", "backend-minimum-ready"] {
            policy.exceptions.push(Exception {
                check: check.into(),
                reason: "planned".into(),
                expires_at: Wall(LATER),
                since: None,
            });
        }
        let mut world = World::complete()
            .with(Source::Services, service("api", json!({})))
            .with(Source::Nodes, node("n1", ""))
            .with(Source::Deployments, dns(2, 0))
            .policy(policy);
        assert!(world.findings("dns-n1-headroom")[0].exception.is_none());
        let standing = world.core.standing(world.now, "shop", "p").unwrap();
        assert_eq!(standing.accepted.reason, Reason::ExceptionsWithoutEffect);
        assert!(standing.accepted.message.contains("dns-n1-headroom"));
        assert!(!standing.accepted.message.contains("backend-minimum-ready"));
    }

    #[test]
    fn what_is_accepted_does_not_make_the_platform_unhealthy_until_it_ends() {
        let mut live = World::watched(&[(Source::Nodes, node("n1", "")), (Source::Deployments, dns(2, 0))]);
        let end = live.now.wall.0 + 100;
        live.declare_platform(accepting("dns-n1-headroom", ExceptedSubject::Cluster, end));
        live.wait(99);
        let before = live.core.cluster_standing(live.now, "cluster").unwrap();
        assert_eq!((before.excepted, before.counts.violated), (1, 0));
        live.now.mono.0 += 1000;
        live.now.wall.0 += 1;
        // The end is a change by itself: the status has to be written again.
        let round = live.core.round(live.now);
        assert!(round.standings.contains(&Key::default()));
        let after = live.core.cluster_standing(live.now, "cluster").unwrap();
        assert_eq!((after.excepted, after.counts.violated), (0, 1));
    }
}
