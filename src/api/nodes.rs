//! The parts of a cluster policy about connection tables and nodes.

#![allow(clippy::struct_field_names, reason = "the unit belongs to each name")]
#![allow(
    unreachable_pub,
    reason = "the derivation of the schema repeats each type inside a function"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Mode;

/// How full connection tables may get, and what of them may be tuned.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Conntrack {
    /// Highest healthy occupancy of a node's table, in percent.
    #[serde(default = "max_occupancy_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub max_occupancy_percent: i32,
    /// What evenkeel may tune; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
}

fn max_occupancy_percent() -> i32 {
    75
}

/// What evenkeel may tune, and inside which bounds.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == 'Observe' || has(self.kernel) || has(self.cilium)")
    .message("the modes Suggest and Enforce need kernel, cilium or both"))]
pub struct Tuning {
    /// How far evenkeel may go: Observe plans nothing, Suggest asks a person, Enforce acts inside the bounds.
    #[serde(default)]
    pub mode: Mode,
    /// Bounds of kernel settings; they are set live, on one canary node first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelTuning>,
    /// Bounds of Cilium settings; they take effect when the canary node's agent restarts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cilium: Option<CiliumTuning>,
    /// How long the canary node is watched, in seconds.
    #[serde(default = "soak_seconds")]
    #[schemars(range(min = 60, max = 86_400))]
    pub soak_seconds: i32,
}

fn soak_seconds() -> i32 {
    900
}

/// Bounds of kernel settings. A setting without bounds is never touched.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct KernelTuning {
    /// Size of the connection table (`nf_conntrack_max`), in entries; it is only ever raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<EntriesCeiling>,
    /// Timeout of half-closed connections (`nf_conntrack_tcp_timeout_close_wait`), in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_close_wait_seconds: Option<TuningBounds>,
    /// Timeout of closed connections (`nf_conntrack_tcp_timeout_time_wait`), in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_time_wait_seconds: Option<TuningBounds>,
}

/// How far a table's size may be raised.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EntriesCeiling {
    /// Greatest allowed size, in entries.
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub maximum: i32,
}

/// Inclusive bounds of a setting, in seconds.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minimum <= self.maximum").message("minimum must not exceed maximum")
    .field_path(".minimum"))]
pub struct TuningBounds {
    /// Least allowed value, in seconds.
    #[schemars(range(min = 1, max = 432_000))]
    pub minimum: i32,
    /// Greatest allowed value, in seconds.
    #[schemars(range(min = 1, max = 432_000))]
    pub maximum: i32,
}

/// Bounds of Cilium settings. A setting without bounds is never touched.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.gcIntervalSeconds) || !has(self.gcMaxIntervalSeconds) || \
     self.gcIntervalSeconds.minimum <= self.gcMaxIntervalSeconds.maximum"
).message("gcIntervalSeconds must leave room below the maximum of gcMaxIntervalSeconds")
 .field_path(".gcIntervalSeconds"))]
pub struct CiliumTuning {
    /// Time between two garbage collections of the table (`conntrack-gc-interval`), in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_interval_seconds: Option<TuningBounds>,
    /// Longest time between two garbage collections (`conntrack-gc-max-interval`), in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_max_interval_seconds: Option<TuningBounds>,
    /// How long a closed entry is kept for a backend that went away (`bpf-ct-timeout-service-tcp-grace`), in seconds.
    /// Cilium 1.16 and later ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tcp_grace_seconds: Option<TuningBounds>,
}

/// How nodes may fail before somebody must step in.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// What counts as a cascade: nodes that fail one after the other because each inherits another's load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
    /// What counts as a node that comes and goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap: Option<Flap>,
    /// What counts as pressure on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// What evenkeel may do to a node that feeds a cascade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// What counts as a cascade.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Cascade {
    /// The window that is looked at, in seconds.
    #[serde(default = "cascade_window_seconds")]
    #[schemars(range(min = 60, max = 86_400))]
    pub window_seconds: i32,
    /// Fewest nodes that fail in the window.
    #[serde(default = "cascade_minimum_nodes")]
    #[schemars(range(min = 2, max = 1000))]
    pub minimum_nodes: i32,
    /// By how much the Pods of a node must have grown before it failed, in percent.
    #[serde(default = "received_pods_percent")]
    #[schemars(range(min = 1, max = 1000))]
    pub received_pods_percent: i32,
}

