//! The declared paths to a Service, hop by hop, for people who want to see the budget.

use std::sync::Arc;

use crate::checks::path::budget::{Segment, application_silence, segments};
use crate::engine;
use crate::findings::Finding;
use crate::judge::{Look, Path};
use crate::know::{Now, Val};
use crate::program::Core;

/// One declared connection of one client, with its segments.
#[derive(Debug, Clone)]
pub struct PathView {
    /// `namespace/name` of the policy.
    pub policy: String,
    /// Name of the connection.
    pub connection: Arc<str>,
    /// Name of the client; empty when none is declared.
    pub client: Arc<str>,
    /// `namespace/name` of the Service.
    pub service: String,
    /// Port of the Service.
    pub port: u16,
    /// Protocol as written in the policy.
    pub protocol: &'static str,
    /// Longest silence of the application; `None` when nothing declared ends it.
    pub silence: Option<Val<i64>>,
    /// Segments from client to server.
    pub segments: Vec<Segment>,
    /// What the path checks found of it.
    pub findings: Vec<Finding>,
}

impl Core {
    /// The declared paths to a Service, as of the last round; a port and a client narrow them down.
    pub fn paths(
        &self,
        now: Now,
        namespace: &str,
        service: &str,
        port: Option<u16>,
        client: Option<&str>,
    ) -> Vec<PathView> {
        let all = self.findings(now).findings;
        let look = Look::new(now, &self.index, &self.engine.fleet, &self.history);
        let mut views = Vec::new();
        engine::each_path(&self.index, namespace, service, |path: &Path<'_>| {
            let narrowed = port.is_some_and(|port| port != path.port.port)
                || client.is_some_and(|client| client != &*path.client.name);
            if narrowed {
                return;
            }
            let mine = |one: &&Finding| {
                one.subject.namespace == namespace
                    && one.subject.name == service
                    && one.subject.port == Some(path.port.port)
                    && one.subject.connection == *path.connection.name
                    && one.subject.client == *path.client.name
                    && one.policy.as_deref()
                        == Some(&format!("{}/{}", path.policy.namespace, path.policy.name))
            };
            views.push(PathView {
                policy: format!("{}/{}", path.policy.namespace, path.policy.name),
                connection: path.connection.name.clone(),
                client: path.client.name.clone(),
                service: format!("{namespace}/{service}"),
                port: path.port.port,
                protocol: path.connection.protocol.name(),
                silence: application_silence(path).worst,
                segments: segments(&look, path),
                findings: all.iter().filter(mine).cloned().collect(),
            });
        });
        views
    }
}
