//! What is looked at all along.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use evenkeel::api::TrafficHealthPolicy;
use evenkeel_e2e::http::get;
use evenkeel_e2e::process::status_kib;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::Value;

use super::Soaked;
use super::churn::THIN;

/// How long something that is wrong at the server may be reported as right on the operator's own port: it believes a
/// silent watch for 13 s (`PATIENCE` in `src/watch/pace.rs`), answers come up to 4 s late and pieces of them 3 s
/// (`chaos`), and the machine may be busy.
const BELIEVED: Duration = Duration::from_secs(35);

/// How often the operator may fail to answer in time in a row: the kubelet restarts it after six times ten seconds.
const SILENT: u32 = 20;

/// How much more memory may be held in the last third than in the middle one, in MiB.
const GROWTH: u64 = 16;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Vigil {
    looks: u64,
    /// Memory at each look, in KiB.
    memory: Vec<u64>,
    silent: u32,
    longest: Duration,
    /// How often each word was read of a policy that is broken at the server.
    told: [u64; 3],
    /// How often missing backends were asked about, and answered.
    asked: [u64; 2],
}

impl Vigil {
    /// Looks once.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        operator: &mut Soaked,
        thin_since: Option<Instant>,
    ) -> Result<()> {
        operator.process.lives().context("the operator has ended")?;
        self.looks += 1;
        self.memory
            .push(status_kib(operator.process.id(), "VmRSS").context("no VmRSS")?);
        let start = Instant::now();
        let is_alive = matches!(operator.process.probe("/livez").await, Ok((200, _)));
        self.longest = self.longest.max(start.elapsed());
        self.silent = if is_alive { 0 } else { self.silent + 1 };
        ensure!(self.silent < SILENT, "/livez has failed {SILENT} times in a row");
        self.statuses(client).await?;
        if thin_since.is_some_and(|since| since.elapsed() > BELIEVED) {
            self.asked[0] += 1;
            self.asked[1] += u64::from(says_something(operator).await?);
        }
        Ok(())
    }

    /// A status that speaks of the present generation of a broken policy must not call it healthy.
    async fn statuses(&mut self, client: &Client) -> Result<()> {
        for policy in policies(client).await? {
            if !is_broken(&policy) {
                continue;
            }
            let (generation, word) = (policy.metadata.generation, healthy(&policy));
            let speaks_of = policy
                .status
                .as_ref()
                .and_then(|status| status.observed_generation);
            if speaks_of != generation {
                continue;
            }
            match word.as_str() {
                "True" => bail!("a broken policy is called healthy: {policy:#?}"),
                "False" => self.told[0] += 1,
                "Unknown" => self.told[1] += 1,
                _ => self.told[2] += 1,
            }
        }
        Ok(())
    }

    /// Prints what was seen.
    pub(super) fn tell(&self) {
        let mib = |at: Option<&u64>| at.copied().unwrap_or_default() / 1024;
        println!(
            "{} looks: memory {} MiB at first, {} at most, {} at last; /livez {:.1?} at most; of broken policies {} times \
             False, {} Unknown, {} nothing, 0 True; of missing backends {} of {} questions answered",
            self.looks,
            mib(self.memory.first()),
            mib(self.memory.iter().max()),
            mib(self.memory.last()),
            self.longest,
            self.told[0],
            self.told[1],
            self.told[2],
            self.asked[1],
            self.asked[0],
        );
    }

    /// Memory must not grow with time; what a start brings is not looked at. And what was asked must have been answered.
    pub(super) fn is_flat(&self) -> Result<()> {
        ensure!(
            self.told[0] > 0,
            "the operator has never said that something is broken"
        );
        let [asked, answered] = self.asked;
        ensure!(
            answered > 0 && answered * 2 >= asked,
            "of {asked} questions about missing backends {answered} were answered"
        );
        let third = self.memory.len() / 3;
        let highest = |from: usize, to: usize| {
            self.memory
                .get(from..to)
                .into_iter()
                .flatten()
                .max()
                .copied()
                .unwrap_or_default()
        };
        let (middle, last) = (highest(third, 2 * third), highest(2 * third, self.memory.len()));
        ensure!(
            last <= middle + GROWTH * 1024,
            "memory grows: {middle} KiB in the middle, {last} KiB at last"
        );
        Ok(())
    }
}

/// While backends are missing for so long, the operator must find it, or say that it cannot know.
///
/// Whether it has answered at all: a busy loop says so.
async fn says_something(operator: &Soaked) -> Result<bool> {
    let Ok((200, text)) = get(operator.debug, "/debug/verdicts").await else {
        return Ok(false);
    };
    let list: Value = serde_json::from_str(&text).context("reading /debug/verdicts")?;
    let about = |one: &Value| {
        let is_its_own = one["subject"]["namespace"] == THIN;
        // Where a source is lost as a whole, one finding on the cluster stands for all.
        let stands_for_all = one["subject"]["kind"] == "Cluster" && one["verdict"] == "Unknown";
        one["check"] == CHECK && (is_its_own || stands_for_all)
    };
    let findings = list["findings"].as_array().context("no findings")?;
    ensure!(
        findings.iter().any(about),
        "missing backends are neither reported nor Unknown after {} s: {}",
        BELIEVED.as_secs(),
        list["unreadable"]
    );
    Ok(true)
}

/// The check that counts ready backends.
const CHECK: &str = "backend-minimum-ready";

/// All policies at the server.
pub(super) async fn policies(client: &Client) -> Result<Vec<TrafficHealthPolicy>> {
    let all: Api<TrafficHealthPolicy> = Api::all(client.clone());
    Ok(all
        .list(&ListParams::default())
        .await
        .context("listing policies")?
        .items)
}

/// Whether what the policy says alone is broken: no side sends a keepalive, and silence is longer than the table of
/// kube-proxy remembers, which does not change here.
pub(super) fn is_broken(policy: &TrafficHealthPolicy) -> bool {
    let spec = serde_json::to_value(&policy.spec).unwrap_or_default();
    let client = &spec["connections"][0]["clients"][0];
    policy.metadata.name.as_deref() == Some("reports") && client["tcpKeepalive"]["state"] == "Disabled"
}

/// The status of the condition Healthy; empty where there is none.
pub(super) fn healthy(policy: &TrafficHealthPolicy) -> String {
    let conditions = policy.status.iter().flat_map(|status| &status.conditions);
    let mut found = conditions.filter(|one| one.r#type == "Healthy");
    found
        .next()
        .map_or_else(String::new, |one| format!("{:?}", one.status))
}
