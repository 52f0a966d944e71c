//! Statistics, and nothing else: numbers in, numbers out. No names, no objects, no time of its own.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts of what is compared stay far below 2^52, and ranks are never below zero"
)]

mod detector;
#[cfg(test)]
mod oracle;
mod quantile;
mod trend;

pub use detector::{
    Alarm, Detector, FACTORS, ShareEvidence, THRESHOLD, TickShare, TickWeight, dispersion, tick, tolerance,
    unsteadiness,
};
pub use quantile::{QuantileBounds, quantile};
pub use trend::{Trend, trend};
