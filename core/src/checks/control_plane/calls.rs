//! The requests that keep a cluster alive: who makes them, where, and what stops when they are refused.

/// Where requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallScope {
    /// In no namespace.
    Cluster,
    /// In this namespace.
    In(&'static str),
    /// In every namespace.
    Everywhere,
}

/// What stops when they are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stops {
    /// Nodes are declared lost.
    Nodes,
    /// Leaders lose their Leases, and controllers stop.
    Leaders,
    /// Workloads: Pods are not made, placed or published.
    Workloads,
    /// Some of the cluster's own calls, or what is new; what runs goes on.
    Calls,
}

/// Who makes a request, as match conditions see it in `request.userInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Several that differ, or one that is not known.
    Any,
    /// A kubelet: `system:node:NAME` in the group `system:nodes` ("Using Node Authorization").
    Kubelet,
    /// A component of this user name (`pkg/controlplane`, certificates of kubeadm).
    Component(&'static str),
    /// A controller of kube-controller-manager that uses this `ServiceAccount` of kube-system, as it does with
    /// `--use-service-account-credentials`.
    Controller(&'static str),
}

/// What a component writes all the time. All of these kinds are served in `v1` alone since Kubernetes 1.25.
#[derive(Debug, Clone, Copy)]
pub(super) struct ComponentCall {
    pub(super) what: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) subresource: &'static str,
    /// Kind of the object that is sent.
    pub(super) kind: &'static str,
    pub(super) operations: &'static [&'static str],
    pub(super) scope: CallScope,
    pub(super) stops: Stops,
    /// From which `timeoutSeconds` on it is too late for the caller even where the webhook may be ignored.
    pub(super) patience: Option<u32>,
    pub(super) caller: Caller,
}

const NONE: ComponentCall = ComponentCall {
    what: "",
    group: "",
    resource: "",
    subresource: "",
    kind: "",
    operations: &["CREATE", "UPDATE"],
    scope: CallScope::Everywhere,
    stops: Stops::Workloads,
    patience: None,
    caller: Caller::Any,
};

/// How long a kubelet waits for its Lease or its status, in seconds: a quarter of the 40 s that a Lease lasts, and
/// `nodeStatusUpdateFrequency` (`cmd/kubelet/app/server.go`, `heartbeatClientConfig.Timeout`).
const KUBELET_SECONDS: u32 = 10;
/// How long a leader waits for its Lease, in seconds: half of the renew deadline of 10 s
/// (`k8s.io/component-base/config/v1alpha1`, `k8s.io/client-go/tools/leaderelection`).
const LEADER_SECONDS: u32 = 5;

const LEASE: ComponentCall = ComponentCall {
    group: "coordination.k8s.io",
    resource: "leases",
    kind: "Lease",
    ..NONE
};

const NODE: ComponentCall = ComponentCall {
    resource: "nodes",
    kind: "Node",
    scope: CallScope::Cluster,
    stops: Stops::Nodes,
    ..NONE
};

const POD: ComponentCall = ComponentCall {
    resource: "pods",
    kind: "Pod",
    operations: &["CREATE"],
    ..NONE
};

const SLICE: ComponentCall = ComponentCall {
    group: "discovery.k8s.io",
    resource: "endpointslices",
    kind: "EndpointSlice",
    caller: Caller::Controller("endpointslice-controller"),
    ..NONE
};

const CERTIFICATE_REQUEST: ComponentCall = ComponentCall {
    group: "certificates.k8s.io",
    resource: "certificatesigningrequests",
    kind: "CertificateSigningRequest",
    scope: CallScope::Cluster,
    stops: Stops::Calls,
    ..NONE
};

/// The most harmful first.
pub(super) const REQUESTS: [ComponentCall; 17] = [
    // A Lease that is there is renewed by an update; only a new node's is created.
    ComponentCall {
        what: "Leases in kube-node-lease",
        operations: &["UPDATE"],
        scope: CallScope::In("kube-node-lease"),
        stops: Stops::Nodes,
        patience: Some(KUBELET_SECONDS),
        caller: Caller::Kubelet,
        ..LEASE
    },
    ComponentCall {
        what: "nodes/status",
        subresource: "status",
        operations: &["UPDATE"],
        patience: Some(KUBELET_SECONDS),
        caller: Caller::Kubelet,
        ..NODE
    },
    ComponentCall {
        what: "nodes",
        ..NODE
    },
    ComponentCall {
        what: "Leases in kube-system",
        operations: &["UPDATE"],
        scope: CallScope::In("kube-system"),
        stops: Stops::Leaders,
        patience: Some(LEADER_SECONDS),
        caller: Caller::Component("system:kube-scheduler"),
        ..LEASE
    },
    ComponentCall {
        what: "new Pods",
        caller: Caller::Controller("replicaset-controller"),
        ..POD
    },
    ComponentCall {
        what: "bindings of Pods to nodes",
        subresource: "binding",
        kind: "Binding",
        caller: Caller::Component("system:kube-scheduler"),
        ..POD
    },
    ComponentCall {
        what: "the status of Pods",
        subresource: "status",
        operations: &["UPDATE"],
        caller: Caller::Kubelet,
        ..POD
    },
    ComponentCall {
        what: "EndpointSlices",
        operations: &["UPDATE"],
        ..SLICE
    },
    ComponentCall {
        what: "tokens of Pods",
        resource: "serviceaccounts",
        subresource: "token",
        kind: "TokenRequest",
        operations: &["CREATE"],
        caller: Caller::Kubelet,
        ..NONE
    },
    ComponentCall {
        what: "Leases of new nodes",
        operations: &["CREATE"],
        scope: CallScope::In("kube-node-lease"),
        stops: Stops::Calls,
        caller: Caller::Kubelet,
        ..LEASE
    },
    ComponentCall {
        what: "Leases of new leaders",
        operations: &["CREATE"],
        scope: CallScope::In("kube-system"),
        stops: Stops::Calls,
        caller: Caller::Component("system:kube-scheduler"),
        ..LEASE
    },
    ComponentCall {
        what: "new EndpointSlices",
        operations: &["CREATE"],
        stops: Stops::Calls,
        ..SLICE
    },
    ComponentCall {
        what: "TokenReviews",
        group: "authentication.k8s.io",
        resource: "tokenreviews",
        kind: "TokenReview",
        operations: &["CREATE"],
        scope: CallScope::Cluster,
        stops: Stops::Calls,
        ..NONE
    },
    ComponentCall {
        what: "SubjectAccessReviews",
        group: "authorization.k8s.io",
        resource: "subjectaccessreviews",
        kind: "SubjectAccessReview",
        operations: &["CREATE"],
        scope: CallScope::Cluster,
        stops: Stops::Calls,
        ..NONE
    },
    ComponentCall {
        what: "CertificateSigningRequests",
        ..CERTIFICATE_REQUEST
    },
    // A kubelet's certificate is approved and then signed by kube-controller-manager (`pkg/controller/certificates`).
    ComponentCall {
        what: "approvals of CertificateSigningRequests",
        subresource: "approval",
        operations: &["UPDATE"],
        caller: Caller::Controller("certificate-controller"),
        ..CERTIFICATE_REQUEST
    },
    ComponentCall {
        what: "the status of CertificateSigningRequests",
        subresource: "status",
        operations: &["UPDATE"],
        caller: Caller::Controller("certificate-controller"),
        ..CERTIFICATE_REQUEST
    },
];
