mod detection;
mod heartbeat;
mod instances;

use crate::policy::{ClusterPolicy, ControlPlanePolicy};

const DETECTION: &str = "detection-vs-grace";
const WEBHOOK: &str = "admission-heartbeat-block";
const INSTANCES: &str = "cp-instances-missing";

fn platform(control_plane: ControlPlanePolicy) -> ClusterPolicy {
    ClusterPolicy {
        control_plane,
        ..ClusterPolicy::default()
    }
}
