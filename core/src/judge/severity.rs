//! How bad a finding is.

use serde::{Deserialize, Serialize};

/// How bad a finding is. `Unknown` is a level of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot be judged.
    Unknown,
    /// Worth knowing.
    Info,
    /// Somebody should look in working hours.
    Warning,
    /// Users are or will be hurt.
    Critical,
}

impl Severity {
    /// As written in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The severities of a check's two bad verdicts, where everything they rest on is known. A milder cause lowers its own
/// ([`super::Explain::at_most`]), and what is merely assumed is never critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Severities {
    /// Of Violated.
    pub violated: Severity,
    /// Of `AtRisk`.
    pub at_risk: Severity,
}

impl Severities {
    /// Violated is critical, `AtRisk` a warning.
    pub const CRITICAL: Self = Self::of(Severity::Critical, Severity::Warning);
    /// Violated is a warning, `AtRisk` worth knowing.
    pub const WARNING: Self = Self::of(Severity::Warning, Severity::Info);
    /// Both are a warning.
    pub const ALWAYS_WARNING: Self = Self::of(Severity::Warning, Severity::Warning);
    /// Both are worth knowing.
    pub const ALWAYS_INFO: Self = Self::of(Severity::Info, Severity::Info);

    /// Of Violated and of `AtRisk`.
    pub const fn of(violated: Severity, at_risk: Severity) -> Self {
        Self { violated, at_risk }
    }
}
