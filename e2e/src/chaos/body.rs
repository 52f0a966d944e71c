//! Answers that come late, twice, in part, or never.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::sync::watch;

use super::fault::Fault;
use super::{Body, Broken, thaw};

/// How late pieces of one answer may come in all: a network that holds back more drops it.
const LATE: Duration = Duration::from_secs(3);

/// How far an answer has come.
struct Way<S> {
    pieces: S,
    fault: Fault,
    rng: fastrand::Rng,
    frozen: watch::Receiver<bool>,
    passed: usize,
    late: Duration,
    /// A line that comes once more.
    again: Option<Bytes>,
    is_over: bool,
}

/// An answer with its fault.
pub(super) fn faulty(
    body: kube::client::Body,
    fault: Fault,
    rng: fastrand::Rng,
    frozen: watch::Receiver<bool>,
) -> Body {
    let way = Way {
        pieces: lines(body).boxed(),
        fault,
        rng,
        frozen,
        passed: 0,
        late: Duration::ZERO,
        again: None,
        is_over: false,
    };
    let pieces = stream::unfold(way, |mut way| async move {
        way.next().await.map(|piece| (piece, way))
    });
    BodyExt::boxed_unsync(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))))
}

impl<S: Stream<Item = Result<Bytes, Broken>> + Unpin> Way<S> {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        if self.is_over {
            return None;
        }
        if let Some(line) = self.again.take() {
            return Some(Ok(line));
        }
        let piece = self.pieces.next().await?;
        thaw(self.frozen.clone()).await;
        let Ok(piece) = piece else { return Some(piece) };
        self.passed += 1;
        match self.fault {
            Fault::Cut(after) if self.passed > after => {
                self.is_over = true;
                Some(Err(Broken::other("cut")))
            }
            Fault::Truncated(after) if self.passed > after => {
                self.is_over = true;
                Some(Ok(piece.slice(..piece.len() / 2)))
            }
            Fault::Silent(after) if self.passed > after => std::future::pending().await,
            Fault::Stuttering => {
                let wait = Duration::from_millis(self.rng.u64(0..400)).min(LATE.saturating_sub(self.late));
                self.late += wait;
                tokio::time::sleep(wait).await;
                // Only a whole line can come twice; a list that does is no JSON, as from a proxy that is out of its mind.
                if piece.ends_with(b"\n") && self.rng.u8(0..4) == 0 {
                    self.again = Some(piece.clone());
                }
                Some(Ok(piece))
            }
            _ => Some(Ok(piece)),
        }
    }
}

/// The lines of an answer as soon as each is whole, and what comes after the last one.
fn lines(body: kube::client::Body) -> impl Stream<Item = Result<Bytes, Broken>> {
    let chunks = body.into_data_stream().boxed();
    stream::unfold(
        (chunks, Vec::new(), false),
        |(mut chunks, mut held, mut is_over)| async move {
            loop {
                if let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                    let rest = held.split_off(end + 1);
                    return Some((Ok(Bytes::from(held)), (chunks, rest, is_over)));
                }
                if is_over {
                    return (!held.is_empty()).then(|| (Ok(Bytes::from(held)), (chunks, Vec::new(), true)));
                }
                match chunks.next().await {
                    Some(Ok(chunk)) => held.extend_from_slice(&chunk),
                    Some(Err(error)) => return Some((Err(Broken::other(error)), (chunks, Vec::new(), true))),
                    None => is_over = true,
                }
            }
        },
    )
}
