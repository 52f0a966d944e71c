//! The policy of the platform: what every node runs now, and the sizes that its tables and its control plane have.

use std::collections::BTreeMap;

use anyhow::bail;
use evenkeel_core::Core;
use evenkeel_core::dataplane::ProxyMode;
use evenkeel_core::findings::FindingVerdict;
use evenkeel_core::judge::Look;
use evenkeel_core::know::{Known, Now};
use evenkeel_core::names::Key;
use evenkeel_core::sample::Metric;

use super::page::{CommentedYaml, list};
use super::{Heading, WrittenPolicies};
use crate::api::is_dns_label;
use crate::rights::refused;

/// Longest bound of a time, in seconds, as the schema allows (`Limits`).
const MOST_SECONDS: i64 = 2_592_000;

/// Namespaces that are proposed as trusted.
const MOST_TRUSTED: usize = 16;

/// Writes the policy of the platform.
///
/// # Errors
/// Where there is one already, or that cannot be seen.
pub(crate) fn platform(core: &Core, now: Now, head: &Heading<'_>) -> anyhow::Result<WrittenPolicies> {
    let look = Look::new(now, core.index(), core.fleet(), core.history());
    match look.cluster_policy() {
        Ok(None) => {}
        Ok(Some(_)) => bail!(
            "the cluster has a ClusterTrafficHealthPolicy already (kubectl get cthp cluster -o yaml); a second one cannot be"
        ),
        Err(gap) => bail!(
            "whether the cluster has a ClusterTrafficHealthPolicy is not known: {}",
            refused(&gap, "")
        ),
    }
    let mut page = head.page("The first policy of the platform");
    for row in [
        "---",
        "apiVersion: evenkeel.dev/v1alpha1",
        "kind: ClusterTrafficHealthPolicy",
        "metadata:",
        "  # There is one at most, under this name.",
        "  name: cluster",
        "spec:",
    ] {
        page.field(0, row);
    }
    ceiling(&mut page, core);
    data_plane(&mut page, core);
    conntrack(&mut page, &look);
    nodes(&mut page);
    control_plane(&mut page, core, &look, now);
    page.say(
        2,
        "Assumed: the defaults. Where so much is sick at once, nothing is ever done.",
    );
    page.field(2, "storm: {zoneUnhealthyPercent: 30, clusterUnhealthyPercent: 20, minimumNodes: 2, cooldownSeconds: 600}");
    Ok(WrittenPolicies {
        text: page.text,
        policies: 1,
        services: 0,
    })
}

/// What teams may do, and which namespaces are the platform's.
fn ceiling(page: &mut CommentedYaml, core: &Core) {
    page.say(2, "Yours: the namespaces whose teams may let evenkeel act. Without it, all may let it observe and suggest.");
    page.off(2, "ceiling:");
    page.off(2, "  namespaces: [shop]");
    page.off(2, "  recyclePods: {mode: Suggest, maxPerHour: 10}");
    page.off(2, "  maxExceptionDays: 180");
    page.say(
        2,
        "Assumed: the default. Nothing is ever done in these namespaces.",
    );
    page.field(2, "protectedNamespaces: [kube-system]");
    let index = core.index();
    let mut alike: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, key) in index.look_alikes() {
        let namespace = index.names.text(key.namespace);
        if is_dns_label(namespace) {
            *alike.entry(namespace).or_default() += 1;
        }
    }
    if !alike.is_empty() {
        page.say(
            2,
            "Seen: Pods or DaemonSets that look like proxies, network plugins or DNS, outside of the namespaces that are \
             believed. Yours: which of these namespaces belong to the platform.",
        );
        page.off(
            2,
            &format!(
                "trustedNamespaces: {}",
                list(alike.keys().copied().take(MOST_TRUSTED))
            ),
        );
    }
}

/// What every node runs.
fn data_plane(page: &mut CommentedYaml, core: &Core) {
    let classes = &core.fleet().classes;
    if classes.is_empty() {
        let gap = core.fleet().gap.as_ref();
        let why = gap.map_or_else(|| "there is no node".to_owned(), ToString::to_string);
        page.say(2, &format!("Not seen: what nodes run ({why})."));
        page.off(2, "dataPlane:");
        page.off(2, "  proxyMode: Nftables");
        return;
    }
    page.field(2, "dataPlane:");
    let mut modes: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut unknown, mut why) = (0, None);
    for class in classes {
        match &class.profile.mode {
            Ok(mode) => *modes.entry(written(mode.value)).or_default() += class.nodes,
            Err(gap) => {
                unknown += class.nodes;
                why = why.or(Some(gap));
            }
        }
    }
    let counted = modes
        .iter()
        .map(|(mode, nodes)| format!("{mode} on {nodes} nodes"));
    let mut counted: Vec<_> = counted.collect();
    if let Some(why) = why {
        counted.push(format!("not known of {unknown} ({why})"));
    }
    page.say(4, &format!("Seen: {}.", counted.join(", ")));
    match modes.keys().next() {
        Some(mode) if modes.len() == 1 && unknown == 0 => page.field(4, &format!("proxyMode: {mode}")),
        mode => page.off(4, &format!("proxyMode: {}", mode.unwrap_or(&"Nftables"))),
    }
    let idle = classes
        .iter()
        .map(|class| class.profile.service_idle_seconds.clone());
    let known: Vec<_> = idle.filter_map(|idle| idle.ok().flatten()).collect();
    let least = known.iter().min_by_key(|idle| idle.value);
    let most = known.iter().map(|idle| idle.value).max();
    let Some((least, most)) = least.zip(most) else {
        page.say(
            4,
            "Not seen: how long nodes keep an idle connection to a Service.",
        );
        page.off(4, "serviceIdleTimeoutSeconds: {minimum: 900}");
        return;
    };
    let (seconds, source) = (least.value, &least.source);
    let to = if most > seconds {
        format!(" to {most} s")
    } else {
        String::new()
    };
    page.say(
        4,
        &format!(
            "Seen: an idle connection to a Service is kept for {seconds} s{to} ({source}). Below the minimum is a finding."
        ),
    );
    let minimum = seconds.clamp(1, MOST_SECONDS);
    page.field(4, &format!("serviceIdleTimeoutSeconds: {{minimum: {minimum}}}"));
}

