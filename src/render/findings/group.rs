//! Findings of one cause as one row: 120 Services behind one proxy are one thing to repair.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::findings::{Finding, FindingVerdict, SubjectKind, SubjectView};
use evenkeel_core::judge::Severity;

/// Findings that one repair may end: the same verdict of one check for the same cause, resting on the same objects.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// In the order of the list; never empty.
    pub(super) findings: Vec<&'a Finding>,
}

/// What findings of one group have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey<'a> {
    accepted: bool,
    severity: Severity,
    check: &'static str,
    verdict: FindingVerdict,
    cause: &'static str,
    /// What the evidence is that was read elsewhere than at the subject, and where it was read.
    sources: BTreeSet<(&'static str, &'a str)>,
}

/// The groups of these findings, in the order of their first ones; each finding is one where `apart`.
pub(super) fn groups<'a>(findings: impl Iterator<Item = &'a Finding>, apart: bool) -> Vec<Group<'a>> {
    gather(findings, |one| (key(one), apart.then_some(&*one.id)))
}

/// The groups of what could not be judged, by the reason alone: one gap may keep many checks from judging.
pub(super) fn gaps<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<Group<'a>> {
    gather(findings, gap)
}

fn gather<'a, K: Ord>(
    findings: impl Iterator<Item = &'a Finding>,
    key: impl Fn(&'a Finding) -> K,
) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut places = BTreeMap::new();
    for finding in findings {
        let place = *places.entry(key(finding)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.findings.push(finding),
            None => groups.push(Group {
                findings: vec![finding],
            }),
        }
    }
    groups
}

fn key(finding: &Finding) -> GroupKey<'_> {
    let evidence = finding.evidence.iter();
    let elsewhere = evidence.filter(|one| !is_own(&one.source, finding));
    GroupKey {
        accepted: finding.exception.is_some(),
        severity: finding.severity,
        check: finding.check,
        verdict: finding.verdict,
        cause: finding.cause,
        sources: elsewhere.map(|one| (one.what, &*one.source)).collect(),
    }
}

/// Whether a source is the subject itself, an object of its namespace, or the policy that asks for it.
fn is_own(source: &str, finding: &Finding) -> bool {
    let SubjectView { namespace, name, .. } = &finding.subject;
    let policy = finding
        .policy
        .as_deref()
        .and_then(|policy| policy.split_once('/'));
    if let (Some((_, policy)), Some(named)) = (policy, source.strip_prefix("policy "))
        && named.split(' ').next() == Some(policy)
    {
        return true;
    }
    let no_name = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '.' | '/' | '_'));
    let mut words = source.split(no_name).map(|word| word.trim_end_matches('.'));
    words.any(|word| {
        if namespace.is_empty() {
            !name.is_empty() && word == name
        } else {
            let rest = word.strip_prefix(&**namespace);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    })
}

/// How the message of a metric that was not measured begins; its name and the reason follow (`core/src/know.rs`).
const UNMEASURED: &str = "cannot be judged: not measured: ";

/// The metric that was not measured, and why not.
pub(super) fn unmeasured(message: &str) -> Option<(&str, &str)> {
    message.strip_prefix(UNMEASURED)?.split_once(": ")
}

/// Why it cannot be judged, without the name of what cannot and of the policy that asks for it. What fails for one metric as
/// for others, such as a Prometheus that cannot be reached, is one reason.
fn gap(finding: &Finding) -> String {
    if let Some((_, why)) = unmeasured(&finding.message) {
        return format!("{UNMEASURED}{why}");
    }
    let SubjectView { namespace, name, .. } = &finding.subject;
    let message = match &finding.policy {
        Some(policy) => finding.message.replace(&**policy, "…"),
        None => finding.message.clone(),
    };
    if name.is_empty() {
        message
    } else if namespace.is_empty() {
        message.replace(name, "…")
    } else {
        message.replace(&format!("{namespace}/{name}"), "…")
    }
}

