//! Go durations, exactly as Go reads them.
//!
//! kube-proxy and Cilium hand their settings to `time.ParseDuration`, so this reader accepts and refuses the same
//! texts: a bare `900` is refused, a bare `0` is not, and what overflows 64-bit nanoseconds is refused too. Being
//! more generous here would report a value that the process itself never had.

use std::fmt;

use thiserror::Error;

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// The magnitude of the least 64-bit integer: the bound that Go checks against while it adds up.
const LIMIT: u64 = 1 << 63;

/// A Go `time.Duration`: nanoseconds in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GoDuration {
    nanos: i64,
}

/// Why a text is no Go duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Nothing at all.
    #[error("an empty text is no duration, expected a number with a unit such as 15m0s")]
    Empty,
    /// A number without a unit: what people write most often.
    #[error("`{0}` has no unit, expected a number with a unit such as {0}s")]
    MissingUnit(String),
    /// A unit that Go does not have, such as `d`.
    #[error("`{0}` has an unknown unit `{1}`, expected ns, us, ms, s, m or h")]
    UnknownUnit(String, String),
    /// More than 64-bit nanoseconds hold (about 292 years).
    #[error("`{0}` is out of range, expected less than about 2562047h")]
    OutOfRange(String),
    /// Anything else.
    #[error("`{0}` is no duration, expected a number with a unit such as 15m0s")]
    Malformed(String),
}

impl GoDuration {
    /// A duration of whole seconds; saturates.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            nanos: seconds.saturating_mul(1_000_000_000),
        }
    }

    /// Reads what `time.ParseDuration` reads.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let malformed = || DurationError::Malformed(shown(text));
        let range = || DurationError::OutOfRange(shown(text));
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        if unsigned == "0" {
            return Ok(Self::default());
        }
        if unsigned.is_empty() {
            return Err(if text.is_empty() {
                DurationError::Empty
            } else {
                malformed()
            });
        }
        let mut rest = unsigned;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (whole, after_whole) = split_digits(rest);
            let (fraction, after) = match after_whole.strip_prefix('.') {
                Some(after_point) => split_digits(after_point),
                None => ("", after_whole),
            };
            let amount = leading_int(whole).ok_or_else(range)?;
            if whole.is_empty() && fraction.is_empty() {
                return Err(malformed());
            }
            let end = after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len());
            let (name, next) = after.split_at(end);
            if name.is_empty() {
                return Err(DurationError::MissingUnit(shown(text)));
            }
            let unit = unit(name).ok_or_else(|| DurationError::UnknownUnit(shown(text), shown(name)))?;
            let part = amount
                .checked_mul(unit)
                .filter(|part| *part <= LIMIT)
                .ok_or_else(range)?;
            let part = part
                .checked_add(fraction_of(fraction, unit))
                .filter(|part| *part <= LIMIT);
            total = part
                .and_then(|part| total.checked_add(part))
                .filter(|sum| *sum <= LIMIT)
                .ok_or_else(range)?;
            rest = next;
        }
        let nanos = if negative {
            0_i64.checked_sub_unsigned(total)
        } else {
            i64::try_from(total).ok()
        };
        nanos.map(|nanos| Self { nanos }).ok_or_else(range)
    }

    /// Whole seconds, towards zero.
    pub const fn seconds(self) -> i64 {
        self.nanos / 1_000_000_000
    }

    /// What is left beside [`Self::seconds`], in nanoseconds, of the same sign.
    pub const fn subsec_nanos(self) -> i32 {
        (self.nanos % 1_000_000_000) as i32
    }

    /// Whether nothing at all.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether below zero.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        let (seconds, nanos) = (self.seconds().unsigned_abs(), self.subsec_nanos().unsigned_abs());
        if nanos == 0 {
            return write!(f, "{sign}{seconds}s");
        }
        let digits = format!("{nanos:09}");
        write!(f, "{sign}{seconds}.{}s", digits.trim_end_matches('0'))
    }
}

/// The text, short enough for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Go's `leadingInt`: refuses what passes the bound.
fn leading_int(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0_u64, |sum, digit| {
        let next = sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        (next <= LIMIT).then_some(next)
    })
}

