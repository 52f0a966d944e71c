//! The cluster's policy.

use evenkeel_core::policy as core;

use super::super::{
    Ceiling, CiliumTuning, ClusterTrafficHealthPolicySpec, Conntrack, ControlPlane, DataPlane, KernelTuning,
    Nodes, Storm, TuningBounds,
};
use super::reader::ProblemReader;

pub(super) fn cluster(
    spec: &ClusterTrafficHealthPolicySpec,
    reader: &mut ProblemReader,
) -> core::ClusterPolicy {
    let mut compiled = core::ClusterPolicy {
        // Without a ceiling, policies may observe and suggest.
        ceiling_mode: core::Mode::Suggest,
        trusted_namespaces: reader.names("spec.trustedNamespaces", &spec.trusted_namespaces),
        protected_namespaces: reader.names("spec.protectedNamespaces", &spec.protected_namespaces),
        data_plane: spec.data_plane.as_ref().map(data_plane).unwrap_or_default(),
        conntrack: spec
            .conntrack
            .as_ref()
            .map(|entry| conntrack(entry, reader))
            .unwrap_or_default(),
        nodes: spec
            .nodes
            .as_ref()
            .map(|entry| nodes(entry, reader))
            .unwrap_or_default(),
        control_plane: spec
            .control_plane
            .as_ref()
            .map(|entry| control_plane(entry, reader))
            .unwrap_or_default(),
        load_balancer: spec
            .control_plane
            .as_ref()
            .and_then(|entry| entry.load_balancer.as_deref().map(Into::into)),
        storm: spec
            .storm
            .as_ref()
            .map(|entry| storm(entry, reader))
            .unwrap_or_default(),
        ..core::ClusterPolicy::default()
    };
    if let Some(entry) = &spec.ceiling {
        ceiling(entry, &mut compiled, reader);
    }
    compiled
}

fn ceiling(ceiling: &Ceiling, compiled: &mut core::ClusterPolicy, reader: &mut ProblemReader) {
    compiled.ceiling_namespaces = reader.names("spec.ceiling.namespaces", &ceiling.namespaces);
    compiled.max_exception_days =
        reader.optional("spec.ceiling.maxExceptionDays", ceiling.max_exception_days);
    if let Some(recycle) = &ceiling.recycle_pods {
        compiled.ceiling_mode = recycle.mode.into();
        compiled.ceiling_recycles_per_hour =
            Some(reader.number("spec.ceiling.recyclePods.maxPerHour", recycle.max_per_hour));
    }
}

fn data_plane(plane: &DataPlane) -> core::DataPlanePolicy {
    core::DataPlanePolicy {
        proxy_mode: plane.proxy_mode.map(Into::into),
        service_idle_timeout_seconds: plane
            .service_idle_timeout_seconds
            .as_ref()
            .map(|limits| core::Range {
                minimum: limits.minimum.map(i64::from),
                maximum: limits.maximum.map(i64::from),
            }),
    }
}

fn conntrack(conntrack: &Conntrack, reader: &mut ProblemReader) -> core::ConntrackPolicy {
    let tuning = conntrack.tuning.as_ref();
    core::ConntrackPolicy {
        max_occupancy_percent: Some(reader.number(
            "spec.conntrack.maxOccupancyPercent",
            conntrack.max_occupancy_percent,
        )),
        tuning_mode: tuning.map(|tuning| tuning.mode.into()).unwrap_or_default(),
        kernel: tuning
            .and_then(|tuning| tuning.kernel.as_ref())
            .map(kernel)
            .unwrap_or_default(),
        cilium: tuning
            .and_then(|tuning| tuning.cilium.as_ref())
            .map(cilium)
            .unwrap_or_default(),
        soak_seconds: tuning
            .map(|tuning| reader.number("spec.conntrack.tuning.soakSeconds", tuning.soak_seconds)),
    }
}

fn kernel(kernel: &KernelTuning) -> core::KernelTuning {
    core::KernelTuning {
        max_entries: kernel.max_entries.as_ref().map(|entries| core::Range {
            minimum: None,
            maximum: Some(entries.maximum.into()),
        }),
        tcp_close_wait_seconds: kernel.tcp_close_wait_seconds.as_ref().map(range),
        tcp_time_wait_seconds: kernel.tcp_time_wait_seconds.as_ref().map(range),
    }
}

