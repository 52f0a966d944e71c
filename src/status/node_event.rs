//! Events of Nodes: what a remedy did to one, where people look first (`kubectl describe node`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::event::{OF_THE_CLUSTER, said};
use crate::api::PolicyRef;
use crate::send::Request;

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
    pub fn request(&self, time: Timestamp, instance: &str) -> Option<Request> {
        let (node, uid) = self.node;
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", self.record, self.reason.to_lowercase())),
                namespace: Some(OF_THE_CLUSTER.into()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Node".into()),
                name: Some(node.into()),
                uid: Some(uid.into()),
                ..ObjectReference::default()
            },
            reason: Some(self.reason.into()),
            ..said(&self.message, self.warns, time, instance)
        };
        Some(Request::Event {
            policy: PolicyRef::of_the_cluster(),
            namespace: OF_THE_CLUSTER.to_owned(),
            event: serde_json::to_value(event).ok()?,
        })
    }
}
