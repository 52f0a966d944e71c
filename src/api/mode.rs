//! How far evenkeel may go, in both kinds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far evenkeel may go.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It plans nothing.
    #[default]
    Observe,
    /// It asks a person for each act.
    Suggest,
    /// It acts by itself, inside its budgets.
    Enforce,
}
