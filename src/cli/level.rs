//! Levels of severity, as flags and files name them.

use clap::ValueEnum;
use evenkeel_core::judge::Severity;
use serde::Deserialize;

/// A level of severity. What is unknown is below all others, so that only asking for it counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Unknown,
    Info,
    Warning,
    Critical,
}

impl Level {
    /// Whether this severity is at or above the level.
    pub(super) fn covers(self, severity: Severity) -> bool {
        severity
            >= match self {
                Self::Unknown => Severity::Unknown,
                Self::Info => Severity::Info,
                Self::Warning => Severity::Warning,
                Self::Critical => Severity::Critical,
            }
    }
}
