//! `evenkeel crd`

use clap::Args;

use super::{End, answer};

/// No arguments.
#[derive(Debug, Args)]
pub(super) struct Arguments;

/// Prints the definitions.
pub(super) fn run(_: &Arguments) -> anyhow::Result<End> {
    answer(&crate::api::crd_yaml()?)?;
    Ok(End::Good)
}
