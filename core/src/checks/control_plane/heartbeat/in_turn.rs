//! Webhooks that may be ignored, none of them too slow by itself, but together.

use std::collections::BTreeMap;

use super::super::calls::{CallScope, ComponentCall, REQUESTS};
use super::super::requests::{Reach, reach};
use super::in_the_way::{BlockCause, InTheWay, Together};
use crate::judge::{Look, Severity, Verdict};
use crate::know::Known;
use crate::names::Key;
use crate::sources::webhook::{Webhook, WebhookConfiguration};

/// The kind of configuration whose webhooks are asked one after the other: k8s.io/apiserver
/// `pkg/admission/plugin/webhook/mutating/dispatcher.go`. Those of the other kind, which come afterwards, are asked at the
/// same time (`validating/dispatcher.go`).
const IN_TURN: &str = "MutatingWebhookConfiguration";

/// A webhook that is asked about a request and may be ignored.
struct IgnorableHook<'a> {
    configuration: Key,
    hook: &'a Webhook,
    reach: Reach,
}

/// Webhooks that are ignored too late together, of which this configuration has the first.
pub(super) fn delays(look: &Look<'_>, key: Key, row: &WebhookConfiguration) -> Known<Verdict> {
    if !is_in_turn(look, key) || row.webhooks.iter().all(|hook| hook.fails) {
        return Ok(Verdict::Met);
    }
    let all = look.webhooks()?;
    for request in &REQUESTS {
        let Some(patience) = request.patience else {
            continue;
        };
        let (mut in_turn, mut at_once) = (Vec::new(), Vec::new());
        for (configuration, row) in all.iter() {
            let hooks = row.webhooks.iter().filter(|hook| !hook.fails);
            for hook in hooks {
                let Some((reach, _)) = reach(look, hook, request)? else {
                    continue;
                };
                let asked = IgnorableHook {
                    configuration,
                    hook,
                    reach,
                };
                if is_in_turn(look, configuration) {
                    in_turn.push(asked);
                } else {
                    at_once.push(asked);
                }
            }
        }
        // The API server asks them by the names of their configurations
        // (`pkg/admission/configuration/mutating_webhook_manager.go`).
        in_turn.sort_by_key(|one| look.names().text(one.configuration.name));
        let first = in_turn.first().is_some_and(|one| one.configuration == key);
        if let Some(found) = found(&in_turn, &at_once, patience).filter(|_| first) {
            return Ok(Verdict::at_risk(case(look, &in_turn[0], request, found)));
        }
    }
    Ok(Verdict::Met)
}

fn is_in_turn(look: &Look<'_>, configuration: Key) -> bool {
    look.names().text(configuration.namespace) == IN_TURN
}

/// What their timeouts come to, where that is too much and none of those that are asked in turn is too slow by itself.
fn found(in_turn: &[IgnorableHook<'_>], at_once: &[IgnorableHook<'_>], patience: u32) -> Option<Together> {
    let longest = |of: Option<Key>| {
        let hooks = at_once
            .iter()
            .filter(|one| of.is_none() || one.hook.service == of);
        hooks.map(|one| one.hook.timeout_seconds).max()
    };
    let alone = in_turn.iter().any(|one| one.hook.timeout_seconds >= patience);
    if alone || in_turn.is_empty() {
        return None;
    }
    let mut by_service: BTreeMap<Option<Key>, (u32, u32)> = BTreeMap::new();
    for one in in_turn {
        let sum = by_service.entry(one.hook.service).or_default();
        *sum = (sum.0 + 1, sum.1.saturating_add(one.hook.timeout_seconds));
    }
    let of_one = by_service
        .iter()
        .filter_map(|(service, (count, sum))| Some(((*service)?, *count, *sum)))
        .map(|(service, count, sum)| match longest(Some(service)) {
            Some(more) => (count + 1, sum.saturating_add(more)),
            None => (count, sum),
        })
        .max_by_key(|(_, sum)| *sum);
    let together = |(count, total): (u32, u32), one_backend| Together {
        others: count.saturating_sub(1),
        total,
        patience,
        one_backend,
    };
    if let Some(sum) = of_one.filter(|(count, sum)| *count > 1 && *sum >= patience) {
        return Some(together(sum, true));
    }
    let all = by_service.values().fold((0, 0), |held: (u32, u32), one| {
        (held.0 + one.0, held.1.saturating_add(one.1))
    });
    (all.1 >= patience).then(|| together(all, false))
}

