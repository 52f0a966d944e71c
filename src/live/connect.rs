//! From a kubeconfig to a client, and what a failure on that way is, for people: its class, the server, and what to do.

use std::env;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

use super::{Options, proxy};
use crate::suggest::did_you_mean;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no kubeconfig, and this is no Pod.
    #[error("no kubeconfig: {0} does not exist; use --kubeconfig or KUBECONFIG, or --from to read files")]
    Absent(String),
    /// The file that was named cannot be read or understood.
    #[error("kubeconfig {path}: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// It has no entry of this name.
    #[error("kubeconfig {path} has no {what} {name}{hint}")]
    NoEntry {
        /// The file.
        path: String,
        /// `context`, `cluster` or `user`.
        what: &'static str,
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// It chooses no context.
    #[error("kubeconfig {path} has no current-context: use --context with one of {known}")]
    NoContext {
        /// The file.
        path: String,
        /// The contexts that it has.
        known: String,
    },
    /// The environment names a proxy that is none.
    #[error("{0}")]
    Proxy(String),
    /// What it names does not make a client, as a certificate that is none or a plugin that fails.
    #[error("the credentials for {server} cannot be used: {why}")]
    Credentials {
        /// The server.
        server: String,
        /// Why.
        why: String,
    },
}

/// The API server that a command speaks to, as people know it.
#[derive(Debug, Clone)]
pub struct ApiServer {
    url: String,
    proxy: Option<String>,
}

/// What was asked of it: `list services in all namespaces`.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// `get`, `list` and so on.
    pub verb: &'static str,
    /// Plural and group of the resource: `endpointslices.discovery.k8s.io`.
    pub resource: &'a str,
    /// Name of the object; empty for all.
    pub name: &'a str,
    /// Its namespace; empty for all of the cluster.
    pub namespace: &'a str,
}

/// What became of a request that has failed, by what a person can do about it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There was no connection.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(ApiServer, String),
    /// The credentials could not be had, as from a plugin.
    #[error("the credentials for {0} cannot be used: {1}")]
    Login(ApiServer, String),
    /// The server does not know who asks.
    #[error("{0} refused your credentials (401): log in again, or see `kubectl auth whoami`")]
    Credentials(ApiServer),
    /// It knows, and the right is missing.
    #[error("you may not {0} (403)")]
    Forbidden(String),
    /// It does not serve the kind, or there is no such object.
    #[error("{0} does not know it (404): {1}")]
    Absent(ApiServer, String),
    /// Anything else that it answered.
    #[error("{server} answered {code} to {ask}: {message}")]
    Answered {
        /// The server.
        server: ApiServer,
        /// HTTP status.
        code: u16,
        /// What was asked.
        ask: String,
        /// Its message.
        message: String,
    },
}

impl fmt::Display for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        match &self.proxy {
            Some(proxy) => write!(f, " (through the proxy {proxy})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match self.namespace {
            "" => f.write_str(" in the cluster"),
            namespace => write!(f, " in namespace {namespace}"),
        }
    }
}

impl ApiServer {
    /// One for tests, which is never asked.
    #[cfg(test)]
    pub(crate) fn unnamed() -> Self {
        Self {
            url: "https://192.0.2.1:6443".into(),
            proxy: None,
        }
    }

    /// The server that a configuration names.
    fn of(config: &Config) -> Self {
        Self {
            url: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
            // A proxy's address may hold a password.
            proxy: config.proxy_url.as_ref().map(|proxy| {
                let host = proxy.host().unwrap_or_default();
                proxy
                    .port_u16()
                    .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
            }),
        }
    }

    /// What an error of a request means.
    pub fn failed(&self, error: &kube::Error, ask: Ask<'_>) -> AskError {
        let server = self.clone();
        match error {
            kube::Error::Api(status) => match status.code {
                401 => AskError::Credentials(server),
                403 => AskError::Forbidden(ask.to_string()),
                404 => AskError::Absent(server, ask.to_string()),
                code => AskError::Answered {
                    server,
                    code,
                    ask: ask.to_string(),
                    message: status.message.clone(),
                },
            },
            kube::Error::Auth(error) => AskError::Login(server, root(error)),
            kube::Error::SerdeError(error) => AskError::Answered {
                server,
                code: 200,
                ask: ask.to_string(),
                message: format!("what is no answer of Kubernetes: {error}"),
            },
            error => AskError::Unreachable(server, root(error)),
        }
    }
}

