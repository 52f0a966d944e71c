//! The answer of Prometheus' HTTP API to an instant query.
//!
//! `web/api/v1/api.go` of prometheus/prometheus: `Response` is the envelope, and `docs/querying/api.md` says what a vector
//! is. `warnings` say that something is missing, as Thanos does where a store did not answer; VictoriaMetrics says
//! `isPartial`. `infos` only doubt the query's style and are not looked at.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::exposition::{SeriesLabels, millis, number};

/// Most characters of a server's message that are kept.
const MOST_TEXT: usize = 200;

/// Most labels of a series: a query that names the labels it keeps has fewer than ten.
const MOST_LABELS: usize = 64;

/// Why an answer says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not what this API answers: another server, a page of a login, half of an answer.
    #[error("no answer of Prometheus: {0}")]
    NotOne(String),
    /// The query failed.
    #[error("{kind}: {message}")]
    Failed {
        /// `timeout`, `execution`, `bad_data` and so on.
        kind: String,
        /// The server's message.
        message: String,
    },
    /// Not all data was there to be asked.
    #[error("{0}")]
    Partial(String),
    /// Something else than one number for each series.
    #[error("a {0} instead of a vector")]
    NotAVector(String),
    /// More series than are taken.
    #[error("more than {0} series")]
    TooManySeries(usize),
}

/// A series of an answer.
#[derive(Debug)]
pub struct Series<'a> {
    /// Its labels, `__name__` among them where the query keeps it.
    pub labels: &'a SeriesLabels<'a>,
    /// Its value; NaN and the infinities are for the caller to refuse.
    pub value: f64,
    /// When the query was evaluated, in milliseconds since 1970. This is not when the sample was taken.
    pub at: i64,
}

/// Reads an answer of which at most so many series are taken, and gives each to the sink.
///
/// # Errors
/// Why it says nothing; what the sink got counts for nothing then.
pub fn read(body: &[u8], most: usize, sink: &mut dyn FnMut(&Series<'_>)) -> Result<(), AnswerError> {
    let body = std::str::from_utf8(body).map_err(|error| AnswerError::NotOne(cut(&error.to_string())))?;
    let mut found = FoundIn::default();
    let mut json = serde_json::Deserializer::from_str(body);
    let read = AnswerMap(VectorSeed {
        most,
        sink,
        found: &mut found,
    });
    let envelope = read.deserialize(&mut json).and_then(|envelope| {
        json.end()?;
        Ok(envelope)
    });
    if found.too_many {
        return Err(AnswerError::TooManySeries(most));
    }
    if found.histogram {
        return Err(AnswerError::NotAVector("native histogram".to_owned()));
    }
    let envelope = envelope.map_err(|error| not_one(&error))?;
    let status = envelope
        .status
        .ok_or_else(|| AnswerError::NotOne("it has no status".to_owned()))?;
    if status != "success" {
        return Err(AnswerError::Failed {
            kind: cut(&envelope.error_type),
            message: cut(&envelope.error),
        });
    }
    if let Some(first) = &envelope.warning {
        return Err(AnswerError::Partial(cut(first)));
    }
    if envelope.is_partial {
        return Err(AnswerError::Partial("isPartial".to_owned()));
    }
    match found.kind {
        Some(kind) if kind == "vector" && found.has_result => Ok(()),
        Some(kind) if kind == "vector" => Err(AnswerError::NotOne("it has no result".to_owned())),
        Some(kind) => Err(AnswerError::NotAVector(cut(&kind))),
        None => Err(AnswerError::NotOne("it has no data".to_owned())),
    }
}

/// What an answer says beside its data.
#[derive(Debug, Default)]
struct QueryEnvelope<'a> {
    status: Option<Cow<'a, str>>,
    error_type: Cow<'a, str>,
    error: Cow<'a, str>,
    warning: Option<String>,
    is_partial: bool,
}

/// What was found in the data.
#[derive(Debug, Default)]
struct FoundIn {
    too_many: bool,
    histogram: bool,
    /// What kind of result it is.
    kind: Option<String>,
    has_result: bool,
}

/// The keys of a map: what stands twice in one could say two things.
#[derive(Default)]
struct Keys<'a>(BTreeSet<Cow<'a, str>>);

impl<'de> Keys<'de> {
    fn next<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
        use serde::de::Error;

        let Some(BorrowedText(key)) = map.next_key()? else {
            return Ok(None);
        };
        if !self.0.insert(key.clone()) {
            return Err(A::Error::custom("a key stands twice"));
        }
        Ok(Some(key))
    }
}

/// The answer as a whole. Its series go to the sink as they are read: answers have megabytes, and there are some each second.
struct AnswerMap<'s>(VectorSeed<'s>);

