//! The table of sources. Everything that is kept by source is generated from it: [`Source`] itself, the tables of the
//! index and how each is filled and emptied, the resources that are listed and watched, the kinds that files may hold,
//! and the fields that a collected folder keeps.

use std::fmt;

use serde::Serialize;

/// Calls a macro with one line for each source:
///
/// - `row T => table, changed`: objects are read into rows of type `T`, which is a [`crate::sources::Row`] and names the
///   kinds to read and the fields to keep. The rows stand in that table of [`crate::index::Index`], and that
///   method of the core is called when one has changed; `plain_changed` where nothing else is kept of them.
/// - `compiled T => table, changed of kinds`: the same for rows that come compiled and not as JSON.
/// - `of kinds` alone: what has no table. Its few cases are written out where they differ.
///
/// Types are named as they are where the macro is called, which is above this module: the caller brings `sources`,
/// `Arc` and `Policy` into scope.
///
/// The order is that in which people are shown sources. The text is the resource's name as people type it.
macro_rules! sources {
    ($then:ident) => {
        $then! {
            /// `v1/Service` of all namespaces.
            Services "services" row sources::service::Service => services, service_changed;
            /// `discovery.k8s.io/v1/EndpointSlice` of all namespaces.
            EndpointSlices "endpointslices" row sources::slice::Slice => slices, slice_changed;
            /// `v1/Node`.
            Nodes "nodes" row sources::node::Node => nodes, node_changed;
            /// `v1/Namespace`.
            Namespaces "namespaces" row sources::namespace::Namespace => namespaces, plain_changed;
            /// `v1/Pod`: those of policies, proxies, the CNI and DNS.
            Pods "pods" row sources::workload::Pod => pods, pod_changed;
            /// `apps/v1/DaemonSet` of all namespaces.
            DaemonSets "daemonsets" row sources::workload::DaemonSet => daemon_sets, plain_changed;
            /// `apps/v1/Deployment` of all namespaces.
            Deployments "deployments" row sources::workload::Deployment => deployments, plain_changed;
            /// `v1/ConfigMap`: configuration of kube-proxy, Cilium and Terway.
            ConfigMaps "configmaps" row sources::config_map::ConfigMap => config_maps, plain_changed;
            /// `cilium.io/CiliumNodeConfig`.
            CiliumNodeConfigs "ciliumnodeconfigs"
                row sources::node_config::CiliumNodeConfig => node_configs, plain_changed;
            /// `crd.projectcalico.org/v1/FelixConfiguration`.
            FelixConfigurations "felixconfigurations"
                row sources::felix_configuration::FelixConfiguration => felix_configurations, plain_changed;
            /// `operator.tigera.io/v1/Installation`: what Calico's operator installs.
            Installations "installations"
                row sources::installation::Installation => installations, plain_changed;
            /// `metallb.io/v1beta1/L2Advertisement`.
            L2Advertisements "l2advertisements"
                row sources::l2_advertisement::L2Advertisement => l2_advertisements, plain_changed;
            /// `scheduling.k8s.io/v1/PriorityClass`.
            PriorityClasses "priorityclasses"
                row sources::priority_class::PriorityClass => priority_classes, plain_changed;
            /// `admissionregistration.k8s.io/v1` webhook configurations, both kinds.
            Webhooks "webhookconfigurations"
                row sources::webhook::WebhookConfiguration => webhooks, webhook_changed;
            /// `evenkeel.dev/TrafficHealthPolicy`.
            Policies "traffichealthpolicies"
                compiled Arc<Policy> => policies, policy_changed of &sources::policy::TEAM;
            /// `evenkeel.dev/ClusterTrafficHealthPolicy`.
            ClusterPolicy "clustertraffichealthpolicies" of &sources::policy::CLUSTER;
            /// `/configz` documents of kube-proxy, where somebody gave them.
            Configz "kube-proxy configz" of &[];
            /// Events of Pods that were evicted or preempted. Folded into counters, never stored.
            Events "events" of &sources::event::KINDS;
            /// `evenkeel.dev/Remediation` of the operator's namespace: what evenkeel has done. Only an operator that acts
            /// reads them, and keeps them; the core is given them as [`crate::Input::Remediations`].
            Remediations "remediations" of &sources::ledger::KINDS;
        }
    };
}
pub(crate) use sources;

macro_rules! define {
    ($(
        $(#[$doc:meta])*
        $source:ident $text:literal
        $(row $row:ty => $table:ident, $changed:ident)?
        $(compiled $compiled:ty => $compiled_table:ident, $compiled_changed:ident)?
        $(of $kinds:expr)?;
    )*) => {
        /// A stream of objects that evenkeel reads. Freshness is kept per source, not per row.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[repr(u8)]
        pub enum Source {
            $($(#[$doc])* $source,)*
        }

        impl Source {
            /// Every source, in the order people are shown them.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$source),*];

            /// The resource's name as people type it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$source => $text,)*
                }
            }
        }
    };
}
sources!(define);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
