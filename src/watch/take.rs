//! What a pump takes from a line, and how far it then knows its target.

use tokio::time::Instant;

use super::line::{self, WatchLine};
use super::link::LONGEST_LINE;
use super::outlet::{Closed, What};
use super::pump::Pump;
use super::server::WatchServer;
use crate::client::RequestError;

impl<S: WatchServer> Pump<S> {
    /// What a line says. Most lines of nodes change nothing.
    pub(super) fn read(&self, line: &[u8]) -> WatchLine {
        self.repeats
            .as_ref()
            .and_then(|repeats| repeats.version(line::cut(line)?))
            .map_or_else(|| line::read(line), WatchLine::Repeat)
    }

    /// Whatever objects say next is a change.
    pub(super) fn forget(&mut self) {
        if let Some(repeats) = &mut self.repeats {
            repeats.forget();
        }
    }

    /// Takes a line in; returns the version that it says, or why the stream cannot go on.
    pub(super) async fn take(
        &mut self,
        bytes: Vec<u8>,
        said: WatchLine,
    ) -> Result<Result<Option<String>, RequestError>, Closed> {
        Ok(match said {
            WatchLine::Repeat(version) => Ok(Some(version)),
            WatchLine::Object(at, version) => {
                if let Some(repeats) = &mut self.repeats {
                    repeats.note(bytes.get(at.clone()).unwrap_or_default());
                }
                self.claim.send(What::Object(bytes, at)).await?;
                Ok(version)
            }
            WatchLine::Gone {
                namespace,
                name,
                version,
            } => {
                if let Some(repeats) = &mut self.repeats {
                    repeats.gone(&name);
                }
                self.claim.send(What::Gone(namespace, name)).await?;
                Ok(version)
            }
            WatchLine::Bookmark(version, _) => {
                self.claim.bookmark();
                Ok(Some(version))
            }
            WatchLine::Error { code, message, after } => Err(RequestError::refused(code, message, after)),
            WatchLine::TooLong {
                gone,
                namespace,
                name,
                version,
            } => {
                // A gap in what is known of this object, and of nothing else: the watch goes on, and no list would mend it.
                self.forget();
                let what = if gone {
                    What::Gone(namespace, name)
                } else {
                    let why = format!("it has more than {} MiB", LONGEST_LINE >> 20);
                    What::Refused(namespace, name, why)
                };
                self.claim.send(what).await?;
                Ok(version)
            }
            WatchLine::Garbled(why) => {
                // The core lists it as an object that it does not understand, and doubts what may depend on it.
                self.garbled = true;
                self.forget();
                let told = format!("a line was not understood: {why}");
                self.claim.seen.note(|seen| seen.last_error = Some(told));
                let all = 0..bytes.len();
                self.claim.send(What::Object(bytes, all)).await?;
                Ok(None)
            }
        })
    }

    /// Goes on to a version. One that is older than what is known comes from a store that was restored from a backup,
    /// or from a server that lags behind: what is known is not its continuation.
    pub(super) fn advance(&mut self, version: Option<String>) -> Result<(), RequestError> {
        let Some(version) = version else { return Ok(()) };
        if let (Ok(new), Ok(old)) = (version.parse::<u64>(), self.version.parse::<u64>())
            && new < old
        {
            let why = format!("resourceVersion went back from {old} to {new}");
            return Err(RequestError::refused(410, why, None));
        }
        self.say(version);
        Ok(())
    }

    pub(super) fn say(&mut self, version: String) {
        self.version = version;
        self.said_at = Instant::now();
    }
}