fn cascade_window_seconds() -> i32 {
    600
}

fn cascade_minimum_nodes() -> i32 {
    3
}

fn received_pods_percent() -> i32 {
    20
}

/// What counts as a node that comes and goes.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Flap {
    /// How often Ready changes in the window.
    #[serde(default = "flap_transitions")]
    #[schemars(range(min = 2, max = 100))]
    pub transitions: i32,
    /// The window that is looked at, in seconds.
    #[serde(default = "flap_window_seconds")]
    #[schemars(range(min = 60, max = 86_400))]
    pub window_seconds: i32,
}

fn flap_transitions() -> i32 {
    3
}

fn flap_window_seconds() -> i32 {
    1800
}

/// What counts as pressure: the share of time in which some task waited, as the kernel's PSI reports it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pressure {
    /// Share of time some task waited for a CPU, in percent.
    #[serde(default = "cpu_some_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub cpu_some_percent: i32,
    /// Share of time some task waited for memory, in percent.
    #[serde(default = "memory_some_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub memory_some_percent: i32,
    /// Share of time some task waited for storage, in percent.
    #[serde(default = "io_some_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub io_some_percent: i32,
    /// For how long it must last, in seconds.
    #[serde(default = "pressure_seconds")]
    #[schemars(range(min = 10, max = 3600))]
    pub for_seconds: i32,
}

fn cpu_some_percent() -> i32 {
    60
}

fn memory_some_percent() -> i32 {
    20
}

fn io_some_percent() -> i32 {
    60
}

fn pressure_seconds() -> i32 {
    60
}

/// When evenkeel fences a node that feeds a cascade, and within which bounds: its own taint keeps new Pods away.
///
/// In the modes Suggest and Enforce the operator shows what it would do and what holds it back. It changes Nodes only where it
/// runs with `--remedies` and the component `remedy-cordon`, and in mode Suggest only what a person agreed to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Cordon {
    /// How far evenkeel may go: Observe plans nothing and takes its fences away, Suggest asks a person, Enforce acts inside the
    /// bounds; both act only where the operator runs with `--remedies`.
    #[serde(default)]
    pub mode: Mode,
    /// Effect of the taint. `PreferNoSchedule`: the scheduler avoids the node while there is room elsewhere, and nothing
    /// else changes. `NoSchedule`: no Pod that does not tolerate it is placed there.
    #[serde(default)]
    pub effect: FenceEffect,
    /// Most nodes fenced at a time, in percent of the nodes that take Pods, rounded down.
    #[serde(default = "cordon_max_percent")]
    #[schemars(range(min = 1, max = 50))]
    pub max_percent: i32,
    /// Most nodes fenced at a time.
    #[serde(default = "cordon_max_nodes")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_nodes: i32,
    /// Most nodes fenced at a time in one node pool, in percent of the pool, rounded down.
    #[serde(default = "cordon_max_percent_of_pool")]
    #[schemars(range(min = 1, max = 50))]
    pub max_percent_of_pool: i32,
    /// Most fences in an hour.
    #[serde(default = "cordon_max_per_hour")]
    #[schemars(range(min = 1, max = 60))]
    pub max_per_hour: i32,
    /// For how long a fenced node must be Ready without interruption before its fence is removed, in seconds; doubled
    /// each time it is fenced again.
    #[serde(default = "cordon_steady_seconds")]
    #[schemars(range(min = 300, max = 86_400))]
    pub steady_seconds: i32,
    /// Highest measured load of the nodes that are left after the fence and the loss of one more, in percent.
    #[serde(default = "cordon_ceiling_percent")]
    #[schemars(range(min = 10, max = 95))]
    pub ceiling_percent: i32,
}

/// What the scheduler does with a fenced node.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FenceEffect {
    /// It avoids the node while there is room elsewhere.
    #[default]
    PreferNoSchedule,
    /// It places no Pod there that does not tolerate the taint.
    NoSchedule,
}

fn cordon_max_percent() -> i32 {
    10
}

fn cordon_max_nodes() -> i32 {
    5
}

fn cordon_max_percent_of_pool() -> i32 {
    25
}

fn cordon_max_per_hour() -> i32 {
    2
}

fn cordon_steady_seconds() -> i32 {
    1800
}

fn cordon_ceiling_percent() -> i32 {
    85
}
