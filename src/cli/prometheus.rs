//! How a Prometheus is reached: the flags of the operator and of an audit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use evenkeel_core::know::{Mono, Now};
use evenkeel_core::sample::{Metric, Observer, Why};
use evenkeel_core::{Core, Input};
use futures::StreamExt;

use super::cluster::{Cluster, words};
use crate::files::Report;
use crate::live;
use crate::outbound::{self, Credentials, ServicePort};
use crate::prometheus::{self, AnswerLimits, PrometheusServer};
use crate::samples::{KnownSubjects, OwnedPage, asked_after, now_millis};
use crate::suggest::did_you_mean;

/// The group of the flags that name a Prometheus: without one of them the others mean nothing.
pub(super) const PLACE: &str = "place-of-prometheus";

/// What is needed beside its place.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PrometheusArguments {
    /// CA certificates (PEM) of the Prometheus; makes it HTTPS
    #[arg(long = "prometheus-ca-file", value_name = "FILE", requires = PLACE)]
    ca_file: Option<PathBuf>,
    /// Bearer token for the Prometheus, read before each query; only over HTTPS
    #[arg(long = "prometheus-token-file", value_name = "FILE", requires = PLACE)]
    token_file: Option<PathBuf>,
    /// File with one line `user:password` for the Prometheus; only over HTTPS
    #[arg(
        long = "prometheus-basic-auth-file",
        value_name = "FILE",
        requires = PLACE,
        conflicts_with = "token_file"
    )]
    basic_auth_file: Option<PathBuf>,
    /// What is before /api/v1 in its paths, such as /select/0/prometheus
    #[arg(long = "prometheus-path-prefix", value_name = "PATH", default_value = "", requires = PLACE)]
    path_prefix: String,
    /// Its tenant, as X-Scope-OrgID
    #[arg(long = "prometheus-tenant", value_name = "NAME", requires = PLACE)]
    tenant: Option<String>,
}

impl PrometheusArguments {
    /// How the Prometheus behind this Service is reached.
    pub(super) fn options(&self, at: ServicePort) -> prometheus::Options {
        prometheus::Options {
            at,
            outbound: self.outbound(),
            path_prefix: self.path_prefix.clone(),
            tenant: self.tenant.clone(),
        }
    }

    fn outbound(&self) -> outbound::Options {
        let token = self.token_file.clone().map(Credentials::Bearer);
        let basic = self.basic_auth_file.clone().map(Credentials::Basic);
        outbound::Options {
            ca: self.ca_file.clone(),
            credentials: token.or(basic).unwrap_or_default(),
        }
    }

    /// The flags that name the same again, with their values.
    fn again(&self) -> impl Iterator<Item = (&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let prefix = Some(self.path_prefix.clone()).filter(|prefix| !prefix.is_empty());
        [
            ("--prometheus-ca-file", path(&self.ca_file)),
            ("--prometheus-token-file", path(&self.token_file)),
            ("--prometheus-basic-auth-file", path(&self.basic_auth_file)),
            ("--prometheus-path-prefix", prefix),
            ("--prometheus-tenant", self.tenant.clone()),
        ]
        .into_iter()
        .filter_map(|(flag, value)| Some((flag, value?)))
    }
}

/// Times about which a Prometheus is asked, in seconds before now: rates and trends take several samples. It has kept
/// them, so an audit need not wait for them.
const LOOKS: [i64; 6] = [300, 240, 180, 120, 60, 0];

/// Questions that are asked at the same time.
const AT_ONCE: usize = 2;

/// Where an audit reads what was measured.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Measured")]
pub(super) struct Measured {
    /// Ask this Service, a Prometheus, for what it has measured, through the API server's proxy and with your own rights
    /// (get on services/proxy)
    #[arg(long, value_name = "NAMESPACE/SERVICE:PORT", group = PLACE)]
    prometheus: Option<ServicePort>,
    /// Ask the Prometheus at this URL
    #[arg(long, value_name = "URL", group = PLACE)]
    prometheus_url: Option<String>,
    #[command(flatten)]
    asked: PrometheusArguments,
}

impl Measured {
    /// Whether a Prometheus is named.
    pub(super) const fn is_asked(&self) -> bool {
        self.prometheus.is_some() || self.prometheus_url.is_some()
    }

    /// The arguments that ask the same again, each after a space.
    pub(super) fn again(&self) -> String {
        let at = self
            .prometheus
            .as_ref()
            .map(|at| ("--prometheus", at.to_string()));
        let url = self.prometheus_url.clone().map(|url| ("--prometheus-url", url));
        words(at.into_iter().chain(url).chain(self.asked.again()))
    }

