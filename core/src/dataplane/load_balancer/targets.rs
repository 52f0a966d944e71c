//! Whether a load balancer sends to nodes, whose data plane then finds a backend, or straight to Pods.

use super::{ALIBABA, AWS};

/// What a load balancer has as its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Targets {
    /// Nodes, at a node port or at the load balancer's own address: what Kubernetes asks for.
    Nodes,
    /// Pods: no table of a node, no traffic policy and no cordoned node plays a part.
    Pods,
}

/// What a platform does where a Service says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Platform {
    /// Whether nodes are EKS Auto Mode's, which gives every Service of type `LoadBalancer` without a class its own (EKS
    /// guide, "Use Service Annotations to configure Network Load Balancers").
    pub auto_mode: bool,
    /// Whether Pods have Alibaba's own network interfaces, by Terway: then they are the targets unless the Service asks
    /// for nodes (ACK guide, annotations of a Service, `backend-type`).
    pub terway: bool,
}

/// Alibaba's annotation: cloud-provider-alibaba-cloud, `pkg/model/annotation`; `eni` is a Pod's own interface.
const ALIBABA_BACKENDS: &str = "service.beta.kubernetes.io/backend-type";
/// The same in its newer spelling.
const ALIBABA_BACKEND_TYPE: &str = "backend-type";
/// GKE: which network endpoint groups are made, of type `GCE_VM_IP_PORT` (`ingress-gce`, `pkg/annotations/service.go`).
const GKE_NEG: &str = "cloud.google.com/neg";
/// aws-load-balancer-controller, for an Ingress that names this Service: `guide/ingress/annotations`.
const ALB_TARGETS: &str = "alb.ingress.kubernetes.io/target-type";
/// Tencent: TKE guide, "Direct connection to Pods".
const TENCENT_DIRECT: &str = "service.cloud.tencent.com/direct-access";

/// The class of EKS Auto Mode, whose targets are Pods unless the Service asks otherwise (EKS guide, "Use Service
/// Annotations to configure Network Load Balancers").
pub(super) const EKS_AUTO_MODE: &str = "eks.amazonaws.com/nlb";
/// The class of aws-load-balancer-controller, whose targets are nodes unless the Service asks otherwise
/// (`guide/service/annotations`, `nlb-target-type`).
const AWS_CONTROLLER: &str = "service.k8s.aws/nlb";

