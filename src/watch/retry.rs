//! What a pump does when a request fails: what each failure means, and when to ask again.

use evenkeel_core::index::Part;
use tokio::time::Instant;

use super::pace::{ABSENT_MAX, REFUSED_MAX, SECOND_LOOK, SLOWLY};
use super::pump::{Presence, Pump, PumpState, PumpStep};
use super::server::WatchServer;
use crate::client::{Refusal, RequestError};
use crate::rights::refusal;

impl<S: WatchServer> Pump<S> {
    /// What a failure means, and what to do next.
    pub(super) async fn fail(&mut self, error: RequestError, back: PumpState<S::Lines>) -> PumpStep<S> {
        tracing::debug!(target = self.target.show(), %error, "watch");
        let (code, after) = match &error {
            RequestError::Refused(refusal) => (refusal.code, refusal.after),
            RequestError::Broken(_) | RequestError::Late(_) | RequestError::TooLong(_) => (0, None),
        };
        if code == 404 {
            return self.missing().await;
        }
        self.claim.doubt(error.to_string());
        match code {
            403 => return self.refused(error, back).await,
            // What is known is no longer continued: read again.
            410 if self.failed_lists == 0 => return Ok(PumpState::Start),
            // A server that answers with another error is alive: the same connection will do.
            0 | 401 => self.server.renew(),
            _ => {}
        }
        let until = Instant::now() + self.pace.wait(after);
        Ok(PumpState::Waiting(until, Box::new(back)))
    }

    /// The right is missing.
    async fn refused(&mut self, error: RequestError, back: PumpState<S::Lines>) -> PumpStep<S> {
        let lists = matches!(back, PumpState::Start) && !self.streams;
        let verb = if lists { "list" } else { "watch" };
        let why = match error {
            RequestError::Refused(Refusal { message, .. }) => {
                refusal(format_args!("{verb} {} ({message})", self.target.resource))
            }
            lost => lost.to_string(),
        };
        if !std::mem::replace(&mut self.refused, true) {
            // A server that is starting refuses before it has read who may do what: one refusal says nothing.
            return Ok(PumpState::Waiting(Instant::now() + SECOND_LOOK, Box::new(back)));
        }
        self.claim.unreadable(why).await?;
        // Rights of single namespaces and names come with installing a product, those of whole sources with our own role.
        let most = if self.target.part() == Part::Whole {
            REFUSED_MAX
        } else {
            ABSENT_MAX
        };
        let longer = (self.refused_for * 2).min(most);
        let after = std::mem::replace(&mut self.refused_for, longer);
        Ok(PumpState::Waiting(Instant::now() + after, Box::new(back)))
    }

    /// The kind is not served: nothing of it can exist.
    async fn missing(&mut self) -> PumpStep<S> {
        let again = |after| {
            Ok(PumpState::Waiting(
                Instant::now() + after,
                Box::new(PumpState::Start),
            ))
        };
        if self.presence == Presence::Served {
            // A server that is starting may not know its kinds yet: one 404 does not undo what was known.
            self.presence = Presence::Doubtful;
            self.path = 0;
            self.claim.doubt("404: not served any more".into());
            return again(SLOWLY);
        }
        self.path += 1;
        if self.path < self.target.paths.len() {
            return Ok(PumpState::Start);
        }
        self.path = 0;
        let is_news = self.presence != Presence::Absent;
        self.presence = Presence::Absent;
        // When it appears, it is read at once.
        self.listed_at = [None; 2];
        self.streams = true;
        self.pace.reset();
        // Our own kinds may come any moment, and people wait for the answer. Others may never come.
        let after = if self.target.evidence {
            SLOWLY
        } else {
            let longer = (self.absent_for * 2).min(ABSENT_MAX);
            std::mem::replace(&mut self.absent_for, longer)
        };
        self.claim.absent(is_news, after).await?;
        again(after)
    }
}
