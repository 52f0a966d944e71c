//! How a path is drawn.

use std::fmt::Write as _;

use evenkeel_core::checks::path::budget::Segment;
use evenkeel_core::know::Val;
use evenkeel_core::paths::PathView;
use serde_json::{Value, json};

/// A path as data.
pub(crate) fn view(path: &PathView) -> Value {
    json!({
        "policy": path.policy,
        "connection": path.connection,
        "client": path.client,
        "service": path.service,
        "port": path.port,
        "protocol": path.protocol,
        "silenceSeconds": setting(path.silence.as_ref()),
        "segments": path.segments.iter().map(segment).collect::<Vec<_>>(),
        "findings": path.findings,
    })
}

fn setting(val: Option<&Val<i64>>) -> Value {
    val.map_or(
        Value::Null,
        |val| json!({"value": val.value, "unit": "s", "origin": val.origin, "source": val.source}),
    )
}

fn segment(segment: &Segment) -> Value {
    let hops = segment.tables.iter().map(|table| {
        let idle = match &table.idle {
            Ok(val) => setting(Some(val)),
            Err(gap) => json!({"unknown": gap.to_string()}),
        };
        json!({"hop": table.hop, "idleSeconds": idle})
    });
    json!({
        "from": segment.from,
        "to": segment.to,
        "keepaliveSeconds": {"best": setting(segment.keepalive.best.as_ref()), "worst": setting(segment.keepalive.worst.as_ref())},
        "wireSilenceSeconds": {"best": setting(segment.silence.best.as_ref()), "worst": setting(segment.silence.worst.as_ref())},
        "hops": hops.collect::<Vec<_>>(),
    })
}

/// A path as a drawing.
pub(crate) fn draw(path: &PathView) -> String {
    let mut out = String::new();
    let client = if path.client.is_empty() {
        "any client"
    } else {
        &path.client
    };
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "{client} to {}:{} over {} (policy {}, connection {})",
        path.service, path.port, path.protocol, path.policy, path.connection
    );
    let _ = writeln!(
        out,
        "  longest silence  R = {}",
        seconds(path.silence.as_ref(), "not declared: unbounded")
    );
    for segment in &path.segments {
        draw_segment(&mut out, segment);
    }
    for finding in &path.findings {
        let _ = writeln!(
            out,
            "  {} {} ({}): {}",
            finding.verdict,
            finding.check,
            finding.severity.name(),
            finding.message
        );
        for (at, advice) in finding.advice.iter().enumerate() {
            let _ = writeln!(out, "    {}. {advice}", at + 1);
        }
    }
    if path.findings.is_empty() {
        let _ = writeln!(out, "  nothing is wrong with it");
    }
    out
}

fn draw_segment(out: &mut String, segment: &Segment) {
    let _ = writeln!(out, "\n  [{}]", segment.from);
    let keepalive = match (&segment.keepalive.best, &segment.keepalive.worst) {
        (Some(best), None) if best.value <= 1 => "not declared: may be on or off".to_owned(),
        (_, worst) => seconds(worst.as_ref(), "none"),
    };
    let _ = writeln!(out, "    |  first keepalive   K = {keepalive}");
    let _ = writeln!(
        out,
        "    |  silence on wire   G = {}",
        seconds(segment.silence.worst.as_ref(), "unbounded")
    );
    let mut least: Option<i64> = None;
    for table in &segment.tables {
        let idle = match &table.idle {
            Ok(val) => {
                least = Some(least.map_or(val.value, |held| held.min(val.value)));
                format!(
                    "forgets after {} s  [{:?}: {}]",
                    val.value, val.origin, val.source
                )
            }
            Err(gap) => format!("forgets after ? s  [{gap}]"),
        };
        let _ = writeln!(out, "    +- {}: {idle}", table.hop);
    }
    let worst = segment.silence.worst.as_ref().map(|val| val.value);
    if let Some(least) = least {
        let how = match worst {
            Some(silence) if silence * 10 <= least * 8 => "G <= 0.8 T: kept alive",
            Some(silence) if silence < least => "G > 0.8 T: narrow",
            _ => "G >= T: forgotten while it is still in use",
        };
        let _ = writeln!(out, "    |  least timeout     T = {least} s   {how}");
    }
    let _ = writeln!(out, "    v\n  [{}]\n", segment.to);
}

fn seconds(val: Option<&Val<i64>>, none: &str) -> String {
    val.map_or_else(
        || none.to_owned(),
        |val| format!("{} s  [{:?}: {}]", val.value, val.origin, val.source),
    )
}