impl<'de> DeserializeSeed<'de> for AnswerMap<'_> {
    type Value = QueryEnvelope<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnswerMap<'_> {
    type Value = QueryEnvelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = QueryEnvelope::default();
        let mut keys = Keys::default();
        while let Some(key) = keys.next(&mut map)? {
            match &*key {
                "status" => envelope.status = Some(map.next_value::<BorrowedText<'de>>()?.0),
                "errorType" => envelope.error_type = map.next_value::<BorrowedText<'de>>()?.0,
                "error" => envelope.error = map.next_value::<BorrowedText<'de>>()?.0,
                "warnings" => {
                    let all = map.next_value::<Option<Vec<String>>>()?;
                    envelope.warning = all.into_iter().flatten().next();
                }
                "isPartial" => envelope.is_partial = map.next_value()?,
                "data" => map.next_value_seed(DataMap(&mut self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(envelope)
    }
}

/// The data of an answer; `null` where a query failed.
struct DataMap<'v, 's>(&'v mut VectorSeed<'s>);

impl<'de> DeserializeSeed<'de> for DataMap<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DataMap<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        use serde::de::Error;

        let mut early: Option<&'de RawValue> = None;
        let mut keys = Keys::default();
        while let Some(key) = keys.next(&mut map)? {
            self.0.found.has_result |= key == "result";
            match &*key {
                "resultType" => {
                    let kind = map.next_value::<BorrowedText<'de>>()?.0;
                    self.0.found.kind = Some(kind.into_owned());
                }
                "result" => match self.0.found.kind.as_deref() {
                    Some("vector") => map.next_value_seed(&mut *self.0)?,
                    Some(_) => drop(map.next_value::<IgnoredAny>()?),
                    None => early = Some(map.next_value()?),
                },
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        // A server that says only afterwards what it is.
        if let Some(early) = early.filter(|_| self.0.found.kind.as_deref() == Some("vector")) {
            let mut json = serde_json::Deserializer::from_str(early.get());
            self.0.deserialize(&mut json).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// The vector of an answer, one series at a time.
struct VectorSeed<'s> {
    most: usize,
    sink: &'s mut dyn FnMut(&Series<'_>),
    found: &'s mut FoundIn,
}

/// What a series says beside its labels.
#[derive(Default)]
struct Element<'a> {
    value: Option<(f64, BorrowedText<'a>)>,
    histogram: Option<IgnoredAny>,
}

/// One series. Its labels go where those of the last one were: an answer has ten thousands.
struct ElementSeed<'l, 'de>(&'l mut SeriesLabels<'de>);

/// A text, borrowed where it has no escape.
#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

struct MetricSeed<'l, 'de>(&'l mut SeriesLabels<'de>);

impl<'de> DeserializeSeed<'de> for &mut VectorSeed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut VectorSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        use serde::de::Error;

        let mut count = 0;
        let mut labels = SeriesLabels::default();
        while let Some(element) = elements.next_element_seed(ElementSeed(&mut labels))? {
            count += 1;
            if count > self.most {
                self.found.too_many = true;
                return Err(A::Error::custom("too many series"));
            }
            if element.histogram.is_some() {
                self.found.histogram = true;
                return Err(A::Error::custom("a histogram"));
            }
            let (at, value) = element
                .value
                .ok_or_else(|| A::Error::custom("a series has no value"))?;
            let at = millis(at).ok_or_else(|| A::Error::custom("a time is none"))?;
            let value = number(&value.0).ok_or_else(|| A::Error::custom("a value is no number"))?;
            (self.sink)(&Series {
                labels: &labels,
                value,
                at,
            });
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, 'de> {
    type Value = Element<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ElementSeed<'_, 'de> {
    type Value = Element<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a series")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        use serde::de::Error;

        let mut element = Element::default();
        let [mut metric, mut value, mut histogram] = [false; 3];
        while let Some(BorrowedText(key)) = map.next_key()? {
            let seen = match &*key {
                "metric" => {
                    map.next_value_seed(MetricSeed(self.0))?;
                    &mut metric
                }
                "value" => {
                    element.value = map.next_value()?;
                    &mut value
                }
                "histogram" => {
                    element.histogram = map.next_value()?;
                    &mut histogram
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if std::mem::replace(seen, true) {
                return Err(A::Error::custom("a series says something twice"));
            }
        }
        metric
            .then_some(element)
            .ok_or_else(|| A::Error::missing_field("metric"))
    }
}

impl<'de> DeserializeSeed<'de> for MetricSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetricSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        use serde::de::Error;

        self.0.clear();
        while let Some((name, value)) = map.next_entry::<BorrowedText<'de>, BorrowedText<'de>>()? {
            if self.0.len() == MOST_LABELS {
                return Err(A::Error::custom("a series has too many labels"));
            }
            if !self.0.add(name.0, value.0) {
                return Err(A::Error::custom("a series has a label twice"));
            }
        }
        Ok(())
    }
}

fn not_one(error: &serde_json::Error) -> AnswerError {
    AnswerError::NotOne(cut(&error.to_string()))
}

/// What a server says, shortened.
fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

#[cfg(test)]
mod tests;
