//! What an account with the role `edit` in one namespace may write.

use evenkeel_core::know::{Now, Source};
use evenkeel_core::{Core, Input};
use serde_json::Value;

use super::world::Id;
use crate::writers::{Writer, writer};

/// Its namespace.
pub(crate) const TENANT: &str = "tenant";

/// The sources whose objects it may write, but for Events, which are counted and not kept, and policies, which do not come
/// as JSON.
pub(crate) fn sources() -> Vec<Source> {
    let folded = [Source::Events, Source::Policies];
    let all = Source::ALL
        .into_iter()
        .filter(|source| writer(*source) == Writer::Team);
    all.filter(|source| !folded.contains(source)).collect()
}

/// Writes an object into a namespace, where it may usually stand elsewhere.
pub(crate) fn write(core: &mut Core, now: Now, namespace: &str, (id, json): (Id, String)) {
    let mut object: Value = serde_json::from_str(&json).unwrap();
    object["metadata"]["namespace"] = namespace.into();
    core.handle(now, Input::object(id.0, object.to_string().as_bytes()));
}

/// What is found elsewhere than in its namespace.
pub(crate) fn of_others(core: &Core, now: Now) -> Vec<String> {
    let findings = core.findings(now).findings.into_iter();
    let others = findings.filter(|one| one.subject.namespace != TENANT);
    others
        .map(|one| format!("{} {} {}: {}", one.check, one.verdict, one.subject, one.message))
        .collect()
}
