//! How far apart two times have to be, so that jitter does not turn them around.

/// A time that is safely below another: 80 %.
pub(super) const fn below(seconds: i64) -> i64 {
    seconds.saturating_mul(8) / 10
}

/// A timeout that a silence stays at 80 % of, rounded up.
pub(super) const fn above(silence: i64) -> i64 {
    silence.saturating_mul(10) / 8 + 1
}

/// The least interval of pings that is safely above a server's minimum, by [`margin`].
pub(super) const fn above_floor(floor: i64) -> i64 {
    if floor <= 0 {
        return 0;
    }
    floor.saturating_add(margin(floor))
}

/// What timers of whole seconds and a way there and back use up, in seconds.
pub(super) const LEAST: i64 = 1;

/// The larger of [`LEAST`] and 10 %, rounded up.
pub(super) const fn margin(seconds: i64) -> i64 {
    let tenth = seconds.saturating_add(9).div_euclid(10);
    if tenth < LEAST { LEAST } else { tenth }
}
