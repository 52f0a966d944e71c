//! Waits for the operator's first answer to policies.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::operator::Bench;

/// How long the first statuses may take.
const WITHIN: Duration = Duration::from_secs(600);

/// Waits until so many policies of these collections, by their paths, have a status.
pub(super) async fn until_written(
    bench: &Bench,
    collections: &[String],
    count: usize,
    start: Instant,
) -> Result<()> {
    loop {
        let mut written = 0;
        for path in collections {
            let request = http::Request::get(path).body(Vec::new())?;
            let list: Value = bench.client.request(request).await?;
            let items = list["items"].as_array().into_iter().flatten();
            written += items.filter(|one| one["status"]["conditions"].is_array()).count();
        }
        if written >= count {
            return Ok(());
        }
        if start.elapsed() > WITHIN {
            bail!("{written} of {count} policies have a status");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
