//! Where the scheduler may put a Pod, as far as nodes decide it: `nodeSelector`, required node affinity, tolerations.
//!
//! Preferences, spreads and other Pods are left out: they say where a Pod would rather be, or depend on the moment.

use serde::Deserialize;

use super::{Text, TextMap, or_default, pairs};
use crate::names::{Name, Names, Pairs};
use crate::sources::node::Node;
use crate::sources::taint::{Taint, is_passing};

/// What a Pod asks of its node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Placement {
    /// `nodeSelector`.
    pub selector: Pairs,
    /// Terms of `requiredDuringSchedulingIgnoredDuringExecution`, of which one must hold; `None` where there are none
    /// to hold.
    terms: Option<Box<[Term]>>,
    tolerations: Box<[Toleration]>,
    /// `spec.os.name`; empty when absent.
    os: Name,
}

/// Requirements that must hold together; a term without any matches no node (`component-helpers/scheduling/corev1`).
type Term = Box<[NodeRequirement]>;

/// One requirement of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NodeRequirement {
    key: Name,
    /// Whether it is of `matchFields`, where `metadata.name` is the one key there is.
    field: bool,
    operator: NodeOperator,
    values: Box<[Name]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum NodeOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// None that the API has: it holds nowhere.
    Other,
}

/// A taint that a Pod bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Toleration {
    /// Empty bears every key.
    key: Name,
    /// `None` bears every value.
    value: Option<Name>,
    /// Empty bears every effect.
    effect: Name,
}

/// The label of a node's operating system (`k8s.io/api/core/v1/well_known_labels.go`).
const OS: &str = "kubernetes.io/os";

impl Placement {
    /// Whether the Pod may run on a node, as far as the node's name, labels and lasting taints show.
    pub fn allows(&self, name: Name, node: &Node, names: &Names) -> bool {
        self.fits(name, node, names) && node.taints.iter().all(|taint| self.bears(taint))
    }

    /// The operating system that the Pod asks for by field or label; empty where it does not.
    pub fn asked_os<'n>(&self, names: &'n Names) -> &'n str {
        if self.os.is_empty() {
            self.selector.text(names, OS).unwrap_or("")
        } else {
            names.text(self.os)
        }
    }

    fn fits(&self, name: Name, node: &Node, names: &Names) -> bool {
        let selected = self.selector.iter().all(|(key, value)| {
            // The operating system is a label of every node; a dump may have lost it.
            node.labels.get(key).map_or_else(
                || names.text(key) == OS && is_os(node, value, names),
                |held| held == value,
            )
        });
        selected
            && self.terms.as_ref().is_none_or(|terms| {
                let holds =
                    |term: &Term| !term.is_empty() && term.iter().all(|line| line.holds(name, node, names));
                terms.iter().any(holds)
            })
    }

    fn bears(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|one| {
            (one.key.is_empty() || one.key == taint.key)
                && one.value.is_none_or(|value| value == taint.value)
                && (one.effect.is_empty() || one.effect == taint.effect)
        })
    }
}

/// Whether a node is of this operating system; one that does not say so may be.
fn is_os(node: &Node, os: Name, names: &Names) -> bool {
    node.os.is_empty() || names.text(node.os).eq_ignore_ascii_case(names.text(os))
}

impl NodeRequirement {
    fn holds(&self, name: Name, node: &Node, names: &Names) -> bool {
        let held = if self.field {
            Some(name)
        } else {
            node.labels.get(self.key)
        };
        let held = held.or_else(|| (names.text(self.key) == OS && !node.os.is_empty()).then_some(node.os));
        let among = || held.is_some_and(|held| self.values.contains(&held));
        let compare = |to: fn(i64, i64) -> bool| {
            let (Some(held), [bound]) = (held, &*self.values) else {
                return false;
            };
            match (names.text(held).parse(), names.text(*bound).parse()) {
                (Ok(held), Ok(bound)) => to(held, bound),
                _ => false,
            }
        };
        match self.operator {
            NodeOperator::In => among(),
            NodeOperator::NotIn => !among(),
            NodeOperator::Exists => held.is_some(),
            NodeOperator::DoesNotExist => held.is_none(),
            NodeOperator::Gt => compare(|held, bound| held > bound),
            NodeOperator::Lt => compare(|held, bound| held < bound),
            NodeOperator::Other => false,
        }
    }
}

/// `spec.os`.
#[derive(Deserialize, Default)]
pub(super) struct Os<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    name: Text<'a>,
}

/// `spec.affinity`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Affinity<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    node_affinity: NodeAffinity<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct NodeAffinity<'a> {
    #[serde(borrow, default)]
    required_during_scheduling_ignored_during_execution: Option<Terms<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terms<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    node_selector_terms: Vec<TermWire<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TermWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    match_expressions: Vec<NodeRequirementWire<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    match_fields: Vec<NodeRequirementWire<'a>>,
}

#[derive(Deserialize)]
struct NodeRequirementWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    key: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    operator: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    values: Vec<Text<'a>>,
}

/// One of `spec.tolerations`.
#[derive(Deserialize)]
pub(super) struct TolerationWire<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    key: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    operator: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    value: Text<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    effect: Text<'a>,
}

