//! The audit's page as people see it, on the clusters that they have.

use std::collections::BTreeMap;

use evenkeel_core::findings::{
    EvidenceView, ExceptionView, Finding, FindingList, FindingVerdict, JudgedObjects, Met, NotJudged, Note,
    Remark, SubjectKind, SubjectView, Summary, Unreadable,
};
use evenkeel_core::judge::{Datum, Severity};
use evenkeel_core::know::{Origin, Source, Unit};
use rstest::rstest;

use super::{Aside, table};
use crate::render::screen::Screen;

/// What one audit shows.
struct Scene {
    list: FindingList,
    judged: JudgedObjects,
    met: BTreeMap<&'static str, Met>,
    notes: Vec<Note>,
}

fn service(at: usize) -> SubjectView {
    SubjectView {
        kind: SubjectKind::Service,
        namespace: format!("team-{:02}", at % 12),
        name: format!("api-{:02}", at % 36),
        port: None,
        connection: String::new(),
        client: String::new(),
    }
}

fn node(at: usize) -> SubjectView {
    SubjectView {
        kind: SubjectKind::Node,
        namespace: String::new(),
        name: format!("node-{at:04}"),
        ..service(0)
    }
}

fn finding(check: &'static str, severity: Severity, at: usize, subject: SubjectView) -> Finding {
    Finding {
        id: format!("{:016x}", (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        check,
        verdict: match severity {
            Severity::Critical => FindingVerdict::Violated,
            Severity::Unknown => FindingVerdict::Unknown,
            Severity::Warning | Severity::Info => FindingVerdict::AtRisk,
        },
        severity,
        subject,
        policy: None,
        exception: None,
        cause: "",
        message: String::new(),
        evidence: Vec::new(),
        advice: Vec::new(),
        since: None,
        blind: None,
    }
}

/// A connection that is silent for longer than IPVS remembers it.
fn silent(at: usize) -> Finding {
    let subject = SubjectView {
        port: Some(80),
        connection: "grpc".into(),
        client: format!("cart-{at}"),
        ..service(at)
    };
    let mut one = finding("path-idle-budget", Severity::Critical, at, subject);
    one.message = format!(
        "cart-{at} is silent for up to 1800 s, but the IPVS table of 40 nodes forgets the connection after 900 s by \
         default; no keepalive is sent"
    );
    one.evidence = vec![EvidenceView {
        what: "idleTimeout",
        value: Datum::Number(900),
        unit: Unit::Seconds,
        source: "ConfigMap kube-system/kube-proxy ipvs.tcpTimeout: 0s".into(),
        origin: Origin::Default,
    }];
    one.advice = vec![format!(
        "let cart-{at} send its first TCP keepalive at 450 s or sooner, and declare it"
    )];
    one
}

/// A check that a missing right keeps from judging.
fn blind(check: &'static str, source: Source) -> Finding {
    let subject = SubjectView {
        kind: SubjectKind::Cluster,
        namespace: String::new(),
        name: String::new(),
        ..service(0)
    };
    let mut one = finding(check, Severity::Unknown, check.len(), subject);
    one.message = format!("cannot be judged: {source} could not be read: missing right: list {source} (no)");
    one.advice = vec![format!("grant get and list on {source}, or see the reason above")];
    one.blind = Some(source);
    one
}

fn scene(mut findings: Vec<Finding>, met: &[(&'static str, u32)], judged: JudgedObjects) -> Scene {
    findings.sort_by_key(|one| (one.exception.is_some(), std::cmp::Reverse(one.severity)));
    let met = met.iter().map(|(check, count)| {
        let first = (0..Met::NAMED.min(*count as usize)).map(service).collect();
        (*check, Met { count: *count, first })
    });
    Scene {
        list: FindingList {
            api_version: "evenkeel.dev/v1alpha1",
            kind: "FindingList",
            findings,
            unreadable: Vec::new(),
            notes: Vec::new(),
            not_judged: Some(NotJudged {
                checks: vec![
                    "endpoint-flap",
                    "pod-churn-storm",
                    "node-cascade-wave",
                    "cp-stale-watch",
                ],
                reason: "an audit sees one moment, and only the operator sees what happens over time",
                policies: Vec::new(),
                policies_left: 0,
                left_in: BTreeMap::new(),
            }),
            summary: Summary::default(),
        },
        judged,
        met: met.collect(),
        notes: Vec::new(),
    }
}

fn judged(nodes: usize, services: usize, policies: usize) -> JudgedObjects {
    JudgedObjects {
        nodes: Some(nodes),
        services: Some(services),
        policies: Some(policies),
        platform: false,
    }
}

fn empty() -> Scene {
    scene(Vec::new(), &[], judged(0, 0, 0))
}

fn healthy() -> Scene {
    let met = [
        ("path-idle-budget", 12),
        ("keepalive-order", 12),
        ("backend-none-ready", 6),
        ("node-mass-loss", 1),
        ("detection-vs-grace", 1),
    ];
    scene(Vec::new(), &met, judged(3, 6, 2))
}

fn sick() -> Scene {
    let mut findings: Vec<_> = (0..120).map(silent).collect();
    for at in 0..3 {
        let mut one = finding(
            "backend-no-rebalance-path",
            Severity::Warning,
            200 + at,
            service(at),
        );
        one.message = "port 8080 carries GRPC, and neither the server nor every client ends a connection after a time: new \
                       backends stay idle"
            .into();
        one.advice =
            vec!["let the server end connections after 5 to 30 minutes with jitter, and declare it".into()];
        findings.push(one);
    }
    let mut accepted = silent(300);
    accepted.exception = Some(ExceptionView {
        reason: "calls are idempotent and retried".into(),
        expires_at: 1_801_000_000,
        capped_at: None,
    });
    findings.push(accepted);
    let mut gap = finding("proxy-config-drift", Severity::Unknown, 400, service(7));
    gap.message =
        "cannot be judged: ConfigMap kube-system/kube-proxy does not say when it was written".into();
    gap.advice = vec!["correct or provide the value named above".into()];
    findings.push(gap);
    let mut scene = scene(findings, &[("backend-none-ready", 36)], judged(40, 36, 12));
    scene.notes = (0..7)
        .map(|at| Note::OfPolicy {
            policy: format!("team-{at:02}/p"),
            remark: Remark {
                connection: None,
                said: "names Service apu, which does not exist in its namespace".into(),
            },
        })
        .collect();
    scene
}

fn unreadable() -> Scene {
    let findings = vec![
        blind("path-idle-budget", Source::Nodes),
        blind("node-mass-loss", Source::Nodes),
        blind("fleet-change-sync", Source::Nodes),
        blind("admission-heartbeat-block", Source::Webhooks),
        blind("detection-vs-grace", Source::Pods),
    ];
    let mut scene = scene(findings, &[("backend-none-ready", 6)], judged(0, 6, 2));
    scene.judged.nodes = None;
    for source in [Source::Nodes, Source::Pods, Source::Webhooks] {
        scene.list.unreadable.push(Unreadable {
            source: source.name().into(),
            reason: format!(
                "missing right: list {source} ({source} is forbidden: User \"jane\" cannot list it)"
            ),
        });
    }
    scene.list.unreadable.push(Unreadable {
        source: "deployments".into(),
        reason: "list deployments: no complete answer within 30 s".into(),
    });
    scene
}

fn large() -> Scene {
    let lost = (0..2100).map(|at| {
        let mut one = finding("cordon-lb-safety", Severity::Warning, at, node(at));
        one.message = format!("node-{at:04} is cordoned and still the only target of 3 load balancers");
        one.advice = vec!["let the load balancers know another node before it is drained".into()];
        one
    });
    scene(
        lost.collect(),
        &[("backend-none-ready", 10_000)],
        judged(5000, 10_000, 240),
    )
}

fn shown(scene: &Scene, columns: usize, all: bool, list_met: bool) -> String {
    let ignored = BTreeMap::new();
    let aside = Aside {
        hidden: 0,
        notes: &scene.notes,
        ignored: &ignored,
        again: String::new(),
        busiest: (scene.judged.services > Some(0)).then(|| "shop".to_owned()),
        grantee: "jane".into(),
        judged: scene.judged,
        checks: 43,
        met: &scene.met,
        all,
        list_met,
    };
    let screen = Screen {
        columns: Some(columns),
        colour: false,
    };
    table(&scene.list, &aside, screen)
}

#[rstest]
#[case::empty("empty", empty())]
#[case::healthy("healthy", healthy())]
#[case::sick("sick", sick())]
#[case::unreadable("unreadable", unreadable())]
#[case::large("large", large())]
fn pages(#[case] name: &str, #[case] scene: Scene) {
    let shown: Vec<_> = [80, 120, 200]
        .map(|columns| format!("{columns} columns\n\n{}", shown(&scene, columns, false, false)))
        .into();
    insta::assert_snapshot!(name, shown.join("\n"));
}

#[test]
fn what_is_met_is_listed_on_demand() {
    insta::assert_snapshot!("met", shown(&healthy(), 100, false, true));
}

/// Commands are there to be pasted, and one word may be longer than a line: neither is broken.
#[rstest]
#[case(80)]
#[case(100)]
#[case(200)]
fn rows_fit(#[case] columns: usize) {
    for scene in [empty(), healthy(), sick(), unreadable(), large()] {
        for line in shown(&scene, columns, true, true).lines() {
            let command = ["Next: evenkeel", "Could not", "note:", "  deployments"];
            let fits = line.chars().count() <= columns;
            assert!(fits || command.iter().any(|one| line.contains(one)), "{line}");
        }
    }
}

/// Causes that no repair has in common, such as one setting on each of a hundred load balancers.
#[test]
fn of_one_check_only_the_first_rows_are_shown() {
    let mut findings: Vec<_> = (0..100).map(silent).collect();
    for (at, one) in findings.iter_mut().enumerate() {
        one.evidence[0].source = format!("Service other/lb-{at}").into();
    }
    let scene = scene(findings, &[], judged(40, 36, 12));
    let page = shown(&scene, 100, false, false);
    assert_eq!(page.matches("path-idle-budget (critical)").count(), 5, "{page}");
    assert!(
        page.contains("  … 95 more rows of path-idle-budget with --all\n"),
        "{page}"
    );
    let all = shown(&scene, 100, true, false);
    assert!(all.matches("path-idle-budget (critical)").count() == 100 && !all.contains('…'));
}

/// Without nodes no Pod runs, so that nothing shows that all is well.
#[test]
fn a_cluster_without_nodes_is_not_well() {
    let scene = scene(Vec::new(), &[("backend-none-ready", 2)], judged(0, 1, 0));
    let page = shown(&scene, 100, false, false);
    assert!(
        page.contains(
            "Nothing is wrong, but there is no node: 2 met by 1 check, on 0 nodes, 1 Service and 0 policies.\n"
        ),
        "{page}"
    );
}

#[rstest]
#[case::alone(0, "on 2 nodes, 1 Service and the platform's policy")]
#[case::beside_others(3, "on 2 nodes, 1 Service, 3 policies and the platform's policy")]
fn the_policy_of_the_platform_counts(#[case] policies: usize, #[case] expected: &str) {
    let mut scene = scene(Vec::new(), &[("backend-none-ready", 2)], judged(2, 1, policies));
    scene.judged.platform = true;
    let page = shown(&scene, 200, false, false);
    assert!(page.contains(expected), "{page}");
}

/// Explaining a verdict that only a right is missing for would say that the right is missing.
#[test]
fn what_only_rights_are_missing_for_is_looked_at_again() {
    let mut scene = unreadable();
    scene.list.findings.retain(|one| one.blind.is_some());
    let page = shown(&scene, 100, false, false);
    assert!(
        page.ends_with("Next: evenkeel audit    # once the missing rights are granted\n"),
        "{page}"
    );
}

/// What is wrong with the whole cluster explains much of what is wrong with its Services.
#[test]
fn the_widest_of_the_worst_findings_is_explained_first() {
    let mut scene = sick();
    let mut lost = finding("node-mass-loss", Severity::Critical, 999, node(0));
    lost.subject.kind = SubjectKind::Cluster;
    let begin = format!("Next: evenkeel explain {}", &lost.id[..8]);
    scene.list.findings.push(lost);
    let page = shown(&scene, 100, false, false);
    assert!(page.contains(&begin), "{page}");
}

/// The page has families of checks in their order, which is not that of their ids.
#[test]
fn of_equal_findings_the_first_on_the_page_is_explained_first() {
    let findings = ["backend-minimum-ready", "path-idle-budget"].map(|check| {
        let at = usize::from(check == "path-idle-budget");
        finding(check, Severity::Warning, at, service(0))
    });
    let scene = scene(findings.into(), &[], judged(2, 6, 2));
    let page = shown(&scene, 100, false, false);
    let first = page.split(['[', ']']).nth(1).unwrap();
    assert!(
        page.ends_with(&format!("Next: evenkeel explain {first}\n")),
        "{page}"
    );
}

/// A draft with a mistake is mended before anything else is looked at.
#[test]
fn what_could_not_be_read_is_looked_at_again() {
    let mut scene = scene(Vec::new(), &[], judged(2, 6, 2));
    let (source, reason) = ("a.yaml, line 3".into(), "unknown field".into());
    scene.list.unreadable.push(Unreadable { source, reason });
    let page = shown(&scene, 100, false, false);
    assert!(
        page.ends_with("Next: evenkeel audit    # once all of it can be read\n"),
        "{page}"
    );
}

#[test]
fn a_row_for_each_finding_on_demand() {
    let scene = sick();
    let rows = |all| {
        shown(&scene, 100, all, false)
            .matches("path-idle-budget (critical)")
            .count()
    };
    assert_eq!((rows(false), rows(true)), (2, 121));
}