fn cilium(cilium: &CiliumTuning) -> core::CiliumTuning {
    core::CiliumTuning {
        gc_interval_seconds: cilium.gc_interval_seconds.as_ref().map(range),
        gc_max_interval_seconds: cilium.gc_max_interval_seconds.as_ref().map(range),
        service_tcp_grace_seconds: cilium.service_tcp_grace_seconds.as_ref().map(range),
    }
}

fn range(bounds: &TuningBounds) -> core::Range {
    core::Range {
        minimum: Some(bounds.minimum.into()),
        maximum: Some(bounds.maximum.into()),
    }
}

fn nodes(nodes: &Nodes, reader: &mut ProblemReader) -> core::NodesPolicy {
    core::NodesPolicy {
        cascade: nodes.cascade.as_ref().map(|cascade| core::Cascade {
            window_seconds: reader.number("spec.nodes.cascade.windowSeconds", cascade.window_seconds),
            minimum_nodes: reader.number("spec.nodes.cascade.minimumNodes", cascade.minimum_nodes),
            received_pods_percent: reader.number(
                "spec.nodes.cascade.receivedPodsPercent",
                cascade.received_pods_percent,
            ),
        }),
        flap: nodes.flap.as_ref().map(|flap| core::Flap {
            transitions: reader.number("spec.nodes.flap.transitions", flap.transitions),
            window_seconds: reader.number("spec.nodes.flap.windowSeconds", flap.window_seconds),
        }),
        pressure: nodes.pressure.as_ref().map(|pressure| core::Pressure {
            cpu_some_percent: reader.number("spec.nodes.pressure.cpuSomePercent", pressure.cpu_some_percent),
            memory_some_percent: reader.number(
                "spec.nodes.pressure.memorySomePercent",
                pressure.memory_some_percent,
            ),
            io_some_percent: reader.number("spec.nodes.pressure.ioSomePercent", pressure.io_some_percent),
            for_seconds: reader.number("spec.nodes.pressure.forSeconds", pressure.for_seconds),
        }),
        cordon: nodes.cordon.as_ref().map(|cordon| core::CordonPolicy {
            mode: cordon.mode.into(),
            max_percent: reader.number("spec.nodes.cordon.maxPercent", cordon.max_percent),
            max_nodes: reader.number("spec.nodes.cordon.maxNodes", cordon.max_nodes),
            effect: cordon.effect.into(),
            max_percent_of_pool: reader
                .number("spec.nodes.cordon.maxPercentOfPool", cordon.max_percent_of_pool),
            max_per_hour: reader.number("spec.nodes.cordon.maxPerHour", cordon.max_per_hour),
            steady_seconds: reader.number("spec.nodes.cordon.steadySeconds", cordon.steady_seconds),
            ceiling_percent: reader.number("spec.nodes.cordon.ceilingPercent", cordon.ceiling_percent),
        }),
    }
}

fn control_plane(plane: &ControlPlane, reader: &mut ProblemReader) -> core::ControlPlanePolicy {
    let assume = plane.assume.clone().unwrap_or_default();
    let path = "spec.controlPlane.assume";
    core::ControlPlanePolicy {
        node_monitor_grace_seconds: reader.optional(
            &format!("{path}.nodeMonitorGraceSeconds"),
            assume.node_monitor_grace_seconds,
        ),
        http2_read_idle_seconds: reader.optional(
            &format!("{path}.http2ReadIdleSeconds"),
            assume.http2_read_idle_seconds,
        ),
        http2_ping_timeout_seconds: reader.optional(
            &format!("{path}.http2PingTimeoutSeconds"),
            assume.http2_ping_timeout_seconds,
        ),
        etcd_quota_bytes: assume.etcd_quota_bytes.and_then(|bytes| {
            let quota = u64::try_from(bytes).ok();
            if quota.is_none() {
                reader.problem(format!("{path}.etcdQuotaBytes"), "must not be negative");
            }
            quota
        }),
        expected_instances: reader.optional("spec.controlPlane.expectedInstances", plane.expected_instances),
    }
}

fn storm(storm: &Storm, reader: &mut ProblemReader) -> core::Storm {
    core::Storm {
        zone_unhealthy_percent: Some(
            reader.number("spec.storm.zoneUnhealthyPercent", storm.zone_unhealthy_percent),
        ),
        cluster_unhealthy_percent: Some(reader.number(
            "spec.storm.clusterUnhealthyPercent",
            storm.cluster_unhealthy_percent,
        )),
        minimum_nodes: Some(reader.number("spec.storm.minimumNodes", storm.minimum_nodes)),
        cooldown_seconds: Some(reader.number("spec.storm.cooldownSeconds", storm.cooldown_seconds)),
    }
}
