//! What is kept of each kind: the fields that the core's sources read, and no other.

use evenkeel_core::know::Source;
use evenkeel_core::sources::{node, service};

use super::keep::Keep::{self, Each, Fields, Named, Plain, Plains, Whole};

/// Name and namespace.
const NAMED: Keep = Fields(&[("name", Plain), ("namespace", Plain)]);

/// The same with labels, which selectors ask for.
const LABELLED: Keep = Fields(&[("name", Plain), ("namespace", Plain), ("labels", Plains)]);

const SELECTOR: Keep = Fields(&[
    ("matchLabels", Plains),
    (
        "matchExpressions",
        Each(&Fields(&[
            ("key", Plain),
            ("operator", Plain),
            ("values", Plains),
        ])),
    ),
]);

const SERVICE: Keep = Fields(&[
    (
        "metadata",
        Fields(&[
            ("name", Plain),
            ("namespace", Plain),
            ("labels", Plains),
            ("annotations", Named(service::keeps_annotation)),
        ]),
    ),
    (
        "spec",
        Fields(&[
            ("type", Plain),
            ("clusterIP", Plain),
            ("selector", Plains),
            (
                "ports",
                Each(&Fields(&[
                    ("name", Plain),
                    ("port", Plain),
                    ("protocol", Plain),
                    ("appProtocol", Plain),
                ])),
            ),
            ("internalTrafficPolicy", Plain),
            ("externalTrafficPolicy", Plain),
            ("trafficDistribution", Plain),
            ("sessionAffinity", Plain),
            (
                "sessionAffinityConfig",
                Fields(&[("clientIP", Fields(&[("timeoutSeconds", Plain)]))]),
            ),
            ("loadBalancerClass", Plain),
            ("publishNotReadyAddresses", Plain),
        ]),
    ),
    (
        "status",
        Fields(&[(
            "loadBalancer",
            Fields(&[("ingress", Each(&Fields(&[("hostname", Plain), ("ip", Plain)])))]),
        )]),
    ),
]);

const SLICE: Keep = Fields(&[
    ("metadata", LABELLED),
    ("addressType", Plain),
    (
        "endpoints",
        Each(&Fields(&[
            ("addresses", Plains),
            (
                "conditions",
                Fields(&[("ready", Plain), ("serving", Plain), ("terminating", Plain)]),
            ),
            ("nodeName", Plain),
            ("zone", Plain),
            (
                "hints",
                Fields(&[("forZones", Each(&Fields(&[("name", Plain)])))]),
            ),
        ])),
    ),
    (
        "ports",
        Each(&Fields(&[("name", Plain), ("port", Plain), ("protocol", Plain)])),
    ),
]);

const CONDITIONS: Keep = Each(&Fields(&[("type", Plain), ("status", Plain)]));

const NODE: Keep = Fields(&[
    (
        "metadata",
        Fields(&[
            ("name", Plain),
            ("labels", Plains),
            ("annotations", Named(node::keeps_annotation)),
        ]),
    ),
    (
        "spec",
        Fields(&[
            ("providerID", Plain),
            ("unschedulable", Plain),
            (
                "taints",
                Each(&Fields(&[("key", Plain), ("value", Plain), ("effect", Plain)])),
            ),
        ]),
    ),
    (
        "status",
        Fields(&[
            ("conditions", CONDITIONS),
            (
                "nodeInfo",
                Fields(&[
                    ("operatingSystem", Plain),
                    ("kernelVersion", Plain),
                    ("kubeletVersion", Plain),
                ]),
            ),
        ]),
    ),
]);

const CONTAINERS: Keep = Each(&Fields(&[
    ("name", Plain),
    ("image", Plain),
    ("command", Plains),
    ("args", Plains),
    (
        "volumeMounts",
        Each(&Fields(&[("name", Plain), ("mountPath", Plain)])),
    ),
    ("resources", Fields(&[("limits", Fields(&[("memory", Plain)]))])),
    (
        "env",
        // Where a value comes from is of no interest; that it comes from elsewhere is.
        Each(&Fields(&[
            ("name", Plain),
            ("value", Plain),
            ("valueFrom", Fields(&[])),
        ])),
    ),
    (
        "lifecycle",
        Fields(&[("postStart", Fields(&[("exec", Fields(&[("command", Plains)]))]))]),
    ),
]));

const REQUIREMENTS: Keep = Each(&Fields(&[
    ("key", Plain),
    ("operator", Plain),
    ("values", Plains),
]));

/// Which nodes a Pod may run on, apart from `nodeSelector`.
const AFFINITY: Keep = Fields(&[(
    "nodeAffinity",
    Fields(&[(
        "requiredDuringSchedulingIgnoredDuringExecution",
        Fields(&[(
            "nodeSelectorTerms",
            Each(&Fields(&[
                ("matchExpressions", REQUIREMENTS),
                ("matchFields", REQUIREMENTS),
            ])),
        )]),
    )]),
)]);