fn case(look: &Look<'_>, first: &IgnorableHook<'_>, request: &ComponentCall, found: Together) -> InTheWay {
    let service = first.hook.service.filter(|_| found.one_backend);
    InTheWay {
        webhook: first.hook.name.clone(),
        what: request.what,
        in_namespace: request.scope != CallScope::Cluster,
        reach: first.reach,
        stops: Severity::Warning,
        service: service.map(|service| look.show(service).into()),
        ready: 0,
        cause: BlockCause::TooSlowTogether(found),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::know::Source;
    use crate::world::World;

    const ID: &str = "admission-heartbeat-block";

    /// Webhooks that may be ignored, by Service and timeout (`a2` is Service a, 2 s), one configuration for each list.
    fn configurations(kind: &str, lists: &[&str]) -> Vec<Value> {
        let hook = |(at, text): (usize, &str)| {
            let (service, seconds) = text.split_at(1);
            let seconds: u32 = seconds.parse().unwrap();
            json!({
                "name": format!("{at}.{service}.example.com"), "failurePolicy": "Ignore", "timeoutSeconds": seconds,
                "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}],
                "clientConfig": {"service": {"namespace": "guard", "name": service}},
            })
        };
        let of = |(at, list): (usize, &&str)| {
            let hooks: Vec<Value> = list.split(' ').enumerate().map(hook).collect();
            json!({"kind": kind, "metadata": {"name": format!("c{at}")}, "webhooks": hooks})
        };
        lists.iter().enumerate().map(of).collect()
    }

    const MUTATING: &str = "MutatingWebhookConfiguration";
    const VALIDATING: &str = "ValidatingWebhookConfiguration";
    const TOGETHER: &[&str] = &["AtRisk warning TooSlowTogether"];
    const APART: &[&str] = &["AtRisk info TooSlowTogether"];

    #[rstest]
    #[case::below(MUTATING, &["a2 a2"], &[])]
    #[case::as_long_as_a_leader_waits(MUTATING, &["a2 a3"], TOGETHER)]
    #[case::in_two_configurations(MUTATING, &["a3", "a3"], TOGETHER)]
    #[case::of_two_services(MUTATING, &["a3", "b3"], APART)]
    #[case::at_the_same_time(VALIDATING, &["a3 a3"], &[])]
    #[case::one_is_enough(MUTATING, &["a5 a3"], &["AtRisk warning TooSlowToIgnore"])]
    #[case::one_alone(MUTATING, &["a4"], &[])]
    fn timeouts_that_add_up(#[case] kind: &str, #[case] lists: &[&str], #[case] expected: &[&str]) {
        let mut world = World::complete().all(Source::Webhooks, &configurations(kind, lists));
        assert_eq!(world.found(ID), expected);
    }

    #[test]
    fn a_validating_one_of_the_same_service_comes_on_top() {
        let all = |validating: &str| {
            let mut all = configurations(MUTATING, &["a1 a2"]);
            all.extend(configurations(
                VALIDATING,
                &[&format!("{validating}2 {validating}1")],
            ));
            World::complete().all(Source::Webhooks, &all)
        };
        assert_eq!(all("a").found(ID), TOGETHER);
        assert!(all("b").found(ID).is_empty());
        assert_eq!(
            all("a").message(ID),
            "webhook 0.a.example.com and 2 more in turn are ignored only after 5 s, but writers of Leases in kube-system \
             give up after 5 s"
        );
    }

    /// As Gatekeeper's: it is asked once to change an object, and once more about what came of it.
    #[rstest]
    #[case::of_its_own_service("a3", TOGETHER)]
    #[case::of_another_service("b3", &[])]
    fn one_of_each_kind(#[case] validating: &str, #[case] expected: &[&str]) {
        let mut all = configurations(MUTATING, &["a3"]);
        all.extend(configurations(VALIDATING, &[validating]));
        let mut world = World::complete().all(Source::Webhooks, &all);
        assert_eq!(world.found(ID), expected);
    }
}
