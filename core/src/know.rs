//! What is known, how well, and when.
//!
//! Every number that evenkeel shows to a person carries where it came from. A [`Val`] is a value with its
//! [`Origin`] and the place it was read; a [`Gap`] is the reason why there is no value. A read of the world gives
//! a [`Known`], and `?` inside a check turns a gap into the verdict Unknown: no check has to remember it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use crate::source::Source;

/// Monotonic time in milliseconds since the process started: gates, ages and timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

/// Wall-clock time in seconds since the Unix epoch: only for what is stored in objects.
///
/// No conversion between [`Mono`] and [`Wall`] exists: a clock that jumps must not age a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(pub i64);

/// The present, always an argument: the clock lives outside this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic milliseconds.
    pub mono: Mono,
    /// Seconds since the Unix epoch.
    pub wall: Wall,
}

impl Mono {
    /// So many milliseconds later.
    #[must_use]
    pub const fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds since an earlier moment; none since a later one.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Now {
    /// The time at which a core that judges only once is fed: no time passes in it, so its history stays empty.
    pub const ONCE: Self = Self {
        mono: Mono(0),
        wall: Wall(0),
    };
}

/// A set of [`Source`]s: what a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Reads(u32);

impl Reads {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The set of the given sources; `const`, so that a check's table line can hold it.
    pub const fn of(sources: &[Source]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < sources.len() {
            bits |= 1 << sources[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    /// The set as bits, one for each source.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Sources that only an agent on the node can read. There is none yet; a check that needs one says so wherever
    /// checks are listed.
    pub const OF_AGENT: Self = Self::NONE;

    /// Whether the set holds this source.
    pub const fn has(self, source: Source) -> bool {
        self.0 & (1 << source as u32) != 0
    }

    /// Whether the two sets share a source.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What this set holds and the other does not.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The sources of the set, in the order of [`Source::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.has(*source))
    }
}

/// How a value came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Origin {
    /// Somebody measured it on the running thing.
    Measured,
    /// It is written in an object.
    Declared,
    /// It is the known default of that very version.
    Default,
    /// It is the default of an unknown version, platform or client library: never enough for `critical`.
    Assumed,
}

/// A value, how it came to be known, and where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Val<T> {
    /// The value.
    pub value: T,
    /// How it came to be known.
    pub origin: Origin,
    /// Where: object, field and, for defaults, the upstream file.
    pub source: Arc<str>,
}

impl<T> Val<T> {
    /// A value written in an object.
    pub fn declared(value: T, source: impl Into<Arc<str>>) -> Self {
        Self {
            value,
            origin: Origin::Declared,
            source: source.into(),
        }
    }

    /// The known default of a known version.
    pub fn default_of(value: T, source: impl Into<Arc<str>>) -> Self {
        Self {
            value,
            origin: Origin::Default,
            source: source.into(),
        }
    }

    /// A default of something whose version, platform or library is not known.
    pub fn assumed(value: T, source: impl Into<Arc<str>>) -> Self {
        Self {
            value,
            origin: Origin::Assumed,
            source: source.into(),
        }
    }

    /// A value read from the running thing.
    pub fn measured(value: T, source: impl Into<Arc<str>>) -> Self {
        Self {
            value,
            origin: Origin::Measured,
            source: source.into(),
        }
    }

    /// Another value of the same provenance.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Val<U> {
        Val {
            value: to(self.value),
            origin: self.origin,
            source: self.source,
        }
    }
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Gap {
    /// This source was not read: in files, the kind appears nowhere.
    Missing(Source),
    /// The source was read, but its last sign of life is too old to build on.
    Stale(Source),
    /// The source was refused or failed as a whole.
    Unreadable(Source, Arc<str>),
    /// One object or value could not be understood, or exists where this program cannot look.
    Opaque(Arc<str>),
    /// No object shows it, and nobody has declared it; what to declare.
    Undeclared(Arc<str>),
    /// The data plane of this node is none that evenkeel knows.
    UnsupportedDataPlane(Arc<str>),
    /// The source has not been watched for so many seconds yet.
    WarmingUp(Source, u32),
    /// The source was lost a moment ago, and what may rest on it has not been judged since.
    Outdated(Source),
    /// Nobody has measured it, or not lately, and why.
    Unmeasured(Arc<str>),
    /// This metric has been measured too few times since evenkeel runs or since it began anew: its growth takes two samples,
    /// a share a few more.
    TooFewSamples(Arc<str>),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(source) => write!(f, "{source} were not read"),
            Self::Stale(source) => write!(f, "{source} are stale"),
            Self::Unreadable(source, why) => write!(f, "{source} could not be read: {why}"),
            Self::Opaque(why) | Self::Undeclared(why) => f.write_str(why),
            Self::UnsupportedDataPlane(why) => write!(f, "unsupported data plane: {why}"),
            Self::WarmingUp(source, seconds) => {
                write!(f, "{source} have not been watched for {seconds} s yet")
            }
            Self::Outdated(source) => {
                write!(
                    f,
                    "{source} are no longer read, and this was not judged again yet"
                )
            }
            Self::Unmeasured(why) => write!(f, "not measured: {why}"),
            Self::TooFewSamples(metric) => write!(f, "{metric} has too few samples yet"),
        }
    }
}

/// A value or the reason why there is none.
pub type Known<T> = Result<T, Gap>;

/// The unit of a number that is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// A plain count.
    #[serde(rename = "count")]
    Count,
    /// Hundredths of a whole.
    #[serde(rename = "%")]
    Percent,
    /// New connections in a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Not a number: a name, a version, a mode.
    #[serde(rename = "")]
    None,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => " s",
            Self::PerSecond => "/s",
            Self::Percent => " %",
            Self::Bytes => " B",
            Self::Count | Self::None => "",
        })
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "the one type that is a point of the calendar"
)]
impl fmt::Display for Wall {
    /// As RFC 3339 writes it in UTC: `2026-11-21T13:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond the years that a calendar has, the nearest one it has.
        let nearest = self
            .0
            .clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
        jiff::Timestamp::from_second(nearest)
            .map_err(|_| fmt::Error)?
            .fmt(f)
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "the one type that is a point of the calendar"
)]
impl Wall {
    /// Reads an RFC 3339 timestamp such as `2026-11-21T13:00:00Z`, with fraction and offset; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        // The fraction is cut off, also before 1970.
        Some(Self(at.as_millisecond().div_euclid(1_000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1970-01-01T00:00:00Z", Some(0))]
    #[case("2026-11-21T13:00:00Z", Some(1_795_266_000))]
    #[case("2026-11-21T13:00:00.123456Z", Some(1_795_266_000))]
    #[case("2026-11-21T14:00:00+01:00", Some(1_795_266_000))]
    #[case("2024-02-29T00:00:00Z", Some(1_709_164_800))]
    #[case("2023-02-29T00:00:00Z", None)]
    #[case("2026-11-21", None)]
    #[case("", None)]
    #[case("2026-11-21T13:00:00", None)]
    #[case("éééééééééééééé", None)]
    fn timestamps(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(Wall::parse(text).map(|wall| wall.0), seconds);
    }

    #[test]
    fn what_is_written_is_read() {
        for day in -1_000_i64..60_000 {
            let wall = Wall(day * 86_400 + day.rem_euclid(86_400));
            assert_eq!(Wall::parse(&wall.to_string()), Some(wall));
        }
        assert_eq!(Wall(1_795_266_000).to_string(), "2026-11-21T13:00:00Z");
    }
}
