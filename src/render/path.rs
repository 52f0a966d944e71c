//! How a path is drawn.

use std::fmt;

use evenkeel_core::checks::path::budget::{Budget, Segment};
use evenkeel_core::know::Val;
use evenkeel_core::paths::PathView;
use evenkeel_core::route::Meets;
use serde_json::{Value, json};

use crate::escape::line;
use crate::render::screen::Screen;

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
        "from": segment.from.name,
        "to": segment.to.name,
        "keepaliveSeconds": {"best": setting(segment.keepalive.best.as_ref()), "worst": setting(segment.keepalive.worst.as_ref())},
        "wireSilenceSeconds": {"best": setting(segment.silence.best.as_ref()), "worst": setting(segment.silence.worst.as_ref())},
        "poolSeconds": {"best": setting(segment.pool.best.as_ref()), "worst": setting(segment.pool.worst.as_ref())},
        "hops": hops.collect::<Vec<_>>(),
        "closesWithoutData": segment.closings.iter().map(|closing| {
            json!({"hop": closing.hop, "idleSeconds": setting(Some(&closing.idle))})
        }).collect::<Vec<_>>(),
    })
}

/// Paths as drawings for Markdown: indented, so that nothing in them is markup.
pub(crate) fn draw_markdown(path: &PathView) -> String {
    draw(path)
        .lines()
        .fold(String::new(), |text, line| text + "    " + line + "\n")
}

/// A path as a drawing.
pub(crate) fn draw(path: &PathView) -> String {
    let mut out = String::new();
    let client = if path.client.is_empty() {
        "any client"
    } else {
        &path.client
    };
    put(
        &mut out,
        format_args!(
            "{client} to {}:{} over {} (policy {}, connection {})",
            path.service, path.port, path.protocol, path.policy, path.connection
        ),
    );
    put(
        &mut out,
        format_args!(
            "  longest silence  R = {}",
            seconds(path.silence.as_ref(), "not declared: unbounded")
        ),
    );
    for segment in &path.segments {
        draw_segment(&mut out, segment);
    }
    for finding in &path.findings {
        put(
            &mut out,
            format_args!(
                "  {} {} ({}): {}",
                finding.verdict,
                finding.check,
                finding.severity.name(),
                finding.message
            ),
        );
        for (at, advice) in finding.advice.iter().enumerate() {
            put(&mut out, format_args!("    {}. {advice}", at + 1));
        }
    }
    if path.findings.is_empty() {
        put(&mut out, format_args!("  nothing is wrong with it"));
    }
    out
}

/// Adds a line, made harmless as a whole: its names and sources are those of objects.
fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let text = line(&text);
    match Screen::current().columns {
        Some(columns) => out.push_str(&hanging(&text, columns)),
        None => out.push_str(&text),
    }
    out.push('\n');
}

/// A line of the drawing in pieces of so many columns, cut at spaces: what follows hangs below its text, and the line of the
/// path goes on beside it.
fn hanging(text: &str, columns: usize) -> String {
    let indent = text.len() - text.trim_start().len();
    let on_the_path = text.trim_start().starts_with(['|', '+']);
    let margin = " ".repeat(indent) + if on_the_path { "|      " } else { "   " };
    let mut lines = String::new();
    let mut rest = text.to_owned();
    while rest.chars().count() > columns {
        // Behind the margin there is a word at least, or the rest would never get shorter.
        let fits = rest
            .char_indices()
            .nth(columns + 1)
            .map_or(rest.len(), |one| one.0);
        let head = rest.get(..fits).unwrap_or_default();
        let Some(cut) = head.rfind(' ').filter(|cut| *cut > margin.len()) else {
            break;
        };
        let (head, tail) = rest.split_at(cut);
        lines = lines + head.trim_end() + "\n";
        rest = margin.clone() + tail.trim_start();
    }
    lines + &rest
}