/// The innermost cause: the outer ones repeat it.
pub(crate) fn root(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // Parsers add a picture of the place, and errors of the operating system its number for it.
    let text = cause.to_string();
    let text = text.lines().next().unwrap_or_default();
    let (said, _) = text.split_once(" (os error ").unwrap_or((text, ""));
    said.to_owned()
}

/// The configuration that the options name.
pub(super) async fn config(options: &Options) -> Result<(Config, ApiServer), ConnectError> {
    let named = KubeConfigOptions {
        context: options.context.clone(),
        cluster: options.cluster.clone(),
        user: options.user.clone(),
    };
    let chosen = named.context.is_some() || named.cluster.is_some() || named.user.is_some();
    let read = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let mut config = match read {
        Ok(file) => {
            let path = path(options);
            entries(&file, &named, &path)?;
            let own = own_proxy(&file, &named);
            let config = Config::from_custom_kubeconfig(file, &named).await;
            let mut config = config.map_err(|error| ConnectError::Unusable {
                path,
                why: unusable(&error),
            })?;
            config.proxy_url = match own {
                // Which kube has parsed, and then may have left out.
                Some(own) => own.parse().ok(),
                None => proxy_of(&config.cluster_url)?,
            };
            config
        }
        // In a Pod there is no kubeconfig, and an account of its own.
        Err(error) if options.kubeconfig.is_none() && !chosen && is_absent(&error) => {
            let path = path(options);
            Config::incluster().map_err(|_| ConnectError::Absent(path))?
        }
        Err(error) if is_absent(&error) => return Err(ConnectError::Absent(path(options))),
        Err(error) => {
            return Err(ConnectError::Unusable {
                path: path(options),
                why: unusable(&error),
            });
        }
    };
    if let Some(user) = &options.impersonate {
        config.auth_info.impersonate = Some(user.clone());
    }
    if !options.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(options.impersonate_groups.clone());
    }
    if let Some(timeout) = options.timeout {
        config.connect_timeout = Some(timeout);
    }
    // Retries are ours: kube's own repeat a request 15 times without a word.
    config.default_retry = false;
    let server = ApiServer::of(&config);
    Ok((config, server))
}

/// A client with this much patience for a silent answer.
pub(super) fn client(
    config: Config,
    server: &ApiServer,
    silence: Option<Duration>,
) -> Result<Client, ConnectError> {
    let mut config = config;
    if let Some(silence) = silence {
        config.read_timeout = Some(silence);
    }
    Client::try_from(config).map_err(|error| ConnectError::Credentials {
        server: server.to_string(),
        why: root(&error),
    })
}

/// Why a kubeconfig cannot be used; where it cannot be understood, with the place.
fn unusable(error: &KubeconfigError) -> String {
    let KubeconfigError::Parse(error) = error else {
        return root(error);
    };
    let place = error.location().map_or_else(String::new, |at| {
        format!("line {}, column {}: ", at.line(), at.column())
    });
    let said = UserMessageFormatter.format_message(error);
    place + &said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.kind() == std::io::ErrorKind::NotFound,
        KubeconfigError::FindPath => true,
        _ => false,
    }
}

/// The proxy that the kubeconfig names for the cluster that is meant.
fn own_proxy(file: &Kubeconfig, named: &KubeConfigOptions) -> Option<String> {
    let context = named.context.as_ref().or(file.current_context.as_ref());
    let context = file.contexts.iter().find(|one| Some(&one.name) == context);
    let of_context = context
        .and_then(|one| one.context.as_ref())
        .map(|one| &one.cluster);
    let cluster = named.cluster.as_ref().or(of_context);
    let cluster = file.clusters.iter().find(|one| Some(&one.name) == cluster);
    let proxy = cluster.and_then(|one| one.cluster.as_ref()?.proxy_url.clone());
    proxy.filter(|proxy| !proxy.is_empty())
}

/// The proxy that the environment names for a server.
fn proxy_of(server: &http::Uri) -> Result<Option<http::Uri>, ConnectError> {
    let [https, http, no_proxy] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"].map(proxy::variable);
    let environment = proxy::Environment {
        https: &https,
        http: &http,
        no_proxy: &no_proxy,
    };
    proxy::of(server, environment).map_err(ConnectError::Proxy)
}

