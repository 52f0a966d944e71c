//! What a finding is about, as shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::index::Index;
use crate::judge::Subject;
use crate::names::Key;

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
        let Self {
            kind,
            namespace,
            name,
            port,
            connection,
            client,
        } = self;
        write_subject(f, (*kind, namespace, name, *port, connection, client))
    }
}

/// Writes a subject as it is shown.
fn write_subject(
    f: &mut impl fmt::Write,
    (kind, namespace, name, port, connection, client): SubjectRank<'_>,
) -> fmt::Result {
    f.write_str(kind.name())?;
    if !name.is_empty() {
        f.write_char(' ')?;
        if !namespace.is_empty() {
            write!(f, "{namespace}/")?;
        }
        f.write_str(name)?;
    }
    if let Some(port) = port {
        write!(f, ":{port}")?;
    }
    if !connection.is_empty() {
        write!(f, " {connection}")?;
    }
    if !client.is_empty() {
        write!(f, " from {client}")?;
    }
    Ok(())
}

/// A subject by the fields of its [`SubjectView`], in their order: what is compared a hundred thousand times costs no text.
pub(crate) type SubjectRank<'a> = (SubjectKind, &'a str, &'a str, Option<u16>, &'a str, &'a str);

/// What a subject is sorted by, and the policy that asks for the verdict.
pub(crate) fn rank(index: &Index, subject: Subject) -> (SubjectRank<'_>, Option<Key>) {
    let text = |name| index.names.text(name);
    let within = |kind, key: Key| (kind, text(key.namespace), text(key.name), None, "", "");
    let named = |kind, name| (kind, "", text(name), None, "", "");
    match subject {
        Subject::Connection {
            service,
            port,
            policy,
            connection,
            client,
        } => {
            let (kind, namespace, name, ..) = within(SubjectKind::Service, service);
            let rank = (kind, namespace, name, Some(port), text(connection), text(client));
            (rank, Some(policy))
        }
        Subject::Service { service, policy } => (within(SubjectKind::Service, service), policy),
        Subject::Node(name) => (named(SubjectKind::Node, name), None),
        Subject::Zone(name) => (named(SubjectKind::Zone, name), None),
        Subject::Webhook(key) => (named(SubjectKind::Webhook, key.name), None),
        Subject::Workload(key) => (within(SubjectKind::Workload, key), None),
        Subject::Cluster => ((SubjectKind::Cluster, "", "", None, "", ""), None),
    }
}

/// A subject as shown, and the policy that asks for the verdict.
pub(crate) fn view(index: &Index, subject: Subject) -> (SubjectView, Option<Key>) {
    let ((kind, namespace, name, port, connection, client), policy) = rank(index, subject);
    let view = SubjectView {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port,
        connection: connection.to_owned(),
        client: client.to_owned(),
    };
    (view, policy)
}

/// Writes what identifies a subject: as it is shown, and of the two kinds of webhook configurations, which may share a name,
/// the kind.
pub(super) fn write_identity(f: &mut impl fmt::Write, index: &Index, subject: Subject) -> fmt::Result {
    write_subject(f, rank(index, subject).0)?;
    match subject {
        Subject::Webhook(key) => write!(f, " {}", index.names.text(key.namespace)),
        _ => Ok(()),
    }
}
