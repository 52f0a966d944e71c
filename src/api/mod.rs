//! The kinds that people write, and how they become the policies that checks read.
//!
//! [`TrafficHealthPolicy`] and [`ClusterTrafficHealthPolicy`] are the types; their definitions for the API server come
//! from [`crds`]. [`local::validate`] gives the API server's verdict on a draft without one. [`compile`] and
//! [`compile_cluster`] turn a policy into the core's form, or report everything that is wrong with it.

mod cluster;
mod compile;
mod connections;
mod crd;
mod feed;
pub mod local;
mod mode;
mod nodes;
mod object;
mod policy;
mod problem;
mod reference;
mod remediation;
mod rules;
mod selector;
mod status;
mod text;

pub use cluster::{
    Assumptions, Ceiling, ClusterException, ClusterTrafficHealthPolicy, ClusterTrafficHealthPolicySpec,
    ControlPlane, DataPlane, ExceptedSubject, Limits, ProxyMode, RecycleCeiling, Storm,
};
pub use compile::{compile, compile_cluster};
pub use connections::{
    Client, Connection, Door, Hop, Layer, Ping, Port, Protocol, Server, State, TcpKeepalive, Unlimited,
    Upstream,
};
pub use crd::{crd_files, crd_yaml, crds, ledger_crd_files, ledger_crds};
pub use feed::{feed, input, offer};
pub use mode::Mode;
pub use nodes::{
    Cascade, CiliumTuning, Conntrack, Cordon, EntriesCeiling, FenceEffect, Flap, KernelTuning, Nodes,
    Pressure, Tuning, TuningBounds,
};
pub use object::PolicyObject;
pub use policy::{
    Balance, Counts, Exception, Measure, PodMetric, RecycleCause, RecyclePods, Remediation, Services,
    TrafficHealthPolicy, TrafficHealthPolicySpec,
};
pub use problem::Problem;
pub use reference::PolicyRef;
pub use remediation::{
    ApprovalDecision, RemediationApproval, RemediationApprovalSpec, RemediationChange, RemediationEvidence,
    RemediationPolicy, RemediationRecord, RemediationSpec, RemediationStatus, RemediationTarget, RemedyKind,
    TargetKind, WatchedNumber,
};
pub use selector::{LabelOperator, LabelRequirement, LabelSelector};
pub use status::{
    ClusterTrafficHealthPolicyStatus, Condition, ConditionStatus, FindingSeverity, FindingSubject,
    FindingVerdict, PlanDecision, RecentRemediation, StatusFinding, StatusPlan, StatusPlans, SubjectKind,
    TrafficHealthPolicyStatus, VerdictCounts,
};
pub(crate) use text::{is_dns_label, is_port_name};

/// The group of every kind.
pub const GROUP: &str = "evenkeel.dev";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";
/// The only allowed name of a [`ClusterTrafficHealthPolicy`].
pub const CLUSTER_POLICY_NAME: &str = "cluster";
