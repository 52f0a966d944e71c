//! The paths that policies declare: each client of each connection, to each port of a Service.

use std::ops::ControlFlow;

use crate::index::Index;
use crate::judge::{Path, declared_ports};
use crate::names::Key;
use crate::policy::{Client, Door, Policy};
use crate::sources::service::Service;

/// Goes through the paths to a Service that a policy declares, until one breaks it off.
pub(super) fn for_paths(
    index: &Index,
    (key, service): (Key, &Service),
    policy: &Policy,
    mut each: impl FnMut(&Path<'_>) -> ControlFlow<()>,
) {
    for connection in &policy.connections {
        // Of the client of a connection that declares none nothing is known.
        let unknown = [Client::undeclared("".into(), Door::Cluster)];
        let clients = if connection.clients.is_empty() {
            &unknown[..]
        } else {
            &connection.clients
        };
        for port in declared_ports(connection, service, &index.names) {
            for client in clients {
                let path = Path {
                    key,
                    service,
                    port: &port,
                    policy,
                    connection,
                    client,
                };
                if each(&path).is_break() {
                    return;
                }
            }
        }
    }
}

/// Goes through every declared path to a Service, by name.
pub(crate) fn each_path(index: &Index, namespace: &str, service: &str, mut each: impl FnMut(&Path<'_>)) {
    let (Some(namespace), Some(name)) = (index.names.find(namespace), index.names.find(service)) else {
        return;
    };
    let key = Key { namespace, name };
    if let Some(row) = index.services.get(key) {
        for (_, policy) in index.policies_of(key, row) {
            for_paths(index, (key, row), policy, |path| {
                each(path);
                ControlFlow::Continue(())
            });
        }
    }
}