/// What is in front of a Service of this class (empty where it names none), by its annotations.
///
/// `own` says whether the load balancer is the Service's own, of type `LoadBalancer`: endpoint groups and an Ingress are
/// for others, and beside them GKE's own sends to nodes.
pub fn targets(
    own: bool,
    class: &str,
    platform: Platform,
    annotation: &dyn Fn(&str) -> Option<String>,
) -> Targets {
    let says = |key: &str, wanted: &str| {
        annotation(key).is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let aws = |key: &str| annotation(&format!("{AWS}{key}"));
    let class = match class {
        "" if platform.auto_mode && aws("type").is_none() => EKS_AUTO_MODE,
        class => class,
    };
    let pods = match class {
        EKS_AUTO_MODE => aws("nlb-target-type").is_none_or(|kind| kind.trim() != "instance"),
        AWS_CONTROLLER => aws("nlb-target-type").is_some_and(|kind| kind.trim() == "ip"),
        // Without a class the type says whose it is: the cloud provider itself knows nodes only.
        "" => match aws("type").as_deref().map(str::trim) {
            Some("nlb-ip") => true,
            Some("external") => aws("nlb-target-type").is_some_and(|kind| kind.trim() == "ip"),
            _ => false,
        },
        _ => false,
    };
    let newer = format!("{ALIBABA}{ALIBABA_BACKEND_TYPE}");
    let asked = annotation(ALIBABA_BACKENDS).or_else(|| annotation(&newer));
    let alibaba = match asked {
        Some(kind) => kind.trim().eq_ignore_ascii_case("eni"),
        None => own && platform.terway && (class.is_empty() || class.starts_with("alibabacloud.com/")),
    };
    let tencent = says(TENCENT_DIRECT, "true");
    let of_others = annotation(GKE_NEG).is_some_and(|text| asks_for_pods(&text)) || says(ALB_TARGETS, "ip");
    if pods || alibaba || tencent || (of_others && !own) {
        Targets::Pods
    } else {
        Targets::Nodes
    }
}

/// Whether the annotation asks for endpoint groups of Pods: `{"ingress": true}` or `{"exposed_ports": {...}}`. An empty
/// one, or one with `false`, asks for none; groups of nodes, `GCE_VM_IP`, are made without it.
fn asks_for_pods(text: &str) -> bool {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    text.contains("\"ingress\":true")
        || text
            .split_once("\"exposed_ports\":{")
            .is_some_and(|(_, rest)| !rest.starts_with('}'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
    const TARGET: &str = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";

    #[rstest]
    #[case::nothing_said("", &[], Targets::Nodes)]
    #[case::controller("service.k8s.aws/nlb", &[], Targets::Nodes)]
    #[case::controller_ip("service.k8s.aws/nlb", &[(TARGET, "ip")], Targets::Pods)]
    #[case::controller_by_type("", &[(TYPE, "external"), (TARGET, "ip")], Targets::Pods)]
    #[case::controller_instance("", &[(TYPE, "external"), (TARGET, "instance")], Targets::Nodes)]
    #[case::older("", &[(TYPE, "nlb-ip")], Targets::Pods)]
    #[case::the_cloud_provider_knows_nodes("", &[(TYPE, "nlb"), (TARGET, "ip")], Targets::Nodes)]
    #[case::auto_mode("eks.amazonaws.com/nlb", &[], Targets::Pods)]
    #[case::auto_mode_instance("eks.amazonaws.com/nlb", &[(TARGET, "instance")], Targets::Nodes)]
    #[case::another_class("metallb.io/x", &[(TYPE, "nlb-ip")], Targets::Nodes)]
    #[case::alibaba("", &[(ALIBABA_BACKENDS, "eni")], Targets::Pods)]
    #[case::alibaba_by_class("alibabacloud.com/nlb", &[(ALIBABA_BACKENDS, "eni")], Targets::Pods)]
    #[case::alibaba_nodes("", &[(ALIBABA_BACKENDS, "ecs")], Targets::Nodes)]
    #[case::tencent("", &[(TENCENT_DIRECT, "true")], Targets::Pods)]
    fn by_what_is_asked(#[case] class: &str, #[case] notes: &[(&str, &str)], #[case] expected: Targets) {
        let annotation = |key: &str| {
            let found = notes.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(targets(true, class, Platform::default(), &annotation), expected);
    }

    #[rstest]
    #[case::neg_of_an_ingress((GKE_NEG, "{\"ingress\": true}"), Targets::Pods)]
    #[case::neg_exposed((GKE_NEG, "{\"exposed_ports\": {\"80\": {}}}"), Targets::Pods)]
    #[case::neg_of_nobody((GKE_NEG, "{\"ingress\": false, \"exposed_ports\": {}}"), Targets::Nodes)]
    #[case::alb((ALB_TARGETS, "ip"), Targets::Pods)]
    #[case::alb_to_nodes((ALB_TARGETS, "instance"), Targets::Nodes)]
    fn of_load_balancers_that_are_not_its_own(#[case] note: (&str, &str), #[case] expected: Targets) {
        let annotation = |key: &str| (key == note.0).then(|| note.1.to_owned());
        assert_eq!(targets(false, "", Platform::default(), &annotation), expected);
        assert_eq!(
            targets(true, "", Platform::default(), &annotation),
            Targets::Nodes
        );
    }

    const AUTO_MODE: Platform = Platform {
        auto_mode: true,
        terway: false,
    };
    const TERWAY: Platform = Platform {
        auto_mode: false,
        terway: true,
    };

    #[rstest]
    #[case::auto_mode(AUTO_MODE, true, "", None, Targets::Pods)]
    #[case::auto_mode_instance(AUTO_MODE, true, "", Some((TARGET, "instance")), Targets::Nodes)]
    #[case::auto_mode_beside_the_cloud_provider(AUTO_MODE, true, "", Some((TYPE, "nlb")), Targets::Nodes)]
    #[case::auto_mode_beside_the_controller(AUTO_MODE, true, AWS_CONTROLLER, None, Targets::Nodes)]
    #[case::terway(TERWAY, true, "", None, Targets::Pods)]
    #[case::terway_by_class(TERWAY, true, "alibabacloud.com/clb", None, Targets::Pods)]
    #[case::terway_to_nodes(TERWAY, true, "", Some((ALIBABA_BACKENDS, "ecs")), Targets::Nodes)]
    #[case::terway_beside_another(TERWAY, true, "metallb.io/x", None, Targets::Nodes)]
    #[case::terway_without_a_balancer(TERWAY, false, "", None, Targets::Nodes)]
    fn by_what_the_platform_does_unasked(
        #[case] platform: Platform,
        #[case] own: bool,
        #[case] class: &str,
        #[case] note: Option<(&str, &str)>,
        #[case] expected: Targets,
    ) {
        let annotation = |key: &str| note.filter(|one| one.0 == key).map(|one| one.1.to_owned());
        assert_eq!(targets(own, class, platform, &annotation), expected);
    }
}
