//! Label selectors with bounds: the ones of Kubernetes have none, and rules over them would cost without limit.

#![allow(
    unreachable_pub,
    reason = "the derivation of the schema repeats each type inside a function"
)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;

/// Selects objects by their labels; all requirements must hold. An empty selector selects everything.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text::labels")]
    #[x_kube(validation = Rule::new("self.all(key, size(key) <= 317)").message("a label key has at most 317 characters"))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement on one label.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0"
).message("values must be empty for the operators Exists and DoesNotExist").field_path(".values"))]
#[x_kube(validation = Rule::new(
    "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)"
).message("values must not be empty for the operators In and NotIn").field_path(".values"))]
pub struct LabelRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317), regex(pattern = text::LABEL_KEY))]
    pub key: String,
    /// How the label's value is compared with the values.
    pub operator: LabelOperator,
    /// The values compared with; only for In and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63), regex(pattern = text::LABEL_VALUE)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub values: Vec<String>,
}

/// How a label requirement compares.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}
