//! Who leads, as everybody sees it in the Lease, from one instant to another.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How often the Lease is read.
const EVERY: Duration = Duration::from_millis(50);

/// A record that is being made.
#[derive(Debug)]
pub struct Claims {
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<Record>>,
}

/// What was seen of a Lease.
#[derive(Debug, Default)]
pub struct Record {
    /// The longest time in which nobody held it, or the holder had let it run out.
    pub longest_gap: Duration,
    /// Every holder, in order.
    pub holders: Vec<String>,
}

impl Claims {
    /// Begins to look at the operator's Lease.
    pub fn watch(client: Client) -> Self {
        let (end, ended) = oneshot::channel();
        Self {
            end,
            task: tokio::spawn(look(Api::namespaced(client, super::NAMESPACE), ended)),
        }
    }

    /// Ends it and returns what was seen.
    pub async fn end(self) -> Result<Record> {
        // A task that has failed is no longer listening; the next line tells why.
        let _ = self.end.send(());
        self.task.await.context("the record of the Lease")?
    }
}

async fn look(api: Api<Lease>, mut ended: oneshot::Receiver<()>) -> Result<Record> {
    let mut record = Record::default();
    // Since when the same renewal was seen: clocks of other machines are not compared.
    let mut renewed = (None, Instant::now());
    let mut vacant: Option<Instant> = None;
    while ended.try_recv().is_err() {
        let spec = api
            .get("evenkeel")
            .await
            .context("reading the Lease")?
            .spec
            .unwrap_or_default();
        let now = Instant::now();
        if renewed.0 != spec.renew_time {
            renewed = (spec.renew_time, now);
        }
        let lasts = Duration::from_secs(spec.lease_duration_seconds.unwrap_or(15).unsigned_abs().into());
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        match holder {
            Some(holder) if renewed.1.elapsed() <= lasts => {
                vacant = None;
                if record.holders.last() != Some(&holder) {
                    record.holders.push(holder);
                }
            }
            _ => {
                let since = *vacant.get_or_insert(now);
                record.longest_gap = record.longest_gap.max(now - since + EVERY);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(record)
}
