//! What a finding is about, as shown.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::index::Index;
use crate::judge::Subject;
use crate::names::{Key, Name};

/// Kinds of subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SubjectKind {
    // In the order of the alphabet, which findings are sorted by.
    /// The cluster as a whole.
    Cluster,
    /// A node.
    Node,
    /// A Service, or one connection to it.
    Service,
    /// An admission webhook configuration.
    Webhook,
    /// A workload, by the names of its Pods.
    Workload,
    /// A zone.
    Zone,
}

impl SubjectKind {
    /// As written in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Node => "Node",
            Self::Service => "Service",
            Self::Webhook => "Webhook",
            Self::Workload => "Workload",
            Self::Zone => "Zone",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubjectView {
    /// What kind of thing it is.
    pub kind: SubjectKind,
    /// Namespace of a Service or a workload.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name; absent for the cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Port of a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name of the connection in the policy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub connection: String,
    /// Name of the client in the connection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client: String,
}

impl fmt::Display for SubjectView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if !self.name.is_empty() {
            f.write_char(' ')?;
            if !self.namespace.is_empty() {
                write!(f, "{}/", self.namespace)?;
            }
            f.write_str(&self.name)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if !self.connection.is_empty() {
            write!(f, " {}", self.connection)?;
        }
        if !self.client.is_empty() {
            write!(f, " from {}", self.client)?;
        }
        Ok(())
    }
}

/// A subject as shown, and the policy that asks for the verdict.
pub(crate) fn view(index: &Index, subject: Subject) -> (SubjectView, Option<Key>) {
    let text = |name| index.names.text(name).to_owned();
    let named = |kind, namespace, name| SubjectView {
        kind,
        namespace: text(namespace),
        name: text(name),
        port: None,
        connection: String::new(),
        client: String::new(),
    };
    let view = match subject {
        Subject::Connection {
            service,
            port,
            policy: _,
            connection,
            client,
        } => SubjectView {
            port: Some(port),
            connection: text(connection),
            client: text(client),
            ..named(SubjectKind::Service, service.namespace, service.name)
        },
        Subject::Service { service, policy: _ } => {
            named(SubjectKind::Service, service.namespace, service.name)
        }
        Subject::Node(name) => named(SubjectKind::Node, Name::EMPTY, name),
        Subject::Zone(name) => named(SubjectKind::Zone, Name::EMPTY, name),
        // A webhook configuration has no namespace; its key has the kind there.
        Subject::Webhook(key) => named(SubjectKind::Webhook, Name::EMPTY, key.name),
        Subject::Workload(key) => named(SubjectKind::Workload, key.namespace, key.name),
        Subject::Cluster => named(SubjectKind::Cluster, Name::EMPTY, Name::EMPTY),
    };
    let policy = match subject {
        Subject::Connection { policy, .. } => Some(policy),
        Subject::Service { policy, .. } => policy,
        Subject::Node(_)
        | Subject::Zone(_)
        | Subject::Webhook(_)
        | Subject::Workload(_)
        | Subject::Cluster => None,
    };
    (view, policy)
}

/// What identifies a subject: the two kinds of webhook configurations may share a name.
pub(super) fn identity(index: &Index, subject: Subject, view: &SubjectView) -> String {
    match subject {
        Subject::Webhook(key) => format!("{view} {}", index.names.text(key.namespace)),
        _ => view.to_string(),
    }
}
