//! Reads single Pods that an Event names: what happened to a Pod is in its status, which fewer may write than Events.
//!
//! Which Pods, and how many at most, the core says ([`evenkeel_core::Round::lookups`]); its first question follows from an
//! Event at once, so nothing here is repeated or kept.

use evenkeel_core::history::{PodAnswer, PodQuery};
use http::Request;
use kube::client::Body;
use tokio::time::{Duration, Instant};

use crate::client::{Link, RequestError, exchange};
use crate::resources::escape;
use crate::rights::{Right, RightScope, refusal};

/// How long an answer may take: well below the time after which the core asks again (`ANSWER` in its `history::lookups`).
const WITHIN: Duration = Duration::from_secs(10);

/// What reading them needs. It gives no more than the right to list Pods, which is there already.
pub const RIGHTS: &[Right] = &[Right {
    group: "",
    resource: "pods",
    verbs: &["get"],
    scope: RightScope::Cluster,
    why: "reads the status of single Pods that Events say were preempted or evicted",
}];

/// What became of reading a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupResult {
    /// The Pod as JSON.
    Found(Vec<u8>),
    /// There is none of this name.
    Gone,
    /// The right is missing; the server's message.
    Refused(String),
    /// Nothing that says anything came.
    Failed,
}

impl LookupResult {
    /// The same for the core.
    pub(crate) fn as_input(&self) -> PodAnswer<'_> {
        match self {
            Self::Found(json) => PodAnswer::Found(json),
            Self::Gone => PodAnswer::Gone,
            Self::Refused(why) => PodAnswer::Refused(why),
            Self::Failed => PodAnswer::Failed,
        }
    }
}

/// Reads one Pod.
pub(crate) async fn read(link: &Link, pod: &PodQuery) -> LookupResult {
    let Ok(request) = Request::get(path(pod)).body(Body::empty()) else {
        return LookupResult::Failed;
    };
    match exchange(link, request, Instant::now() + WITHIN).await {
        Ok(json) => LookupResult::Found(json),
        Err(RequestError::Refused(answer)) if answer.code == 404 => LookupResult::Gone,
        Err(RequestError::Refused(answer)) if answer.code == 403 => LookupResult::Refused(refusal(
            format_args!("get pods, by which an Event is checked ({})", answer.message),
        )),
        Err(error) => {
            tracing::debug!(%error, "cannot read a Pod");
            LookupResult::Failed
        }
    }
}

/// Its address. The core takes only what can be a name, and nothing else reaches a path either.
fn path(pod: &PodQuery) -> String {
    let [namespace, name] = [&pod.namespace, &pod.name].map(|text| escape(text));
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::client::scripted::{endless, link, whole};

    fn pod(name: &str) -> PodQuery {
        PodQuery {
            namespace: "shop".into(),
            name: name.into(),
        }
    }

    #[rstest]
    #[case("web-0.a", "/api/v1/namespaces/shop/pods/web-0.a")]
    #[case("../../nodes/n1?x", "/api/v1/namespaces/shop/pods/..%2F..%2Fnodes%2Fn1%3Fx")]
    fn a_name_stays_in_its_place(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(path(&pod(name)), expected);
    }

    #[rstest]
    #[case::found(200, "{}", LookupResult::Found("{}".into()))]
    #[case::gone(404, "{}", LookupResult::Gone)]
    #[case::refused(
        403,
        r#"{"message":"pods \"web-0\" is forbidden"}"#,
        LookupResult::Refused("missing right: get pods, by which an Event is checked (pods \"web-0\" is forbidden)".into())
    )]
    #[case::busy(429, "{}", LookupResult::Failed)]
    #[case::broken(500, "", LookupResult::Failed)]
    #[tokio::test(start_paused = true)]
    async fn answers(#[case] code: u16, #[case] body: &'static str, #[case] expected: LookupResult) {
        let link = link(move |request| async move {
            assert_eq!(request.uri().path(), "/api/v1/namespaces/shop/pods/web-0");
            whole(code, body)
        });
        assert_eq!(read(&link, &pod("web-0")).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_ends_is_none() {
        let link = link(|_| async { endless(200, "{") });
        assert_eq!(read(&link, &pod("web-0")).await, LookupResult::Failed);
    }
}