/// Go's `leadingFraction` and its product with the unit: digits past 63 bits are ignored, and the product is made
/// in floating point.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "Go computes the fraction in float64 as well"
)]
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale = 1.0_f64;
    for digit in digits.bytes() {
        match value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(digit - b'0')))
        {
            Some(next) if next <= LIMIT => {
                value = next;
                scale *= 10.0;
            }
            _ => break,
        }
    }
    if value == 0 {
        0
    } else {
        (value as f64 * (unit as f64 / scale)) as u64
    }
}

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => NANOSECOND,
        // U+00B5 and U+03BC: Go takes both letters for micro.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", 0, 0)]
    #[case("-0", 0, 0)]
    #[case("+0", 0, 0)]
    #[case("0s", 0, 0)]
    #[case("15m0s", 900, 0)]
    #[case("24h0m0s", 86_400, 0)]
    #[case("1h2m3.5s", 3723, 500_000_000)]
    #[case("-5s", -5, 0)]
    #[case("-1.5s", -1, -500_000_000)]
    #[case("500ms", 0, 500_000_000)]
    #[case("1us", 0, 1_000)]
    #[case("1µs", 0, 1_000)]
    #[case("1μs", 0, 1_000)]
    #[case("1ns", 0, 1)]
    #[case(".5s", 0, 500_000_000)]
    #[case("5.s", 5, 0)]
    #[case("2s1h", 3602, 0)]
    #[case("0.9223372036854775807h", 3320, 413_933_267)]
    #[case("0.3333333333333333333h", 1200, 0)]
    #[case("9223372036854775807ns", 9_223_372_036, 854_775_807)]
    #[case("-9223372036854775808ns", -9_223_372_036, -854_775_808)]
    #[case("0.100000000000000000000h", 360, 0)]
    fn accepts(#[case] text: &str, #[case] seconds: i64, #[case] nanos: i32) {
        let read = GoDuration::parse(text).unwrap();
        assert_eq!((read.seconds(), read.subsec_nanos()), (seconds, nanos));
    }

    #[rstest]
    #[case("", DurationError::Empty)]
    #[case("900", DurationError::MissingUnit("900".into()))]
    #[case("3.5", DurationError::MissingUnit("3.5".into()))]
    #[case("1d", DurationError::UnknownUnit("1d".into(), "d".into()))]
    #[case("1S", DurationError::UnknownUnit("1S".into(), "S".into()))]
    #[case("15m 0s", DurationError::UnknownUnit("15m 0s".into(), "m ".into()))]
    #[case("15 m", DurationError::UnknownUnit("15 m".into(), " m".into()))]
    #[case("-", DurationError::Malformed("-".into()))]
    #[case("+-1s", DurationError::Malformed("+-1s".into()))]
    #[case("s", DurationError::Malformed("s".into()))]
    #[case(".s", DurationError::Malformed(".s".into()))]
    #[case(" 1s", DurationError::Malformed(" 1s".into()))]
    #[case("1s-2s", DurationError::UnknownUnit("1s-2s".into(), "s-".into()))]
    #[case("never", DurationError::Malformed("never".into()))]
    #[case("9223372036854775808ns", DurationError::OutOfRange("9223372036854775808ns".into()))]
    #[case("-9223372036854775809ns", DurationError::OutOfRange("-9223372036854775809ns".into()))]
    #[case("3000000h", DurationError::OutOfRange("3000000h".into()))]
    #[case("99999999999999999999s", DurationError::OutOfRange("99999999999999999999s".into()))]
    fn refuses(#[case] text: &str, #[case] why: DurationError) {
        assert_eq!(GoDuration::parse(text), Err(why));
    }

    #[test]
    fn a_long_text_is_cut_in_the_message() {
        let text = GoDuration::parse(&"é".repeat(10_000)).unwrap_err().to_string();
        assert!(text.len() < 250, "{text}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}") {
            let _ = GoDuration::parse(&text);
        }

        #[test]
        fn almost_durations_never_panic(text in "[-+]?([0-9]{0,20}\\.?[0-9]{0,22}(ns|us|ms|s|m|h|d)?){0,4}") {
            let _ = GoDuration::parse(&text);
        }

        #[test]
        fn reads_what_it_writes(nanos in any::<i64>()) {
            let duration = GoDuration { nanos };
            // The fraction goes through floating point, as in Go: exact for nine digits.
            prop_assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
        }
    }
}
