//! What somebody may write who has the role `edit` in one namespace.

use evenkeel_core::findings::Finding;
use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};
use serde_json::Value;

use super::world::Id;

/// Their namespace.
const NAMESPACE: &str = "tenant";

/// The sources whose objects they may write.
pub(crate) const TENANTS: [Source; 7] = [
    Source::Services,
    Source::EndpointSlices,
    Source::Pods,
    Source::ConfigMaps,
    Source::DaemonSets,
    Source::Deployments,
    Source::CiliumNodeConfigs,
];

/// Writes an object that usually stands elsewhere.
pub(crate) fn write_as_tenant(core: &mut Core, now: Now, (id, json): (Id, String)) {
    let mut object: Value = serde_json::from_str(&json).unwrap();
    object["metadata"]["namespace"] = NAMESPACE.into();
    let _ = core.handle(now, Input::Object(id.0, object.to_string().as_bytes()));
}

/// What is found elsewhere than in their namespace, sorted.
pub(crate) fn of_others(core: &Core, now: Now) -> Vec<Finding> {
    let mut findings = core.findings(now).findings;
    findings.retain(|one| one.subject.namespace != NAMESPACE);
    findings
}