fn draw_segment(out: &mut String, segment: &Segment) {
    out.push('\n');
    put(out, format_args!("  [{}]", segment.from.name));
    let keepalive = match (&segment.keepalive.best, &segment.keepalive.worst) {
        (Some(best), None) if best.value <= 1 => "not declared: may be on or off".to_owned(),
        (_, worst) => seconds(worst.as_ref(), "none"),
    };
    put(out, format_args!("    |  first keepalive   K = {keepalive}"));
    put(
        out,
        format_args!(
            "    |  silence on wire   G = {}",
            seconds(segment.silence.worst.as_ref(), "unbounded")
        ),
    );
    for table in &segment.tables {
        let idle = match &table.idle {
            Ok(val) => format!(
                "forgets after {} s  [{:?}: {}]",
                val.value, val.origin, val.source
            ),
            Err(gap) => format!("forgets after ? s  [{gap}]"),
        };
        put(out, format_args!("    +- {}: {idle}", table.hop));
    }
    for closing in &segment.closings {
        put(
            out,
            format_args!(
                "    +- {}: closes after {} s without data, whatever keepalives it sees  [{:?}: {}]",
                closing.hop, closing.idle.value, closing.idle.origin, closing.idle.source
            ),
        );
    }
    let tightest = segment.tightest();
    let least = tightest.map(|(_, idle)| idle.value);
    let is_found_again = tightest.is_some_and(|(table, _)| table.meets == Meets::FoundAgain);
    // The same judgement as the check's, so that both say the same.
    let how = match segment.budget() {
        Budget::Kept => "G <= 0.8 T: kept alive",
        Budget::Narrow => "G > 0.8 T: narrow",
        Budget::Undeclared if is_found_again => "G >= T at worst: found again, unless nodes have changed",
        Budget::Undeclared => "G >= T at worst: what is not declared, or where the client runs, decides",
        Budget::Forgotten => "G >= T: forgotten while it is still in use",
        Budget::Unknown(_) => "a hop is not known: T may be less",
        Budget::NoTable => "",
    };
    if let Some(least) = least {
        put(
            out,
            format_args!("    |  least timeout     T = {least} s   {how}"),
        );
    }
    put(out, format_args!("    v"));
    put(out, format_args!("  [{}]", segment.to.name));
    out.push('\n');
}

fn seconds(val: Option<&Val<i64>>, none: &str) -> String {
    val.map_or_else(
        || none.to_owned(),
        |val| format!("{} s  [{:?}: {}]", val.value, val.origin, val.source),
    )
}

#[cfg(test)]
mod tests {
    use evenkeel_core::checks::path::budget::{Side, Span, TableHop};
    use evenkeel_core::know::{Gap, Known};
    use rstest::rstest;

    use super::*;

    fn silence(best: Option<i64>, worst: Option<i64>) -> Span {
        let val = |seconds: Option<i64>| seconds.map(|seconds| Val::declared(seconds, "policy"));
        Span {
            best: val(best),
            worst: val(worst),
        }
    }

    #[rstest]
    #[case("    +- table: forgets after 900 s", 80, "    +- table: forgets after 900 s")]
    #[case(
        "    +- table: forgets after 900 s",
        20,
        "    +- table:\n    |      forgets\n    |      after 900\n    |      s"
    )]
    #[case("  longest silence  R", 18, "  longest silence\n     R")]
    #[case("  averyveryverylongword", 10, "  averyveryverylongword")]
    fn lines_hang_below_their_text(#[case] text: &str, #[case] columns: usize, #[case] expected: &str) {
        assert_eq!(hanging(text, columns), expected);
    }

    fn table(hop: &str, idle: Known<Val<i64>>) -> TableHop {
        TableHop {
            hop: hop.into(),
            idle,
            end: None,
            meets: Meets::Surely,
        }
    }

    fn drawn(silence: Span, tables: Vec<TableHop>) -> String {
        let segment = Segment {
            from: Side::named("job"),
            to: Side::named("shop/api"),
            keepalive: silence.clone(),
            idle_keepalive: silence.clone(),
            stream: silence.clone(),
            pool: silence.clone(),
            silence,
            tables,
            closings: Vec::new(),
            closes_after: None,
        };
        let mut out = String::new();
        draw_segment(&mut out, &segment);
        out
    }

    #[rstest]
    #[case::kept(silence(Some(720), Some(720)), true, "G <= 0.8 T: kept alive")]
    #[case::narrow(silence(Some(1), Some(899)), true, "G > 0.8 T: narrow")]
    #[case::forgotten(silence(Some(900), None), true, "G >= T: forgotten while it is still in use")]
    #[case::undeclared(
        silence(Some(1), None),
        true,
        "G >= T at worst: what is not declared, or where the client runs, decides"
    )]
    #[case::a_hop_unknown(silence(Some(1), Some(1)), false, "a hop is not known: T may be less")]
    #[case::decided_all_the_same(silence(None, None), false, "G >= T: forgotten while it is still in use")]
    fn a_segment_says_what_the_check_says(
        #[case] silence: Span,
        #[case] known: bool,
        #[case] expected: &str,
    ) {
        let mut tables = vec![table("ipvs", Ok(Val::declared(900, "file")))];
        if !known {
            tables.push(table("firewall", Err(Gap::Opaque("not declared".into()))));
        }
        let out = drawn(silence, tables);
        assert!(out.contains(&format!("T = 900 s   {expected}\n")), "{out}");
    }

    #[test]
    fn a_connection_that_is_found_again_is_not_lost_for_sure() {
        let balancer = TableHop {
            meets: Meets::FoundAgain,
            ..table("balancer", Ok(Val::declared(900, "annotation")))
        };
        let out = drawn(silence(Some(1800), Some(1800)), vec![balancer]);
        assert!(
            out.contains("G >= T at worst: found again, unless nodes have changed"),
            "{out}"
        );
    }
}
