//! A server that is a function, for tests in virtual time: no socket is between, so no real time passes.

use std::convert::Infallible;

use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use tower::service_fn;

use super::Link;

/// What the server answers.
pub(crate) type ScriptedResponse = Response<BoxBody<Bytes, Infallible>>;

/// A link to a server that answers with this.
pub(crate) fn link<F, T>(answer: F) -> Link
where
    F: Fn(Request<Body>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = ScriptedResponse> + Send + 'static,
{
    Link::new(move || {
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let client = Client::new(service, "default");
        async move { Ok(client) }
    })
}

/// An answer with this code and body.
pub(crate) fn whole(code: u16, body: impl Into<Bytes>) -> ScriptedResponse {
    response(code, Full::new(body.into()).boxed())
}

/// An answer whose body begins with this and never ends.
pub(crate) fn endless(code: u16, begin: impl Into<Bytes>) -> ScriptedResponse {
    let begin = stream::iter([Ok::<_, Infallible>(Frame::data(begin.into()))]);
    response(
        code,
        BodyExt::boxed(StreamBody::new(begin.chain(stream::pending()))),
    )
}

fn response(code: u16, body: BoxBody<Bytes, Infallible>) -> ScriptedResponse {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}
