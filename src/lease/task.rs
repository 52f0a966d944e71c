//! The state machine of the Lease, on a real API server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::know::Mono;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::{PostParams, WatchEvent, WatchParams};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::{Candidate, Claim, DURATION, Observed, REQUEST_TIMEOUT, Step};
use crate::client::{Link, RequestError};
use crate::clock::Clock;
use crate::heartbeat::Heartbeat;
use crate::repeats::Repeats;

/// How long after a failed request the next one is sent.
const RETRY: Duration = Duration::from_secs(1);

/// How long one watch of the Lease lasts, seconds: shorter than [`DURATION`], so that a frozen one costs no term.
const WATCH_SECONDS: u32 = 10;

/// The annotation in which the holder writes its state: what `evenkeel status` shows without asking the operator.
pub const STATE: &str = "evenkeel.dev/state";

/// Which Lease, and the identity of this replica.
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
/// for a permit before each request, as the claim may have run out since. While the loop gives no sign of life there is no
/// claim, and nothing is renewed or taken: the Lease expires, for there may still be a request of ours under way.
pub async fn hold(
    link: Arc<Link>,
    clock: Clock,
    options: Options,
    claim: watch::Sender<Option<Claim>>,
    state: watch::Receiver<String>,
    heartbeat: Heartbeat,
    mut stop: watch::Receiver<bool>,
) {
    let mut task = Task {
        link,
        candidate: Candidate::new(options.identity.clone(), clock.now().mono),
        clock,
        options,
        state,
        warned: Repeats::default(),
    };
    let mut silent = false;
    while !*stop.borrow() {
        if std::mem::replace(&mut silent, !heartbeat.may_lead()) != silent {
            let seconds = heartbeat.silence().as_secs();
            tracing::warn!(silent, seconds, "the loop's signs of life decide about the Lease");
        }
        if silent {
            claim.send_if_modified(|before| before.take().is_some());
            tokio::select! {
                () = sleep(RETRY) => continue,
                _ = stop.changed() => break,
            }
        }
        let done = match task.candidate.step(task.now()) {
            // A write is never left alone: whether it was committed decides how the Lease can be given back.
            Step::Create => task.write(None).await,
            Step::Take(seen) | Step::Renew(seen) => task.write(Some(seen)).await,
            Step::Read => tokio::select! {
                done = task.read() => done,
                _ = stop.changed() => break,
            },
            Step::Wait(until) => tokio::select! {
                done = task.wait(until) => done,
                () = heartbeat.stopped() => Some(()),
                _ = stop.changed() => break,
            },
        };
        let held = task.candidate.claim(task.now()).filter(|_| heartbeat.may_lead());
        claim.send_if_modified(|before| std::mem::replace(before, held) != held);
        if done.is_none() {
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = stop.changed() => break,
            }
        }
    }
    claim.send_replace(None);
    task.release().await;
}

struct Task {
    link: Arc<Link>,
    clock: Clock,
    options: Options,
    candidate: Candidate,
    state: watch::Receiver<String>,
    warned: Repeats,
}

/// What a step did; `None` after a failure, after which the next one has to wait.
type Done = Option<()>;

impl Task {
    fn now(&self) -> Mono {
        self.clock.now().mono
    }

    /// The Lease's part of the API, by the current client.
    async fn api(&self) -> Result<Api<Lease>, RequestError> {
        let client = self.link.client().await;
        let client = client.map_err(|error| RequestError::Broken(format!("no client: {error:#}")))?;
        Ok(Api::namespaced(client, &self.options.namespace))
    }

