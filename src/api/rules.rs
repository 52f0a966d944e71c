//! The rules across fields, as the schemas say them in CEL.
//!
//! Each function here is the twin of a rule in a schema, with the same field path. They run where no CEL engine is:
//! when a draft is judged on the command line, and when a policy is compiled, as the object may have been stored under
//! an older schema.

use super::{
    Balance, CLUSTER_POLICY_NAME, CiliumTuning, Client, ClusterTrafficHealthPolicySpec, Connection, Counts,
    ExceptedSubject, Hop, LabelOperator, LabelSelector, Layer, Limits, Measure, Mode, Ping, Problem,
    Protocol, RecyclePods, Services, State, SubjectKind, TcpKeepalive, TrafficHealthPolicySpec, Tuning,
    TuningBounds, Unlimited,
};

/// Asks the rules of a namespaced policy.
pub(super) fn policy(spec: &TrafficHealthPolicySpec, problems: &mut Vec<Problem>) {
    services(&spec.services, problems);
    if let Some(spread) = &spec.balance {
        balance(spread, problems);
    }
    for (index, entry) in spec.connections.iter().enumerate() {
        connection(entry, &format!("spec.connections[{index}]"), problems);
    }
    if let Some(recycle) = spec
        .remediation
        .as_ref()
        .and_then(|remediation| remediation.recycle_pods.as_ref())
    {
        recycle_pods(recycle, problems);
    }
}

/// Asks the rules of the cluster's policy.
pub(super) fn cluster(
    name: Option<&str>,
    spec: &ClusterTrafficHealthPolicySpec,
    problems: &mut Vec<Problem>,
) {
    if name != Some(CLUSTER_POLICY_NAME) {
        problems.push(Problem::new("", "the only allowed name is cluster"));
    }
    if let Some(ceiling) = &spec.ceiling {
        if ceiling
            .namespaces
            .iter()
            .any(|name| spec.protected_namespaces.contains(name))
        {
            let message = "a protected namespace cannot be under the ceiling too";
            problems.push(Problem::new("spec.ceiling.namespaces", message));
        }
        if ceiling
            .recycle_pods
            .as_ref()
            .is_some_and(|recycle| recycle.mode == Mode::Enforce)
            && ceiling.namespaces.is_empty()
        {
            let message = "mode Enforce needs the namespaces that it is for";
            problems.push(Problem::new("spec.ceiling.namespaces", message));
        }
    }
    for (index, exception) in spec.exceptions.iter().enumerate() {
        excepted(
            &exception.subject,
            &format!("spec.exceptions[{index}].subject"),
            problems,
        );
    }
    if let Some(bounds) = spec
        .data_plane
        .as_ref()
        .and_then(|plane| plane.service_idle_timeout_seconds.as_ref())
    {
        limits(bounds, "spec.dataPlane.serviceIdleTimeoutSeconds", problems);
    }
    if let Some(entry) = spec
        .conntrack
        .as_ref()
        .and_then(|conntrack| conntrack.tuning.as_ref())
    {
        tuning(entry, problems);
    }
}

fn excepted(subject: &ExceptedSubject, path: &str, problems: &mut Vec<Problem>) {
    if subject.kind == SubjectKind::Cluster && subject.name.is_some() {
        problems.push(Problem::new(format!("{path}.name"), "the cluster has no name"));
    }
    let is_namespaced = matches!(subject.kind, SubjectKind::Service | SubjectKind::Workload);
    if is_namespaced != subject.namespace.is_some() {
        let message = "a Service or workload needs its namespace, and nothing else has one";
        problems.push(Problem::new(path, message));
    }
}

fn services(services: &Services, problems: &mut Vec<Problem>) {
    if services.names.is_empty() == services.selector.is_none() {
        problems.push(Problem::new(
            "spec.services",
            "exactly one of names and selector must be set",
        ));
    }
    if let Some(chosen) = &services.selector {
        selector(chosen, "spec.services.selector", problems);
    }
}

fn selector(selector: &LabelSelector, path: &str, problems: &mut Vec<Problem>) {
    if selector.match_labels.keys().any(|key| key.chars().count() > 317) {
        problems.push(Problem::new(
            format!("{path}.matchLabels"),
            "a label key has at most 317 characters",
        ));
    }
    for (index, line) in selector.match_expressions.iter().enumerate() {
        let compares = matches!(line.operator, LabelOperator::In | LabelOperator::NotIn);
        let message = match (compares, line.values.is_empty()) {
            (true, true) => "values must not be empty for the operators In and NotIn",
            (false, false) => "values must be empty for the operators Exists and DoesNotExist",
            _ => continue,
        };
        problems.push(Problem::new(
            format!("{path}.matchExpressions[{index}].values"),
            message,
        ));
    }
}

