//! Policies for the Services of one namespace: one for those that are alike.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use evenkeel_core::Core;
use evenkeel_core::judge::{Look, ServiceCase};
use evenkeel_core::know::Now;
use evenkeel_core::names::Key;
use evenkeel_core::sources::service::{Service, ServiceType};

use super::backends::balance;
use super::connections::connections;
use super::page::{CommentedYaml, list, name};
use super::{Heading, WrittenPolicies};
use crate::api::is_dns_label;
use crate::rights::refused;

/// Most Services that one policy names, as the schema allows.
const MOST_NAMED: usize = 64;

/// Most paths of one policy that are judged (docs/api.md, `spec.connections`).
const MOST_PATHS: usize = 2000;

/// Services that are left out and named, for each reason.
const MOST_LEFT: usize = 20;

/// What a policy says of Services that are alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PolicyBody {
    page: CommentedYaml,
    /// Paths of each Service.
    paths: usize,
}

/// Writes policies for the Services of a namespace that no policy governs yet.
///
/// # Errors
/// Where its Services cannot be seen.
pub(crate) fn team(
    core: &Core,
    now: Now,
    namespace: &str,
    head: &Heading<'_>,
) -> anyhow::Result<WrittenPolicies> {
    if !is_dns_label(namespace) {
        bail!("{namespace} is no name that a namespace can have");
    }
    if let Some(gap) = core.unseen(namespace) {
        bail!(
            "what is governed in namespace {namespace} is not known: {}",
            refused(&gap, namespace)
        );
    }
    let look = Look::new(now, core.index(), core.fleet(), core.history());
    let mut alike: BTreeMap<PolicyBody, Vec<&str>> = BTreeMap::new();
    let mut left: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for called in core.services_of(namespace) {
        let names = look.names();
        let (Some(space), Some(own)) = (names.find(namespace), names.find(called)) else {
            continue;
        };
        let key = Key {
            namespace: space,
            name: own,
        };
        let Ok(Some(service)) = look.service(key) else {
            continue;
        };
        match aside(core, key, service, called) {
            Some(why) => left.entry(why).or_default().push(called),
            None => alike.entry(body(&look, key, service)).or_default().push(called),
        }
    }
    let mut page = head.page(&format!("First policies for namespace {namespace}"));
    for (why, services) in &left {
        page.say(0, &format!("Left out: {} ({why}).", some(services)));
    }
    let taken = core.policy_names(namespace).into_iter();
    let mut taken = taken.map(str::to_owned).collect();
    let mut policies: Vec<_> = alike.iter().collect();
    // In the order of the first Service of each.
    policies.sort_by(|a, b| a.1.cmp(b.1));
    let (mut count, mut services) = (0, 0);
    for (body, alike) in policies {
        let most = (MOST_PATHS / body.paths.max(1)).clamp(1, MOST_NAMED);
        for some in alike.chunks(most) {
            document(&mut page, namespace, some, body, &mut taken);
            count += 1;
            services += some.len();
        }
    }
    Ok(WrittenPolicies {
        text: page.text,
        policies: count,
        services,
    })
}

/// Why no policy is written for a Service, where none is.
fn aside(core: &Core, key: Key, service: &Service, called: &str) -> Option<String> {
    if !is_dns_label(called) || called.len() > 63 {
        return Some("no name that a Service can have".into());
    }
    let governing = core.index().policies_of(key, service);
    if let Some((_, policy)) = governing.iter().find(|one| !one.1.name.is_empty()) {
        return Some(format!("governed by policy {}", policy.name));
    }
    (service.kind == ServiceType::ExternalName)
        .then(|| "an alias in DNS, whose connections go past every table of the cluster".into())
}

/// The first few names, and how many more there are.
fn some(services: &[&str]) -> String {
    let named = services
        .iter()
        .take(MOST_LEFT)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match services.len().saturating_sub(MOST_LEFT) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// What stands behind `services`.
fn body(look: &Look<'_>, key: Key, service: &Service) -> PolicyBody {
    let case = ServiceCase {
        key,
        service,
        policy: None,
    };
    let mut page = CommentedYaml::default();
    balance(&mut page, look, &case);
    let paths = connections(&mut page, look, &case);
    PolicyBody { page, paths }
}

fn document(
    page: &mut CommentedYaml,
    namespace: &str,
    services: &[&str],
    body: &PolicyBody,
    taken: &mut BTreeSet<String>,
) {
    let Some(first) = services.first() else { return };
    let mut own = (*first).to_owned();
    let mut number = 1;
    while !taken.insert(own.clone()) {
        number += 1;
        own = format!("{first}-{number}");
    }
    page.field(0, "---");
    page.field(0, "apiVersion: evenkeel.dev/v1alpha1");
    page.field(0, "kind: TrafficHealthPolicy");
    page.field(0, "metadata:");
    page.field(2, &format!("name: {}", name(&own)));
    page.field(2, &format!("namespace: {}", name(namespace)));
    page.field(0, "spec:");
    page.field(2, "services:");
    match services.len() {
        1 => page.say(4, "Seen: no policy governs this Service."),
        count => page.say(
            4,
            &format!("Seen: no policy governs these {count} Services, which are alike."),
        ),
    }
    page.field(4, &format!("names: {}", list(services.iter().copied())));
    page.add(&body.page);
}