    /// One request within its time. The clock is asked first: a process that was stopped must not send what it had in
    /// mind. After a failure that may be the connection's the next request gets a new client.
    async fn ask<T, F>(&self, request: impl FnOnce(Api<Lease>) -> F) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let answer = tokio::select! {
            biased;
            () = sleep(REQUEST_TIMEOUT) => Err(RequestError::Late(REQUEST_TIMEOUT)),
            answer = async { Ok(request(self.api().await?).await?) } => answer,
        };
        if answer.as_ref().is_err_and(RequestError::is_doubtful) {
            self.link.doubt();
        }
        answer
    }

    async fn read(&mut self) -> Done {
        let name = &self.options.name;
        match self.ask(async |api| api.get_opt(name).await).await {
            Ok(lease) => {
                self.warned.end();
                self.candidate.see(self.now(), lease.as_ref().map(seen));
                Some(())
            }
            Err(error) => {
                if let Some(times) = self.warned.due(&error.to_string()) {
                    tracing::warn!(%error, lease = name, times, "cannot read the Lease");
                }
                None
            }
        }
    }

    /// Makes the Lease ours: makes it where there is none, else over what was seen.
    async fn write(&mut self, over: Option<Observed>) -> Done {
        let (name, lease) = (&self.options.name, self.lease(over.as_ref()));
        let sent = self.now();
        let parameters = PostParams::default();
        let answer = self
            .ask(async |api| match over {
                None => api.create(&parameters, &lease).await,
                Some(_) => api.replace(name, &parameters, &lease).await,
            })
            .await;
        match answer {
            Ok(lease) => {
                self.candidate.wrote(sent, self.now(), seen(&lease));
                Some(())
            }
            Err(RequestError::Refused(refusal)) if matches!(refusal.code, 404 | 409) => {
                self.candidate.doubt();
                Some(())
            }
            Err(error) => {
                if let Some(times) = self.warned.due(&error.to_string()) {
                    tracing::warn!(%error, lease = name, times, "cannot write the Lease");
                }
                // The write may have been committed although its answer was lost.
                self.candidate.doubt();
                None
            }
        }
    }

    /// Follows the Lease until it changes or the instant comes.
    async fn wait(&mut self, until: Mono) -> Done {
        // A watch that the server ends leaves its connection to the next request; one that is dropped takes it along, and
        // a holder's ends every time that it renews.
        let left = until.since(self.now());
        let until = self.clock.instant(until);
        let seconds = (left.div_ceil(1000) as u32).saturating_sub(1);
        if seconds == 0 {
            sleep_until(until).await;
            return Some(());
        }
        let parameters = WatchParams::default()
            .fields(&format!("metadata.name={}", self.options.name))
            .timeout(seconds.min(WATCH_SECONDS));
        let version = self.candidate.version().to_owned();
        let follow = async {
            let api = self.api().await?;
            let mut events = api.watch(&parameters, &version).await?.boxed();
            Ok::<_, RequestError>(events.try_next().await?)
        };
        let event = tokio::select! {
            () = sleep_until(until) => return Some(()),
            event = follow => event,
        };
        match event {
            Ok(Some(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => {
                self.candidate.see(self.now(), Some(seen(&lease)));
            }
            Ok(Some(WatchEvent::Deleted(_))) => self.candidate.see(self.now(), None),
            Ok(Some(WatchEvent::Bookmark(_)) | None) => {}
            failed => {
                // An error event says that the version is older than what the server still holds.
                if let Err(error) = failed {
                    tracing::debug!(%error, "the watch of the Lease failed");
                    if error.is_doubtful() {
                        self.link.doubt();
                    }
                }
                sleep_until(until.min(tokio::time::Instant::now() + RETRY)).await;
                return self.read().await;
            }
        }
        Some(())
    }

    /// The Lease as we would write it over what was seen.
    fn lease(&self, seen: Option<&Observed>) -> Lease {
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
        if self.candidate.claim(self.now()).is_none() {
            return;
        }
        if self.candidate.seen().is_none() {
            // The last write was in doubt: it may have been committed.
            self.read().await;
        }
        let ours = |seen: &&Observed| seen.holder == self.options.identity;
        let Some(seen) = self.candidate.seen().filter(ours).cloned() else {
            return;
        };
        let mut lease = self.lease(Some(&seen));
        if let Some(spec) = &mut lease.spec {
            // Empty is what client-go writes on release, and what every elector reads as free.
            spec.holder_identity = Some(String::new());
        }
        let (name, parameters) = (&self.options.name, PostParams::default());
        let answer = self.ask(async |api| api.replace(name, &parameters, &lease).await);
        match answer.await {
            Ok(_) => tracing::info!(lease = name, "gave the Lease back"),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "cannot give the Lease back: another replica waits for it to expire"
                );
            }
        }
    }
}

fn seen(lease: &Lease) -> Observed {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Observed {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or(0),
        acquired: spec.acquire_time.map(|time| time.0.as_microsecond()),
    }
}