fn balance(balance: &Balance, problems: &mut Vec<Problem>) {
    if let (Some(node), Some(zone)) = (balance.max_percent_per_node, balance.max_percent_per_zone)
        && node > zone
    {
        let message =
            "maxPercentPerNode must not exceed maxPercentPerZone: a zone holds all that its nodes hold";
        problems.push(Problem::new("spec.balance.maxPercentPerNode", message));
    }
    let Some(metric) = &balance.pod_metric else { return };
    if balance.measure == Measure::ActiveConnections && metric.counts != Counts::Connections {
        let message = "with measure ActiveConnections the metric is the number of open connections: counts must be Connections";
        problems.push(Problem::new("spec.balance.podMetric.counts", message));
    }
    if ["namespace", "evenkeel"].contains(&&*metric.pod_label) {
        let message = "the labels namespace and evenkeel hold something else than the Pod";
        problems.push(Problem::new("spec.balance.podMetric.podLabel", message));
    }
}

fn connection(connection: &Connection, path: &str, problems: &mut Vec<Problem>) {
    let udp = connection.protocol == Protocol::Udp;
    if let Some(server) = &connection.server {
        if udp && server.tcp_keepalive.is_some() {
            problems.push(Problem::new(
                format!("{path}.server.tcpKeepalive"),
                "UDP has no TCP keepalive",
            ));
        }
        if server.minimum_ping_interval_seconds.is_some()
            && !matches!(connection.protocol, Protocol::Http2 | Protocol::Grpc)
        {
            let field = format!("{path}.server.minimumPingIntervalSeconds");
            problems.push(Problem::new(field, "only HTTP2 and GRPC servers police pings"));
        }
        let path = format!("{path}.server");
        idle_or_never(server.idle_timeout, server.idle_timeout_seconds, &path, problems);
        age_or_never(
            server.max_connection_age,
            server.max_connection_age_seconds,
            &path,
            problems,
        );
        keepalive_and_ping(
            server.tcp_keepalive.as_ref(),
            server.ping.as_ref(),
            &path,
            problems,
        );
    }
    if udp
        && connection
            .clients
            .iter()
            .any(|client| client.tcp_keepalive.is_some())
    {
        let message = "UDP has no TCP keepalive: remove tcpKeepalive of every client";
        problems.push(Problem::new(format!("{path}.clients"), message));
    }
    if udp
        && connection.hops.iter().any(|hop| {
            hop.upstream
                .as_ref()
                .is_some_and(|one| one.tcp_keepalive.is_some())
        })
    {
        let message = "UDP has no TCP keepalive: remove tcpKeepalive of every hop's upstream";
        problems.push(Problem::new(format!("{path}.hops"), message));
    }
    for (index, entry) in connection.clients.iter().enumerate() {
        client(entry, &format!("{path}.clients[{index}]"), problems);
    }
    for (index, entry) in connection.hops.iter().enumerate() {
        hop(entry, &format!("{path}.hops[{index}]"), problems);
    }
}

fn client(client: &Client, path: &str, problems: &mut Vec<Problem>) {
    if let Some(pods) = &client.pod_selector {
        selector(pods, &format!("{path}.podSelector"), problems);
    }
    idle_or_never(client.idle_timeout, client.idle_timeout_seconds, path, problems);
    age_or_never(
        client.max_connection_age,
        client.max_connection_age_seconds,
        path,
        problems,
    );
    keepalive_and_ping(
        client.tcp_keepalive.as_ref(),
        client.ping.as_ref(),
        path,
        problems,
    );
}

fn keepalive_and_ping(
    keepalive: Option<&TcpKeepalive>,
    ping: Option<&Ping>,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    if keepalive
        .is_some_and(|keepalive| keepalive.state == State::Disabled && keepalive.idle_seconds.is_some())
    {
        problems.push(Problem::new(
            format!("{path}.tcpKeepalive.idleSeconds"),
            "idleSeconds needs state Enabled",
        ));
    }
    if ping.is_some_and(|ping| ping.state == State::Disabled && ping.interval_seconds.is_some()) {
        problems.push(Problem::new(
            format!("{path}.ping.intervalSeconds"),
            "intervalSeconds needs state Enabled",
        ));
    }
    if ping.is_some_and(|ping| ping.state == State::Disabled && ping.without_calls.is_some()) {
        problems.push(Problem::new(
            format!("{path}.ping.withoutCalls"),
            "withoutCalls needs state Enabled",
        ));
    }
}