/// A mode as policies write it.
const fn written(mode: ProxyMode) -> &'static str {
    match mode {
        ProxyMode::Kernelspace => ProxyMode::Other.name(),
        other => other.name(),
    }
}

fn conntrack(page: &mut CommentedYaml, look: &Look<'_>) {
    page.field(2, "conntrack:");
    let fullest = fullest(look);
    let measured = match &fullest {
        Ok(Some((node, percent, source))) => {
            format!("Measured: the fullest is {node} at {percent} % ({source}). ")
        }
        Ok(None) => String::new(),
        Err(gap) => format!("Not measured: how full tables are ({gap}). "),
    };
    page.say(
        4,
        &format!("{measured}Assumed: the default. Above it a node's table is a finding."),
    );
    page.field(4, "maxOccupancyPercent: 75");
}

/// The node whose table is the fullest, by how many percent, and who says so; `None` where no node was measured.
fn fullest(look: &Look<'_>) -> Known<Option<(String, u64, String)>> {
    let names = look.names();
    let mut fullest: Option<(String, u64, String)> = None;
    for (key, _) in look.nodes()?.iter() {
        let [entries, limit] =
            [Metric::ConntrackEntries, Metric::ConntrackLimit].map(|metric| look.on_node(metric, key.name));
        let (Ok(entries), Ok(limit)) = (entries, limit) else {
            continue;
        };
        let [used, most] = [entries.value, limit.value].map(evenkeel_core::sample::whole);
        let percent = u64::from(used) * 100 / u64::from(most).max(1);
        if fullest.as_ref().is_none_or(|held| held.1 < percent) {
            fullest = Some((
                names.text(key.name).to_owned(),
                percent,
                entries.source().to_string(),
            ));
        }
    }
    Ok(fullest)
}

fn nodes(page: &mut CommentedYaml) {
    page.say(2, "Assumed: the defaults.");
    page.field(2, "nodes:");
    page.say(
        4,
        "So many nodes lost within the window, each fuller than before by so much, are a cascade.",
    );
    page.field(
        4,
        "cascade: {windowSeconds: 600, minimumNodes: 3, receivedPodsPercent: 20}",
    );
    page.say(
        4,
        "A node whose Ready changes so often within the window comes and goes.",
    );
    page.field(4, "flap: {transitions: 3, windowSeconds: 1800}");
    page.say(
        4,
        "Shares of time in which some task waits (PSI); judged where a Prometheus measures them.",
    );
    page.field(
        4,
        "pressure: {cpuSomePercent: 60, memorySomePercent: 20, ioSomePercent: 60, forSeconds: 60}",
    );
}

fn control_plane(page: &mut CommentedYaml, core: &Core, look: &Look<'_>, now: Now) {
    let serving = serving(look);
    let findings = core.findings(now).findings;
    let hidden = findings
        .iter()
        .find(|one| one.check == "detection-vs-grace" && one.verdict == FindingVerdict::Unknown);
    page.say(2, "What is expected of the control plane.");
    match serving {
        Ok(count) if (1..=99).contains(&count) => {
            page.field(2, "controlPlane:");
            let endpoints = if count == 1 { "endpoint" } else { "endpoints" };
            let hint = if count == 1 {
                " One address may stand for several."
            } else {
                ""
            };
            page.say(
                4,
                &format!("Seen: {count} ready {endpoints} of default/kubernetes.{hint}"),
            );
            page.field(4, &format!("expectedInstances: {count}"));
            assume(page, 4, hidden.map(|one| &*one.message));
        }
        other => {
            let why = other.err().map_or_else(
                || "no ready endpoint of default/kubernetes".into(),
                |gap| gap.to_string(),
            );
            page.say(2, &format!("Not seen: API servers ({why})."));
            page.off(2, "controlPlane:");
            page.off(2, "  expectedInstances: 3");
        }
    }
}

/// Settings of a control plane that hides them.
fn assume(page: &mut CommentedYaml, indent: usize, hidden: Option<&str>) {
    if let Some(message) = hidden {
        let message = message.strip_prefix("cannot be judged: ").unwrap_or(message);
        page.say(
            indent,
            &format!("Not seen: {message}. Yours: what the provider runs."),
        );
        page.off(indent, "assume:");
        page.off(indent, "  nodeMonitorGraceSeconds: 50");
    }
}

/// How many API servers serve.
fn serving(look: &Look<'_>) -> Known<usize> {
    let names = look.names();
    let (Some(namespace), Some(name)) = (names.find("default"), names.find("kubernetes")) else {
        return Ok(0);
    };
    let endpoints = look.endpoints(Key { namespace, name })?;
    Ok(endpoints.iter().filter(|one| one.ready).count())
}
