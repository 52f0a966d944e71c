//! `audit --watch`: looks again and again, and says what has changed.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::super::input::Interrupted;
use super::super::{End, answer, note, told};
use super::Look;
use crate::render::findings::{Changes, ComparedAudit};
use crate::render::screen::Screen;
use crate::repeats::Repeats;

/// Looks until it is interrupted; what the last look came to is the end. A look that fails is a note, and the next one follows.
pub(super) fn watch(
    every: Duration,
    first: Look,
    again: &str,
    mut look: impl FnMut() -> anyhow::Result<Look>,
) -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let _entered = runtime.enter();
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for an interrupt")?;
    let mut last = first;
    note(&format!(
        "looks again every {} s and shows what has changed, until ctrl-c",
        every.as_secs_f64()
    ));
    let mut repeats = Repeats::default();
    loop {
        let waited = runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(every) => true,
                _ = interrupted.recv() => false,
            }
        });
        if !waited {
            return Ok(last.end);
        }
        let now = match look() {
            Ok(now) => now,
            Err(error) if error.is::<Interrupted>() => return Ok(last.end),
            Err(error) => {
                let said = told(&error);
                if let Some(times) = repeats.due(&said) {
                    note(&format!("{said} ({times} in a row)"));
                }
                continue;
            }
        };
        repeats.end();
        let changes = Changes::of(&ComparedAudit::from(&last.list), &ComparedAudit::from(&now.list));
        if !changes.is_empty() {
            let at = jiff::Timestamp::now().strftime("%H:%M:%SZ").to_string();
            answer(&format!("\n{at}\n{}", changes.page(again, Screen::current())))?;
        }
        last = now;
    }
}
