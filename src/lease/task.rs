//! The state machine of the Lease, on a real API server.

use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Candidate, Claim, DURATION, REQUEST_TIMEOUT, Seen, Step};

/// How long after a failed request the next one is sent.
const RETRY: Duration = Duration::from_secs(1);

/// How long one watch of the Lease lasts, seconds: shorter than [`DURATION`], so that a frozen one costs no term.
const WATCH_SECONDS: u32 = 10;

/// The annotation in which the holder tells how it stands: what `evenkeel status` shows without asking the operator.
pub const STATE: &str = "evenkeel.dev/state";

/// Which Lease, and as whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespace of the operator.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Identity: unique to this process, whatever its Pod is called.
    pub identity: String,
}

/// Strives for the Lease until `stop` becomes true, then gives it back.
///
/// `state` is what the holder writes beside each renewal. The claim goes out through `claim`: its receivers must ask
/// for a permit before each request, as the claim may have run out since.
pub async fn hold(
    client: Client,
    options: Options,
    claim: watch::Sender<Option<Claim>>,
    state: watch::Receiver<String>,
    mut stop: watch::Receiver<bool>,
) {
    let mut task = Task {
        api: Api::namespaced(client, &options.namespace),
        candidate: Candidate::new(options.identity.clone(), Instant::now()),
        options,
        state,
    };
    while !*stop.borrow() {
        tokio::select! {
            () = task.once() => {}
            _ = stop.changed() => break,
        }
        let now = Instant::now();
        let held = task.candidate.claim(now);
        claim.send_if_modified(|before| std::mem::replace(before, held) != held);
    }
    claim.send_replace(None);
    task.release().await;
}

struct Task {
    api: Api<Lease>,
    options: Options,
    candidate: Candidate,
    state: watch::Receiver<String>,
}

impl Task {
    /// One step.
    async fn once(&mut self) {
        match self.candidate.step(Instant::now()) {
            Step::Read => self.read().await,
            Step::Create => {
                let lease = self.lease(None);
                let api = self.api.clone();
                self.write(async move { api.create(&PostParams::default(), &lease).await })
                    .await;
            }
            Step::Take(seen) | Step::Renew(seen) => {
                let lease = self.lease(Some(&seen));
                let (api, name) = (self.api.clone(), self.options.name.clone());
                self.write(async move { api.replace(&name, &PostParams::default(), &lease).await })
                    .await;
            }
            Step::Wait(until) => self.wait(until).await,
        }
    }

    async fn read(&mut self) {
        match within(self.api.get_opt(&self.options.name)).await {
            Ok(lease) => self.candidate.see(Instant::now(), lease.as_ref().map(seen)),
            Err(error) => {
                tracing::warn!(%error, lease = self.options.name, "cannot read the Lease");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn write(&mut self, request: impl Future<Output = Result<Lease, kube::Error>>) {
        let sent = Instant::now();
        match within(request).await {
            Ok(lease) => self.candidate.wrote(sent, Instant::now(), seen(&lease)),
            Err(Failure::Api(kube::Error::Api(status))) if status.code == 409 || status.code == 404 => {
                self.candidate.doubt();
            }
            Err(error) => {
                tracing::warn!(%error, lease = self.options.name, "cannot write the Lease");
                // The write may have been committed although its answer was lost.
                self.candidate.doubt();
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Follows the Lease until it changes or the instant comes.
    async fn wait(&mut self, until: Instant) {
        let parameters = WatchParams::default()
            .fields(&format!("metadata.name={}", self.options.name))
            .timeout(WATCH_SECONDS);
        let version = self.candidate.version().to_owned();
        let api = self.api.clone();
        let follow = async {
            let mut events = api.watch(&parameters, &version).await?.boxed();
            events.try_next().await
        };
        tokio::select! {
            () = sleep_until(until) => {}
            event = follow => match event {
                Ok(Some(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => {
                    self.candidate.see(Instant::now(), Some(seen(&lease)));
                }
                Ok(Some(WatchEvent::Deleted(_))) => self.candidate.see(Instant::now(), None),
                Ok(Some(WatchEvent::Bookmark(_)) | None) => {}
                Ok(Some(WatchEvent::Error(_))) => {
                    // Expired: the version is older than what the server still holds.
                    sleep_until(until.min(Instant::now() + RETRY)).await;
                    self.read().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the watch of the Lease failed");
                    sleep_until(until.min(Instant::now() + RETRY)).await;
                    self.read().await;
                }
            }
        }
    }

    /// The Lease as we would write it over what was seen.
    fn lease(&self, seen: Option<&Seen>) -> Lease {
        let now = jiff::Timestamp::now();
        let ours = seen.is_some_and(|seen| seen.holder == self.candidate.identity());
        let taken = seen.map_or(0, |seen| seen.transitions) + i32::from(seen.is_some() && !ours);
        let acquired = seen
            .filter(|_| ours)
            .and_then(|seen| seen.acquired)
            .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
        Lease {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                resource_version: seen.map(|seen| seen.version.clone()),
                annotations: Some([(STATE.to_owned(), self.state.borrow().clone())].into()),
                labels: Some([("app.kubernetes.io/name".to_owned(), "evenkeel".to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.candidate.identity().to_owned()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(MicroTime(acquired.unwrap_or(now))),
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(taken),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Gives the Lease back, so that another need not wait.
    async fn release(&mut self) {
        if self.candidate.claim(Instant::now()).is_none() {
            return;
        }
        let Some(seen) = self.candidate.seen().cloned() else {
            return;
        };
        let mut lease = self.lease(Some(&seen));
        if let Some(spec) = &mut lease.spec {
            // Empty is what client-go writes on release, and what every elector reads as free.
            spec.holder_identity = Some(String::new());
        }
        match within(
            self.api
                .replace(&self.options.name, &PostParams::default(), &lease),
        )
        .await
        {
            Ok(_) => tracing::info!(lease = self.options.name, "gave the Lease back"),
            Err(error) => {
                tracing::warn!(%error, "cannot give the Lease back: another replica waits for it to expire");
            }
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Late,
    #[error(transparent)]
    Api(kube::Error),
}

/// One request within its time. The clock is asked first: a process that was stopped must not send what it had in mind.
async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = tokio::time::sleep(REQUEST_TIMEOUT) => Err(Failure::Late),
        answer = request => answer.map_err(Failure::Api),
    }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Seen {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or(0),
        acquired: spec.acquire_time.map(|time| time.0.as_microsecond()),
    }
}
