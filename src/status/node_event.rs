//! Events of Nodes: what a remedy did to one, where people look first (`kubectl describe node`).

use jiff::Timestamp;
use serde_json::json;

use super::event::cut;
use crate::api::{CLUSTER_POLICY_NAME, PolicyRef};
use crate::send::Request;

/// Namespace of Events about objects of the cluster, as Kubernetes' own have it.
const HOME: &str = "default";

/// What happened to a Node by a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent<'a> {
    /// Name and uid of the Node.
    pub node: (&'a str, &'a str),
    /// Name of the record: one record and one reason make one Event, so that a repetition creates nothing.
    pub record: &'a str,
    /// What happened, in one stable word.
    pub reason: &'static str,
    /// Whether a person should look at it.
    pub warns: bool,
    /// What happened, for people.
    pub message: String,
}

impl NodeEvent<'_> {
    /// The request that creates it, by this replica.
    pub fn request(&self, time: Timestamp, instance: &str) -> Request {
        let (node, uid) = self.node;
        let time = Timestamp::from_second(time.as_second())
            .unwrap_or(time)
            .to_string();
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": format!("{}.{}", self.record, self.reason.to_lowercase()), "namespace": HOME},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid},
            "reason": self.reason,
            "message": cut(&self.message),
            "type": if self.warns { "Warning" } else { "Normal" },
            "source": {"component": "evenkeel"},
            "reportingComponent": "evenkeel.dev/operator",
            "reportingInstance": instance,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        });
        Request::Event {
            policy: PolicyRef {
                namespace: "".into(),
                name: CLUSTER_POLICY_NAME.into(),
            },
            namespace: HOME.to_owned(),
            event,
        }
    }
}