/// So many of a kind, in words.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl<'a> Group<'a> {
    /// The one that is shown for all.
    pub(super) fn first(&self) -> Option<&'a Finding> {
        self.findings.first().copied()
    }

    /// The distinct Services, nodes and so on, those with the most findings first.
    pub(super) fn subjects(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for one in &self.findings {
            let whole = SubjectView {
                port: None,
                connection: String::new(),
                client: String::new(),
                ..one.subject.clone()
            };
            *counts.entry(short(&whole)).or_default() += 1;
        }
        let mut all: Vec<_> = counts.into_iter().collect();
        all.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        all.into_iter().map(|one| one.0).collect()
    }

    /// Whom it is about: the subject, or how many there are.
    pub(super) fn title(&self) -> String {
        let mut counts: BTreeMap<SubjectKind, BTreeSet<&SubjectView>> = BTreeMap::new();
        for one in &self.findings {
            counts.entry(one.subject.kind).or_default().insert(&one.subject);
        }
        if let (1, Some((_, subjects))) = (counts.len(), counts.first_key_value())
            && let (1, Some(subject)) = (subjects.len(), subjects.first())
        {
            return named(subject);
        }
        let parts = counts.iter().map(|(kind, subjects)| many(*kind, subjects));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// A subject with its kind.
fn named(subject: &SubjectView) -> String {
    if subject.kind == SubjectKind::Cluster {
        return "the cluster".into();
    }
    format!("{} {}", subject.kind.name(), short(subject))
}

/// A subject without its kind; long names lose their middle.
pub(super) fn short(subject: &SubjectView) -> String {
    let kind = subject.kind.name();
    let shown = subject.to_string();
    let name = shown.strip_prefix(kind).unwrap_or(&shown).trim_start();
    let words: Vec<_> = name.split(' ').map(shortened).collect();
    if words.join("").is_empty() {
        kind.to_lowercase()
    } else {
        words.join(" ")
    }
}

/// Most characters of a name in a row: most names of Kubernetes may have 253.
const NAME: usize = 60;

fn shortened(word: &str) -> String {
    let length = word.chars().count();
    if length <= NAME {
        return word.to_owned();
    }
    let head = word.chars().take(NAME / 2);
    let tail = word.chars().skip(length - (NAME / 2 - 1));
    head.chain(['…']).chain(tail).collect()
}

/// Subjects of one kind, counted.
fn many(kind: SubjectKind, subjects: &BTreeSet<&SubjectView>) -> String {
    let services: BTreeSet<_> = subjects.iter().map(|one| (&one.namespace, &one.name)).collect();
    let namespaces: BTreeSet<_> = subjects.iter().map(|one| &one.namespace).collect();
    let within = || match services.first() {
        Some((namespace, name)) if services.len() == 1 => {
            format!("Service {}", shortened(&format!("{namespace}/{name}")))
        }
        _ => {
            let namespaces = counted(namespaces.len(), "namespace", "namespaces");
            format!("{} Services in {namespaces}", services.len())
        }
    };
    match kind {
        SubjectKind::Service if subjects.iter().any(|one| one.port.is_some()) => {
            let connections = counted(subjects.len(), "connection", "connections");
            format!("{connections} of {}", within())
        }
        SubjectKind::Service => within(),
        SubjectKind::Node => counted(subjects.len(), "node", "nodes"),
        SubjectKind::Zone => counted(subjects.len(), "zone", "zones"),
        SubjectKind::Webhook => counted(subjects.len(), "webhook configuration", "webhook configurations"),
        SubjectKind::Workload => format!(
            "{} in {}",
            counted(subjects.len(), "workload", "workloads"),
            counted(namespaces.len(), "namespace", "namespaces")
        ),
        SubjectKind::Cluster => "the cluster".into(),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_core::findings::EvidenceView;
    use evenkeel_core::judge::Datum;
    use evenkeel_core::know::{Origin, Unit};
    use rstest::rstest;

    use super::*;
    use crate::render::tests::finding;

    fn of(namespace: &str, name: &str, sources: &[&str]) -> Finding {
        let mut one = finding("x");
        one.id = format!("{namespace}/{name}");
        one.subject = SubjectView {
            kind: SubjectKind::Service,
            namespace: namespace.into(),
            name: name.into(),
            port: None,
            connection: String::new(),
            client: String::new(),
        };
        one.exception = None;
        one.policy = Some(format!("{namespace}/rules-{name}"));
        one.evidence = sources
            .iter()
            .map(|source| EvidenceView {
                what: "idle",
                value: Datum::Number(900),
                unit: Unit::Seconds,
                source: (*source).into(),
                origin: Origin::Declared,
            })
            .collect();
        one
    }

    const PROXY: &str = "ConfigMap kube-system/kube-proxy ipvs.tcpTimeout: 0s";

    #[rstest]
    #[case::one_proxy(&[PROXY], &[PROXY], 1)]
    #[case::own_policies(&[PROXY, "policy shop/a x"], &[PROXY, "policy web/b x"], 1)]
    #[case::own_policies_by_name(&[PROXY, "policy rules-a grpc.protocol"], &[PROXY, "policy rules-b grpc.protocol"], 1)]
    #[case::anothers_policy(&[PROXY, "policy rules-a grpc.protocol"], &[PROXY, "policy rules-a grpc.protocol"], 2)]
    #[case::own_slices(&["EndpointSlices of shop/a"], &["EndpointSlices of web/b"], 1)]
    #[case::two_settings(&[PROXY], &["ConfigMap kube-system/cilium-config"], 2)]
    fn what_has_one_cause_is_one_group(#[case] a: &[&str], #[case] b: &[&str], #[case] expected: usize) {
        let findings = [of("shop", "a", a), of("web", "b", b)];
        assert_eq!(groups(findings.iter(), false).len(), expected);
        assert_eq!(groups(findings.iter(), true).len(), 2);
    }

    #[test]
    fn groups_count_and_name() {
        let mut findings: Vec<Finding> = (0..120)
            .map(|at| of(&format!("n{}", at % 12), &format!("s{}", at % 36), &[PROXY]))
            .collect();
        for (at, one) in findings.iter_mut().enumerate() {
            one.subject.port = Some(80);
            one.subject.client = format!("c{at}");
        }
        let groups = groups(findings.iter(), false);
        assert_eq!(
            groups[0].title(),
            "120 connections of 36 Services in 12 namespaces"
        );
        assert_eq!(groups[0].subjects().len(), 36);
    }

    #[test]
    fn another_severity_is_another_group() {
        let (a, mut b) = (of("shop", "a", &[]), of("shop", "b", &[]));
        b.severity = Severity::Info;
        assert_eq!(groups([&a, &b].into_iter(), false).len(), 2);
    }

    #[test]
    fn one_reason_is_one_gap_whatever_it_keeps_from_being_judged() {
        let (mut a, mut b) = (of("shop", "a", &[]), of("shop", "b", &[]));
        b.check = "keepalive-order";
        a.message = "cannot be judged: Service shop/a has no port".into();
        b.message = "cannot be judged: Service shop/b has no port".into();
        assert_eq!(gaps([&a, &b].into_iter()).len(), 1);
        a.message = "cannot be judged: policy shop/rules-a grpc.ping is not declared".into();
        b.message = "cannot be judged: policy shop/rules-b grpc.ping is not declared".into();
        assert_eq!(gaps([&a, &b].into_iter()).len(), 1);
    }

    #[test]
    fn long_names_lose_their_middle() {
        let one = of("shop", &"a".repeat(253), &[]);
        assert_eq!(short(&one.subject).chars().count(), NAME);
    }
}
