//! One line of a page: a sample.

use std::borrow::Cow;

use super::{Format, SeriesLabels};

/// Most labels of a sample. Prometheus' own `label_limit` is off by default; the widest series of an API server has 12.
const MOST_LABELS: usize = 64;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// The metric, with its suffix: `x_bucket`, `x_total`.
    pub name: &'a str,
    /// Its labels.
    pub labels: SeriesLabels<'a>,
    /// Its value, as it is written: NaN and the infinities are for the caller to refuse.
    pub value: f64,
    /// When it was measured, in milliseconds since 1970, where the page says so.
    pub at: Option<i64>,
}

/// Whether a byte separates what stands in a line.
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Reads a line that begins with a metric's name of this length. The error says what is wrong.
pub(super) fn parse(line: &[u8], name: usize, format: Format) -> Result<Sample<'_>, &'static str> {
    let line = str::from_utf8(line).map_err(|_| "is no UTF-8")?;
    let (name, rest) = line.split_at_checked(name).ok_or("has no name")?;
    let rest = skip_blanks(rest);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside)?,
        None => (SeriesLabels::default(), rest),
    };
    let (value, rest) = word(rest).ok_or("has no value")?;
    let value = number(value).ok_or("has a value that is no number")?;
    let (at, rest) = match word(rest) {
        Some((text, after)) if text != "#" => {
            (Some(time(text, format).ok_or("has a time that is none")?), after)
        }
        _ => (None, rest),
    };
    match word(rest) {
        None => {}
        // An exemplar: labels, a value and perhaps a time. None of it is wanted.
        Some(("#", exemplar)) if format == Format::OpenMetrics && skip_blanks(exemplar).starts_with('{') => {}
        Some(_) => return Err("has something after its value"),
    }
    Ok(Sample {
        name,
        labels,
        value,
        at,
    })
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// The next word, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = skip_blanks(text);
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(word, _)| !word.is_empty())
}

/// A number as Go's `strconv.ParseFloat` reads it, without its hexadecimal form, which no exporter writes.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A time in milliseconds.
fn time(text: &str, format: Format) -> Option<i64> {
    match format {
        Format::Text => text.parse().ok(),
        Format::OpenMetrics => millis(number(text)?),
    }
}

/// Seconds since 1970 as milliseconds; `None` where they are out of all reason.
pub(crate) fn millis(seconds: f64) -> Option<i64> {
    // The year 9999, the last that a timestamp of ours can hold.
    const LAST: f64 = 253_402_300_799.0;
    (0.0..=LAST)
        .contains(&seconds)
        .then(|| (seconds * 1000.0).round() as i64)
}

/// Labels from behind `{` to behind `}`, and what follows.
fn parse_labels(text: &str) -> Result<(SeriesLabels<'_>, &str), &'static str> {
    let mut labels = SeriesLabels::default();
    let mut rest = skip_blanks(text);
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        if labels.len() == MOST_LABELS {
            return Err("has more than 64 labels");
        }
        let (name, after) = label_name(rest).ok_or("has a label without a name")?;
        let after = skip_blanks(after)
            .strip_prefix('=')
            .ok_or("has a label without `=`")?;
        let after = skip_blanks(after)
            .strip_prefix('"')
            .ok_or("has a label that is not quoted")?;
        let (value, after) = label_value(after)?;
        if !labels.add(Cow::Borrowed(name), value) {
            return Err("has a label twice");
        }
        rest = skip_blanks(after);
        match rest.strip_prefix(',') {
            // A comma may follow the last label as well.
            Some(after) => rest = skip_blanks(after),
            None if rest.starts_with('}') => {}
            None => return Err("has labels that do not end"),
        }
    }
}

fn label_name(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let begins = name.bytes().next()?;
    (!begins.is_ascii_digit()).then_some((name, rest))
}

/// A value from behind its first quote to behind its last, and what follows. It is copied only where it has an escape.
fn label_value(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    const ENDLESS: &str = "has a label that does not end";
    let mut copy: Option<String> = None;
    let mut rest = text;
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest.as_bytes()).ok_or(ENDLESS)?;
        let (plain, from) = rest.split_at_checked(at).ok_or(ENDLESS)?;
        if let Some(after) = from.strip_prefix('"') {
            return Ok(match copy {
                None => (Cow::Borrowed(plain), after),
                Some(mut value) => {
                    value.push_str(plain);
                    (Cow::Owned(value), after)
                }
            });
        }
        let mut chars = from.chars();
        let (_, escaped) = (chars.next(), chars.next().ok_or(ENDLESS)?);
        let value = copy.get_or_insert_default();
        value.push_str(plain);
        match escaped {
            '\\' | '"' => value.push(escaped),
            'n' => value.push('\n'),
            // Prometheus' own parsers differ: `expfmt/text_parse.go`, `readTokenAsLabelValue`, refuses any other, and
            // `model/textparse` keeps it as it is. A label that may mean two things says nothing.
            _ => return Err("has an escape that is none"),
        }
        rest = chars.as_str();
    }
}
