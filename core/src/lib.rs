//! The pure core of evenkeel.
//!
//! Facts come in as JSON through [`Core::handle`], verdicts and findings go out through [`Core::round`] and
//! [`Core::findings`]; nothing here reads a clock, a socket, a file or a log. The same core serves the operator, the
//! live audit, an audit of files, simulations and tests: they differ only in who feeds and who drains.
#![warn(
    clippy::iter_over_hash_type,
    reason = "the order of a hash map is chance, and answers must not depend on it"
)]

pub mod acting;
pub mod checks;
pub mod dataplane;
pub mod drive;
mod engine;
pub mod findings;
pub mod fitness;
pub mod fleet;
mod fold;
pub mod guards;
mod handle;
pub mod history;
pub mod index;
pub mod judge;
pub mod know;
pub mod names;
pub mod paths;
pub mod plan;
mod planning;
pub mod policy;
mod program;
pub mod remedies;
pub mod route;
pub mod sample;
mod source;
pub mod sources;
pub mod standing;
pub mod statistics;
mod unmatched;
#[cfg(test)]
mod world;

// What tests are made of names the crate as programs beside it do.
#[cfg(test)]
extern crate self as evenkeel_core;

pub use handle::Input;
pub use program::{Core, Round};

use history::History;
use know::Now;

const _: () = assert!(checks::ALL.len() <= engine::MOST_CHECKS);

/// A core that sees one moment, as an audit does: it keeps no [`history`].
impl Default for Core {
    fn default() -> Self {
        Self::of(checks::ALL, History::default())
    }
}

impl Core {
    /// A core that is fed all day: it keeps a [`history`], and the checks that rest on it judge.
    pub fn live(now: Now) -> Self {
        Self::of(checks::ALL, History::live(now))
    }
}