impl Placement {
    /// The row of these fields of a Pod's spec.
    pub(super) fn of(
        selector: &TextMap<'_>,
        affinity: &Affinity<'_>,
        tolerations: &[TolerationWire<'_>],
        os: &Os<'_>,
        names: &mut Names,
    ) -> Self {
        let required = &affinity
            .node_affinity
            .required_during_scheduling_ignored_during_execution;
        let terms = required.as_ref().map(|terms| {
            let term = |term: &TermWire<'_>| {
                let lines = term.match_expressions.iter().map(|line| (line, false));
                lines
                    .chain(term.match_fields.iter().map(|line| (line, true)))
                    .map(|(line, field)| line.row(field, names))
                    .collect()
            };
            terms.node_selector_terms.iter().map(term).collect()
        });
        let tolerations = tolerations.iter().filter(|one| !is_passing(&one.key));
        Self {
            selector: pairs(selector, names, |_| true),
            terms,
            tolerations: tolerations
                .map(|one| Toleration {
                    key: names.intern(&one.key),
                    value: (one.operator != "Exists").then(|| names.intern(&one.value)),
                    effect: names.intern(&one.effect),
                })
                .collect(),
            os: names.intern(&os.name),
        }
    }
}

impl NodeRequirementWire<'_> {
    fn row(&self, field: bool, names: &mut Names) -> NodeRequirement {
        NodeRequirement {
            key: names.intern(&self.key),
            field,
            operator: match &*self.operator {
                "In" => NodeOperator::In,
                "NotIn" => NodeOperator::NotIn,
                "Exists" => NodeOperator::Exists,
                "DoesNotExist" => NodeOperator::DoesNotExist,
                "Gt" => NodeOperator::Gt,
                "Lt" => NodeOperator::Lt,
                _ => NodeOperator::Other,
            },
            values: self.values.iter().map(|value| names.intern(value)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::sources::Row;
    use crate::sources::workload::Pod;

    fn allows(spec: &Value, node: &Value) -> bool {
        let mut names = Names::default();
        let pod = json!({"metadata": {"name": "p"}, "spec": spec}).to_string();
        let (_, pod) = Pod::parse(pod.as_bytes(), &mut names).unwrap();
        let (key, node) = Node::parse(node.to_string().as_bytes(), &mut names).unwrap();
        pod.template.placement.allows(key.name, &node, &names)
    }

    fn node() -> Value {
        json!({
            "metadata": {"name": "n1", "labels": {"pool": "a", "cores": "8"}},
            "spec": {"taints": [
                {"key": "dedicated", "value": "ml", "effect": "NoSchedule"},
                {"key": "slow", "effect": "PreferNoSchedule"},
                {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
                {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"},
            ]},
            "status": {"nodeInfo": {"operatingSystem": "linux"}},
        })
    }

    fn affinity(terms: &Value) -> Value {
        json!({
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
            }},
            "tolerations": [{"operator": "Exists"}],
        })
    }

    #[rstest]
    #[case::taint_not_borne(json!({}), false)]
    #[case::every_taint(json!({"tolerations": [{"operator": "Exists"}]}), true)]
    #[case::by_key(json!({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}), true)]
    #[case::by_value(json!({"tolerations": [{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}]}), true)]
    #[case::another_value(json!({"tolerations": [{"key": "dedicated", "value": "web"}]}), false)]
    #[case::another_effect(json!({"tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}]}), false)]
    fn taints(#[case] spec: Value, #[case] expected: bool) {
        assert_eq!(allows(&spec, &node()), expected);
    }

    #[rstest]
    #[case::label(json!({"pool": "a"}), true)]
    #[case::another_value(json!({"pool": "b"}), false)]
    #[case::no_such_label(json!({"zone": "a"}), false)]
    #[case::lost_label_of_the_system(json!({"kubernetes.io/os": "linux"}), true)]
    #[case::another_system(json!({"kubernetes.io/os": "windows"}), false)]
    fn selectors(#[case] selector: Value, #[case] expected: bool) {
        let spec = json!({"nodeSelector": selector, "tolerations": [{"operator": "Exists"}]});
        assert_eq!(allows(&spec, &node()), expected);
    }

    #[rstest]
    #[case::one_of_two_terms(json!([
        {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["b"]}]},
        {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a", "c"]}]},
    ]), true)]
    #[case::all_lines_of_a_term(json!([{"matchExpressions": [
        {"key": "pool", "operator": "Exists"}, {"key": "cores", "operator": "Gt", "values": ["8"]},
    ]}]), false)]
    #[case::less(json!([{"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["9"]}]}]), true)]
    #[case::absent(json!([{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]), true)]
    #[case::absent_is_not_in(json!([{"matchExpressions": [{"key": "gpu", "operator": "NotIn", "values": ["x"]}]}]), true)]
    #[case::by_name(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]), true)]
    #[case::by_another_name(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]), false)]
    #[case::an_empty_term(json!([{}]), false)]
    #[case::no_terms(json!([]), false)]
    #[case::nonsense(json!([{"matchExpressions": [{"key": "pool", "operator": "Like", "values": ["a"]}]}]), false)]
    fn required_affinity(#[case] terms: Value, #[case] expected: bool) {
        assert_eq!(allows(&affinity(&terms), &node()), expected);
    }
}