const POD_SPEC: Keep = Fields(&[
    ("nodeName", Plain),
    ("hostNetwork", Plain),
    ("containers", CONTAINERS),
    ("initContainers", CONTAINERS),
    (
        "volumes",
        Each(&Fields(&[
            ("name", Plain),
            (
                "configMap",
                Fields(&[
                    ("name", Plain),
                    ("items", Each(&Fields(&[("key", Plain), ("path", Plain)]))),
                ]),
            ),
        ])),
    ),
    ("nodeSelector", Plains),
    ("affinity", AFFINITY),
    (
        "tolerations",
        Each(&Fields(&[
            ("key", Plain),
            ("operator", Plain),
            ("value", Plain),
            ("effect", Plain),
        ])),
    ),
    ("os", Fields(&[("name", Plain)])),
    (
        "securityContext",
        Fields(&[("sysctls", Each(&Fields(&[("name", Plain), ("value", Plain)])))]),
    ),
]);

const POD: Keep = Fields(&[
    (
        "metadata",
        Fields(&[
            ("name", Plain),
            ("namespace", Plain),
            ("labels", Plains),
            (
                "ownerReferences",
                Each(&Fields(&[
                    ("kind", Plain),
                    ("name", Plain),
                    ("controller", Plain),
                ])),
            ),
        ]),
    ),
    ("spec", POD_SPEC),
    (
        "status",
        Fields(&[
            ("phase", Plain),
            ("startTime", Plain),
            ("conditions", CONDITIONS),
            (
                "containerStatuses",
                Each(&Fields(&[
                    ("name", Plain),
                    ("state", Fields(&[("running", Fields(&[("startedAt", Plain)]))])),
                ])),
            ),
        ]),
    ),
]);

/// A DaemonSet or a Deployment.
const OWNER: Keep = Fields(&[
    ("metadata", NAMED),
    (
        "spec",
        Fields(&[
            ("selector", SELECTOR),
            ("replicas", Plain),
            (
                "template",
                Fields(&[("metadata", Fields(&[("labels", Plains)])), ("spec", POD_SPEC)]),
            ),
        ]),
    ),
    (
        "status",
        Fields(&[("readyReplicas", Plain), ("observedGeneration", Plain)]),
    ),
]);

const CONFIG_MAP: Keep = Fields(&[
    (
        "metadata",
        Fields(&[
            ("name", Plain),
            ("namespace", Plain),
            // When it was written, and not by whom or what of it.
            ("managedFields", Each(&Fields(&[("time", Plain)]))),
        ]),
    ),
    ("data", Plains),
]);

const NODE_CONFIG: Keep = Fields(&[
    ("metadata", NAMED),
    (
        "spec",
        Fields(&[("nodeSelector", SELECTOR), ("defaults", Plains)]),
    ),
]);

const WEBHOOKS: Keep = Fields(&[
    ("metadata", NAMED),
    (
        "webhooks",
        Each(&Fields(&[
            ("name", Plain),
            ("failurePolicy", Plain),
            (
                "rules",
                Each(&Fields(&[
                    ("apiGroups", Plains),
                    ("apiVersions", Plains),
                    ("resources", Plains),
                    ("operations", Plains),
                    ("scope", Plain),
                ])),
            ),
            ("namespaceSelector", SELECTOR),
            ("objectSelector", SELECTOR),
            // That there are some is enough.
            ("matchConditions", Each(&Fields(&[]))),
            (
                "clientConfig",
                Fields(&[(
                    "service",
                    Fields(&[("namespace", Plain), ("name", Plain), ("port", Plain)]),
                )]),
            ),
            ("timeoutSeconds", Plain),
        ])),
    ),
]);

const POLICY: Keep = Fields(&[("metadata", NAMED), ("spec", Whole)]);

/// What is kept of an object of this source.
pub(super) const fn shape(source: Source) -> &'static Keep {
    match source {
        Source::Services => &SERVICE,
        Source::EndpointSlices => &SLICE,
        Source::Nodes => &NODE,
        Source::Namespaces => &Fields(&[("metadata", LABELLED)]),
        Source::Pods => &POD,
        Source::DaemonSets | Source::Deployments => &OWNER,
        Source::ConfigMaps => &CONFIG_MAP,
        Source::CiliumNodeConfigs => &NODE_CONFIG,
        Source::Webhooks => &WEBHOOKS,
        Source::Policies | Source::ClusterPolicy => &POLICY,
        // No list of them exists.
        Source::Configz | Source::Events => &Fields(&[]),
    }
}
