//! How many API servers there are: each renews a Lease in `kube-system` that bears its identity.
//!
//! k8s.io/kubernetes, `pkg/controlplane/apiserver/server.go`: label `apiserver.kubernetes.io/identity`, renewed every 10 s
//! (`IdentityLeaseRenewIntervalPeriod`), of 3600 s (`IdentityLeaseDurationSeconds`).

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_core::sample::Why;
use http::Request;
use jiff::Timestamp;
use kube::client::Body;
use serde::Deserialize;
use tokio::time::Instant;

use crate::client::{Link, RequestError, exchange};

/// Where they are. The limit is far above any number of API servers.
const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases\
                    ?labelSelector=apiserver.kubernetes.io/identity%3Dkube-apiserver&limit=100";

/// How long the answer may take.
const WITHIN: Duration = Duration::from_secs(10);

/// After how long without a renewal an API server is taken as gone: six renewals. A Lease itself stays for an hour, and
/// versions before 1.26 took a new one with each start.
const GONE: i64 = 60;

#[derive(Debug, Deserialize)]
struct Leases {
    items: Vec<Lease>,
}

#[derive(Debug, Deserialize)]
struct Lease {
    spec: LeaseSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeaseSpec {
    #[serde(default)]
    renew_time: Option<Timestamp>,
}

/// Why the only address that the API servers show may stand for more of them than one; `None` where it stands for one.
pub(super) async fn hidden(link: &Link, only: IpAddr) -> Option<(Why, String)> {
    let request = Request::get(PATH).body(Body::empty()).ok()?;
    let answer = exchange(link, request, Instant::now() + WITHIN).await;
    match answer {
        Ok(json) => match live(&json, Timestamp::now()) {
            Ok(0 | 1) => None,
            Ok(count) => Some((
                Why::Hidden,
                format!("{count} API servers write the address {only}"),
            )),
            Err(error) => Some((Why::NotUnderstood, format!("Leases in kube-system: {error}"))),
        },
        Err(RequestError::Refused(refusal)) if refusal.code == 403 => Some((
            Why::Refused,
            format!("no right to list Leases in kube-system, which tell whether {only} is one API server"),
        )),
        Err(error) => Some((Why::Unreachable, format!("Leases in kube-system: {error}"))),
    }
}

/// How many were renewed lately. A clock that differs from theirs by less than a minute changes nothing.
fn live(json: &[u8], now: Timestamp) -> Result<usize, serde_json::Error> {
    let leases: Leases = serde_json::from_slice(json)?;
    let renewed = leases.items.iter().filter_map(|lease| lease.spec.renew_time);
    let lately = renewed.filter(|at| now.duration_since(*at).as_secs() < GONE);
    Ok(lately.count())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;
    use crate::client::scripted::{link, whole};

    fn leases(ages: &[i64]) -> String {
        let now = Timestamp::now().as_second();
        let items: Vec<_> = ages
            .iter()
            .map(|age| json!({"spec": {"renewTime": Timestamp::from_second(now - age).unwrap().to_string()}}))
            .collect();
        json!({"kind": "LeaseList", "items": items}).to_string()
    }

    async fn answered(code: u16, body: String) -> Option<Why> {
        let link = link(move |request| {
            let body = body.clone();
            async move {
                assert!(request.uri().path().ends_with("/kube-system/leases"));
                whole(code, body)
            }
        });
        hidden(&link, "192.0.2.1".parse().unwrap()).await.map(|gap| gap.0)
    }

    #[tokio::test(start_paused = true)]
    async fn more_servers_than_addresses_are_hidden() {
        assert_eq!(answered(200, leases(&[5, 9, 12])).await, Some(Why::Hidden));
        assert_eq!(answered(200, leases(&[5, 3000])).await, None);
        assert_eq!(answered(200, leases(&[])).await, None);
        assert_eq!(answered(403, "{}".into()).await, Some(Why::Refused));
        assert_eq!(answered(500, "{}".into()).await, Some(Why::Unreachable));
        assert_eq!(answered(200, "[]".into()).await, Some(Why::NotUnderstood));
    }
}
