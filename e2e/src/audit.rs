//! What an API server has noted of the requests it answered.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The name of the operator's account, as audit logs have it.
pub const ACCOUNT: &str = "system:serviceaccount:evenkeel-system:evenkeel";

/// Every event of a log so far.
pub fn events(log: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    // A line that is being written is not an event yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).context("reading an audit event"))
        .collect()
}

/// What a user, or somebody in its name, has asked for and was answered.
pub fn asked_by(events: Vec<Value>, user: &str) -> Vec<Value> {
    let mut events = answered_to(events, user);
    events.retain(|event| event["stage"] == "ResponseComplete");
    events
}

/// The same with watches that are under way: they are noted when they begin, and once more when they end.
pub fn answered_to(mut events: Vec<Value>, user: &str) -> Vec<Value> {
    events.retain(|event| {
        let name = |of: &str| event[of]["username"].as_str();
        name("impersonatedUser").or_else(|| name("user")) == Some(user)
    });
    events
}

/// Whether it wrote the status of something.
pub fn is_status(event: &Value) -> bool {
    event["verb"] == "patch" && event["objectRef"]["subresource"] == "status"
}
