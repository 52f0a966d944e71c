//! The address that a cluster publishes for its API servers: ConfigMap `kube-public/cluster-info`.
//!
//! kubeadm writes it for nodes that join (`cmd/kubeadm/app/phases/bootstraptoken/clusterinfo`): a kubeconfig without
//! credentials, of which `server` is the control plane's endpoint. Its CA is not trusted: the server that answers is checked
//! under ours.

use std::time::Duration;

use evenkeel_core::sample::Why;
use http::{Request, Uri};
use kube::client::Body;
use serde::Deserialize;
use tokio::time::Instant;

use crate::client::{Link, RequestError, exchange};

const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// How long the answer may take.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
struct ClusterInfo {
    data: ClusterInfoData,
}

#[derive(Debug, Deserialize)]
struct ClusterInfoData {
    kubeconfig: String,
}

#[derive(Debug, Deserialize)]
struct PublishedConfig {
    clusters: Vec<PublishedCluster>,
}

#[derive(Debug, Deserialize)]
struct PublishedCluster {
    cluster: Endpoint,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    server: String,
}

/// The address, as `host:port`, or why there is none.
pub(super) async fn address(link: &Link) -> Result<String, (Why, String)> {
    let request = Request::get(PATH).body(Body::empty());
    let request = request.map_err(|error| (Why::NotUnderstood, error.to_string()))?;
    let wrong = |what: String| {
        (
            Why::NotUnderstood,
            format!("ConfigMap kube-public/cluster-info: {what}"),
        )
    };
    match exchange(link, request, Instant::now() + WITHIN).await {
        Ok(json) => parse(&json).map_err(wrong),
        Err(RequestError::Refused(refusal)) if refusal.code == 404 => Err((
            Why::NoAddress,
            "there is no ConfigMap kube-public/cluster-info: set controlPlane.loadBalancer".to_owned(),
        )),
        Err(RequestError::Refused(refusal)) if refusal.code == 403 => Err((
            Why::NoAddress,
            "no right to get ConfigMap kube-public/cluster-info: set controlPlane.loadBalancer".to_owned(),
        )),
        Err(error) => Err((
            Why::Unreachable,
            format!("ConfigMap kube-public/cluster-info: {error}"),
        )),
    }
}

fn parse(json: &[u8]) -> Result<String, String> {
    let info: ClusterInfo = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let config: PublishedConfig =
        serde_saphyr::from_str(&info.data.kubeconfig).map_err(|error| error.to_string())?;
    let cluster = config.clusters.first().ok_or("no cluster in its kubeconfig")?;
    let server: Uri = cluster
        .cluster
        .server
        .parse()
        .map_err(|error| format!("{error}"))?;
    if server.scheme_str() != Some("https") {
        return Err("its server has no https".to_owned());
    }
    let host = server.host().ok_or("its server has no host")?;
    Ok(format!("{host}:{}", server.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::client::scripted::{link, whole};

    fn info(server: &str) -> String {
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    certificate-authority-data: eA==\n    server: {server}\n  name: \"\"\nusers: null\n"
        );
        json!({"kind": "ConfigMap", "data": {"kubeconfig": kubeconfig, "jws-kubeconfig-abcdef": "x"}})
            .to_string()
    }

    async fn answered(code: u16, body: String) -> Result<String, Why> {
        let link = link(move |request| {
            let body = body.clone();
            async move {
                assert!(
                    request
                        .uri()
                        .path()
                        .ends_with("/kube-public/configmaps/cluster-info")
                );
                whole(code, body)
            }
        });
        address(&link).await.map_err(|gap| gap.0)
    }

    #[rstest]
    #[case::kubeadm(200, info("https://api.example.com:6443"), Ok("api.example.com:6443"))]
    #[case::usual_port(200, info("https://192.0.2.9"), Ok("192.0.2.9:443"))]
    #[case::six(200, info("https://[2001:db8::1]:6443"), Ok("[2001:db8::1]:6443"))]
    #[case::no_tls(200, info("http://192.0.2.9:8080"), Err(Why::NotUnderstood))]
    #[case::no_kubeconfig(200, json!({"data": {}}).to_string(), Err(Why::NotUnderstood))]
    #[case::absent(404, "{}".to_owned(), Err(Why::NoAddress))]
    #[case::forbidden(403, "{}".to_owned(), Err(Why::NoAddress))]
    #[case::broken(500, "{}".to_owned(), Err(Why::Unreachable))]
    #[tokio::test(start_paused = true)]
    async fn the_address_is_published(
        #[case] code: u16,
        #[case] body: String,
        #[case] expected: Result<&str, Why>,
    ) {
        assert_eq!(answered(code, body).await, expected.map(str::to_owned));
    }
}