fn idle_or_never(never: Option<Unlimited>, seconds: Option<i32>, path: &str, problems: &mut Vec<Problem>) {
    if never.is_some() && seconds.is_some() {
        let message = "idleTimeout Never stands alone, without idleTimeoutSeconds";
        problems.push(Problem::new(format!("{path}.idleTimeout"), message));
    }
}

fn age_or_never(never: Option<Unlimited>, seconds: Option<i32>, path: &str, problems: &mut Vec<Problem>) {
    if never.is_some() && seconds.is_some() {
        let message = "maxConnectionAge Never stands alone, without maxConnectionAgeSeconds";
        problems.push(Problem::new(format!("{path}.maxConnectionAge"), message));
    }
}

fn hop(hop: &Hop, path: &str, problems: &mut Vec<Problem>) {
    if hop.layer == Layer::L4 && hop.request_timeout_seconds.is_some() {
        let message = "requestTimeoutSeconds needs layer L7: a hop of layer L4 knows no requests";
        problems.push(Problem::new(format!("{path}.requestTimeoutSeconds"), message));
    }
    idle_or_never(hop.idle_timeout, hop.idle_timeout_seconds, path, problems);
    let Some(upstream) = &hop.upstream else {
        return;
    };
    if hop.layer == Layer::L4 {
        let message = "upstream needs layer L7: a hop of layer L4 opens no connection";
        problems.push(Problem::new(format!("{path}.upstream"), message));
    }
    let path = format!("{path}.upstream");
    idle_or_never(
        upstream.idle_timeout,
        upstream.idle_timeout_seconds,
        &path,
        problems,
    );
    age_or_never(
        upstream.max_connection_age,
        upstream.max_connection_age_seconds,
        &path,
        problems,
    );
    keepalive_and_ping(
        upstream.tcp_keepalive.as_ref(),
        upstream.ping.as_ref(),
        &path,
        problems,
    );
}

fn recycle_pods(recycle: &RecyclePods, problems: &mut Vec<Problem>) {
    if recycle.mode != Mode::Observe && recycle.causes.is_empty() {
        let message = "the modes Suggest and Enforce need at least one cause";
        problems.push(Problem::new("spec.remediation.recyclePods.causes", message));
    }
}

fn limits(limits: &Limits, path: &str, problems: &mut Vec<Problem>) {
    match (limits.minimum, limits.maximum) {
        (None, None) => problems.push(Problem::new(path, "minimum, maximum or both must be set")),
        (Some(minimum), Some(maximum)) if minimum > maximum => {
            problems.push(Problem::new(
                format!("{path}.minimum"),
                "minimum must not exceed maximum",
            ));
        }
        _ => {}
    }
}

fn tuning(tuning: &Tuning, problems: &mut Vec<Problem>) {
    let path = "spec.conntrack.tuning";
    if tuning.mode != Mode::Observe && tuning.kernel.is_none() && tuning.cilium.is_none() {
        problems.push(Problem::new(
            path,
            "the modes Suggest and Enforce need kernel, cilium or both",
        ));
    }
    if let Some(kernel) = &tuning.kernel {
        bounds(
            kernel.tcp_close_wait_seconds.as_ref(),
            &format!("{path}.kernel.tcpCloseWaitSeconds"),
            problems,
        );
        bounds(
            kernel.tcp_time_wait_seconds.as_ref(),
            &format!("{path}.kernel.tcpTimeWaitSeconds"),
            problems,
        );
    }
    if let Some(settings) = &tuning.cilium {
        cilium(settings, &format!("{path}.cilium"), problems);
    }
}

fn cilium(cilium: &CiliumTuning, path: &str, problems: &mut Vec<Problem>) {
    bounds(
        cilium.gc_interval_seconds.as_ref(),
        &format!("{path}.gcIntervalSeconds"),
        problems,
    );
    bounds(
        cilium.gc_max_interval_seconds.as_ref(),
        &format!("{path}.gcMaxIntervalSeconds"),
        problems,
    );
    bounds(
        cilium.service_tcp_grace_seconds.as_ref(),
        &format!("{path}.serviceTcpGraceSeconds"),
        problems,
    );
    if let (Some(usual), Some(longest)) = (&cilium.gc_interval_seconds, &cilium.gc_max_interval_seconds)
        && usual.minimum > longest.maximum
    {
        let message = "gcIntervalSeconds must leave room below the maximum of gcMaxIntervalSeconds";
        problems.push(Problem::new(format!("{path}.gcIntervalSeconds"), message));
    }
}

fn bounds(bounds: Option<&TuningBounds>, path: &str, problems: &mut Vec<Problem>) {
    if bounds.is_some_and(|bounds| bounds.minimum > bounds.maximum) {
        problems.push(Problem::new(
            format!("{path}.minimum"),
            "minimum must not exceed maximum",
        ));
    }
}