/// The names in the file, compared with those that were asked for.
fn entries(file: &Kubeconfig, named: &KubeConfigOptions, path: &str) -> Result<(), ConnectError> {
    let contexts: Vec<&str> = file.contexts.iter().map(|one| &*one.name).collect();
    let clusters: Vec<&str> = file.clusters.iter().map(|one| &*one.name).collect();
    let users: Vec<&str> = file.auth_infos.iter().map(|one| &*one.name).collect();
    let current = file.current_context.as_ref().filter(|name| !name.is_empty());
    if named.context.is_none() && current.is_none() && named.cluster.is_none() {
        return Err(ConnectError::NoContext {
            path: path.to_owned(),
            known: contexts.join(", "),
        });
    }
    let context = named
        .context
        .as_ref()
        .or(current.filter(|_| named.cluster.is_none()));
    let asked = [
        ("context", context, contexts),
        ("cluster", named.cluster.as_ref(), clusters),
        ("user", named.user.as_ref(), users),
    ];
    for (what, name, known) in asked {
        if let Some(name) = name.filter(|name| !known.contains(&name.as_str())) {
            return Err(ConnectError::NoEntry {
                path: path.to_owned(),
                what,
                name: name.clone(),
                hint: did_you_mean(name, known),
            });
        }
    }
    Ok(())
}

/// The file or files that are read, as people know them.
fn path(options: &Options) -> String {
    if let Some(path) = &options.kubeconfig {
        return path.display().to_string();
    }
    match env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(value) => Path::new(&value).display().to_string(),
        None => "~/.kube/config".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;

    use super::*;

    const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: prod
contexts: [{name: prod, context: {cluster: east, user: jane}}, {name: staging, context: {cluster: east, user: jane}}]
clusters: [{name: east, cluster: {server: \"https://192.0.2.1:6443\"}}]
users: [{name: jane, user: {token: x}}]
";

    async fn failure(kubeconfig: &str, options: Options) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, kubeconfig).unwrap();
        let options = Options {
            kubeconfig: Some(path.clone()),
            ..options
        };
        let error = config(&options).await.err().unwrap().to_string();
        error.replace(&path.display().to_string(), "FILE")
    }

    #[rstest]
    #[case::context(
        Some("stagin"),
        None,
        "kubeconfig FILE has no context stagin; did you mean staging?"
    )]
    #[case::nothing_like_it(Some("x"), None, "kubeconfig FILE has no context x")]
    #[case::user(None, Some("jnae"), "kubeconfig FILE has no user jnae; did you mean jane?")]
    #[tokio::test]
    async fn a_name_that_is_not_in_the_file(
        #[case] context: Option<&str>,
        #[case] user: Option<&str>,
        #[case] expected: &str,
    ) {
        let options = Options {
            context: context.map(str::to_owned),
            user: user.map(str::to_owned),
            ..Options::default()
        };
        assert_eq!(failure(KUBECONFIG, options).await, expected);
    }

    #[tokio::test]
    async fn a_file_that_chooses_nothing_or_is_none() {
        let none = KUBECONFIG.replace("current-context: prod\n", "");
        assert_eq!(
            failure(&none, Options::default()).await,
            "kubeconfig FILE has no current-context: use --context with one of prod, staging"
        );
        let absent = Options {
            kubeconfig: Some("/nonexistent/config".into()),
            ..Options::default()
        };
        let error = config(&absent).await.err().unwrap().to_string();
        assert!(
            error.starts_with("no kubeconfig: /nonexistent/config does not exist"),
            "{error}"
        );
    }

    fn status(code: u16) -> kube::Error {
        let status = serde_json::json!({"code": code, "message": "no", "reason": "X", "status": "Failure"});
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    #[rstest]
    #[case(
        401,
        "https://192.0.2.1:6443 refused your credentials (401): log in again, or see `kubectl auth whoami`"
    )]
    #[case(
        403,
        "you may not get leases.coordination.k8s.io evenkeel in namespace evenkeel-system (403)"
    )]
    #[case(
        500,
        "https://192.0.2.1:6443 answered 500 to get leases.coordination.k8s.io evenkeel in namespace evenkeel-system: no"
    )]
    fn an_answer_has_a_class(#[case] code: u16, #[case] expected: &str) {
        let server = ApiServer {
            url: "https://192.0.2.1:6443".into(),
            proxy: None,
        };
        let ask = Ask {
            verb: "get",
            resource: "leases.coordination.k8s.io",
            name: "evenkeel",
            namespace: "evenkeel-system",
        };
        assert_eq!(server.failed(&status(code), ask).to_string(), expected);
    }
}
