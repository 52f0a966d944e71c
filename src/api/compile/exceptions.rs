//! Exceptions: of a team for what its policy reports, of the platform for everything else.

use std::sync::Arc;

use evenkeel_core::checks;
use evenkeel_core::judge::Judge;
use evenkeel_core::know::Wall;
use evenkeel_core::policy as core;

use super::super::{ClusterException, ExceptedSubject, Exception, SubjectKind};
use super::reader::ProblemReader;

/// Those of a team's policy, which was last written then.
pub(super) fn team(
    exceptions: &[Exception],
    since: Option<Wall>,
    knows_check: &dyn Fn(&str) -> bool,
    reader: &mut ProblemReader,
) -> Vec<core::Exception> {
    reader.unique(
        "spec.exceptions",
        exceptions.iter().map(|exception| &*exception.check),
    );
    let entries = exceptions.iter().enumerate();
    let compiled = entries.filter_map(|(index, one)| {
        let path = format!("spec.exceptions[{index}]");
        if !knows_check(&one.check) {
            unknown(&path, &one.check, reader);
        }
        exception(&path, (&one.check, &one.reason, &one.expires_at), since, reader)
    });
    compiled.collect()
}

/// Those of the platform's policy, which was last written then.
pub(super) fn platform(
    exceptions: &[ClusterException],
    since: Option<Wall>,
    reader: &mut ProblemReader,
) -> Vec<core::PlatformException> {
    let keys: Vec<String> = exceptions.iter().map(key).collect();
    reader.unique("spec.exceptions", keys.iter().map(String::as_str));
    let entries = exceptions.iter().enumerate();
    let compiled = entries.filter_map(|(index, one)| {
        let path = format!("spec.exceptions[{index}]");
        judges(&path, one, reader);
        let subject = subject(&one.subject);
        let exception = exception(&path, (&one.check, &one.reason, &one.expires_at), since, reader)?;
        Some(core::PlatformException { exception, subject })
    });
    compiled.collect()
}

/// What identifies an exception of the platform: there is one for each check and subject.
fn key(one: &ClusterException) -> String {
    let subject = &one.subject;
    let name = subject.name.as_deref().unwrap_or_default();
    let namespace = subject.namespace.as_deref().unwrap_or_default();
    format!("{} {:?} {namespace}/{name}", one.check, subject.kind)
}

/// Reports where a check never has a finding of such a subject that is the platform's: the exception would be ignored.
fn judges(path: &str, one: &ClusterException, reader: &mut ProblemReader) {
    let Some(check) = checks::find(&one.check) else {
        unknown(path, &one.check, reader);
        return;
    };
    let kind = one.subject.kind;
    let (fits, instead) = match check.judge {
        Judge::Path(_) => (
            false,
            "connections that a team declares: its policy has the exceptions for it",
        ),
        Judge::Service(_) if !check.baseline => (
            false,
            "what a team declares: its policy has the exceptions for it",
        ),
        Judge::Service(_) => (kind == SubjectKind::Service, "Services"),
        // Where the objects themselves cannot be read, the cluster is the subject.
        Judge::Node(_) => (matches!(kind, SubjectKind::Node | SubjectKind::Cluster), "nodes"),
        Judge::Zone(_) => (matches!(kind, SubjectKind::Zone | SubjectKind::Cluster), "zones"),
        Judge::Webhook(_) => (
            matches!(kind, SubjectKind::Webhook | SubjectKind::Cluster),
            "webhooks",
        ),
        Judge::Workload(_) => (
            matches!(kind, SubjectKind::Workload | SubjectKind::Cluster),
            "workloads",
        ),
        Judge::Cluster(_) => (kind == SubjectKind::Cluster, "the cluster"),
    };
    if !fits {
        reader.problem(
            format!("{path}.subject.kind"),
            format!("{} judges {instead}", check.id),
        );
    }
}

fn subject(subject: &ExceptedSubject) -> core::ExceptedSubject {
    let name = subject.name.as_deref().map(Arc::from);
    let namespace = Arc::from(subject.namespace.as_deref().unwrap_or_default());
    match subject.kind {
        SubjectKind::Cluster => core::ExceptedSubject::Cluster,
        SubjectKind::Node => core::ExceptedSubject::Node(name),
        SubjectKind::Zone => core::ExceptedSubject::Zone(name),
        SubjectKind::Webhook => core::ExceptedSubject::Webhook(name),
        SubjectKind::Service => core::ExceptedSubject::Service { namespace, name },
        SubjectKind::Workload => core::ExceptedSubject::Workload { namespace, name },
    }
}

fn unknown(path: &str, check: &str, reader: &mut ProblemReader) {
    reader.problem(format!("{path}.check"), format!("there is no check {check}"));
}

/// One exception: its check, its reason and its end.
fn exception(
    path: &str,
    (check, reason, expires_at): (&str, &str, &str),
    since: Option<Wall>,
    reader: &mut ProblemReader,
) -> Option<core::Exception> {
    if reason.trim().is_empty() {
        reader.problem(format!("{path}.reason"), "must say why");
    }
    let Ok(end) = expires_at.parse::<jiff::Timestamp>() else {
        reader.problem(
            format!("{path}.expiresAt"),
            "must be a moment that exists, such as 2027-01-31T00:00:00Z",
        );
        return None;
    };
    Some(core::Exception {
        check: Arc::from(check),
        reason: Arc::from(reason),
        expires_at: Wall(end.as_second()),
        since,
    })
}