    /// Adds to a core what a Prometheus has measured, where one is named, and says so in a note; returns the moment at which
    /// it is to be judged.
    pub(super) fn feed(
        &self,
        core: &mut Core,
        cluster: &Cluster,
        report: &mut Report,
    ) -> anyhow::Result<Mono> {
        let mut first = None;
        let mut moment = Now::ONCE;
        self.each(core, cluster, &mut |core, page| {
            moment = asked_after(*first.get_or_insert(page.asked), page.asked);
            page.lend(|page| core.handle(moment, Input::Samples(page)));
            Ok(())
        })?;
        if first.is_some() {
            let (count, seconds) = (LOOKS.len(), LOOKS[0]);
            report.note(format!(
                "Prometheus was asked about {count} moments of the last {seconds} s, as rates and trends take several samples"
            ));
        }
        Ok(moment.mono)
    }

    /// Asks what a core wants to have measured and hands over each page, those of earlier moments before later ones.
    pub(super) fn each(
        &self,
        core: &mut Core,
        cluster: &Cluster,
        take: &mut dyn FnMut(&mut Core, &OwnedPage) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if !self.is_asked() {
            return Ok(());
        }
        if let Some(at) = &self.prometheus {
            exists(core, at)?;
        }
        core.handle(Now::ONCE, Input::Observers(&[Observer::Prometheus]));
        let wants = core.take_wants().unwrap_or_default().samples;
        cluster.wait(async {
            let server = self.server(cluster).await?;
            let questions = prometheus::questions(&wants);
            let known: BTreeMap<_, _> = questions
                .iter()
                .map(|one| (one.scope.clone(), KnownSubjects::of(core, &one.scope)))
                .collect();
            let nothing = KnownSubjects::default();
            let present = now_millis();
            let mut late = 0;
            for ago in LOOKS {
                let at = present - ago * 1000;
                let asked = questions
                    .iter()
                    .filter(|one| ago == 0 || one.metrics.iter().any(Metric::has_past));
                let mut pages = futures::stream::iter(asked)
                    .map(|question| {
                        let limits = AnswerLimits::default();
                        let known = known.get(&question.scope).unwrap_or(&nothing);
                        prometheus::ask(&server, None, question, known, Some(at), limits)
                    })
                    .buffered(AT_ONCE);
                while let Some((page, _)) = pages.next().await {
                    let outage = page.gap.clone().filter(|gap| prometheus::is_the_servers(gap.0));
                    late += u32::from(outage.is_some());
                    // One question may be too much for a server that answers others in time.
                    let outage = outage.filter(|gap| gap.0 != Why::TimedOut || late > 1);
                    if let Some(outage) = outage {
                        // The other questions would fail the same way: they are not asked.
                        for question in &questions {
                            take(core, &question.out(&outage))?;
                        }
                        return Ok(());
                    }
                    take(core, &page)?;
                }
            }
            Ok(())
        })
    }

    async fn server(&self, cluster: &Cluster) -> anyhow::Result<PrometheusServer> {
        let (prefix, tenant) = (&*self.asked.path_prefix, self.asked.tenant.as_deref());
        let outbound = self.asked.outbound();
        if let Some(url) = &self.prometheus_url {
            return PrometheusServer::at_url(url, outbound, prefix, tenant).context("--prometheus-url");
        }
        let at = self.prometheus.as_ref().context("--prometheus")?;
        let (client, _) = live::connect(&cluster.options()).await?;
        // The API server checks no certificate of what it passes requests on to, and passes no credentials on.
        PrometheusServer::by_proxy(client, at, outbound.ca.is_some(), prefix, tenant).context("--prometheus")
    }
}

/// An error where the Service that is named does not exist, in a cluster whose Services were read.
fn exists(core: &Core, at: &ServicePort) -> anyhow::Result<()> {
    let ServicePort {
        namespace, service, ..
    } = at;
    let Some(known) = core.namespaces() else {
        return Ok(());
    };
    if !known.contains(&**namespace) {
        let hint = did_you_mean(namespace, known.iter().copied());
        bail!("--prometheus: there is no namespace {namespace}{hint}");
    }
    let services = core.services_of(namespace);
    if core.unseen_service(namespace, service).is_none() && !services.contains(&&**service) {
        let hint = did_you_mean(service, services);
        bail!("--prometheus: there is no Service {namespace}/{service}{hint}");
    }
    Ok(())
}
