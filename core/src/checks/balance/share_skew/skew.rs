//! What people read of a backend that gets another share than its own.

use std::fmt;

use super::super::measured::{CountedAs, TookShare};
#[cfg(test)]
use crate::judge::Verdict;
use crate::judge::{Advice, Evidence, Explain};

/// A backend that gets another share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ShareSkew {
    pub(super) took: TookShare,
    /// How many more get too little, or too much, as it does.
    pub(super) more: usize,
}

/// A backend with less than so many percent of its share gets nothing: a stray connection is no traffic.
const NOTHING_PERCENT: u64 = 2;

impl ShareSkew {
    const fn gets_nothing(&self) -> bool {
        self.took.count * 100 < self.took.due * NOTHING_PERCENT
    }

    const fn is_starved(&self) -> bool {
        self.took.count < self.took.due
    }
}

impl Explain for ShareSkew {
    fn cause(&self) -> &'static str {
        match self.took.counted {
            CountedAs::Requests => "Requests",
            CountedAs::Connections | CountedAs::Open if self.gets_nothing() => "NoTraffic",
            CountedAs::Connections | CountedAs::Open if self.is_starved() => "Starved",
            CountedAs::Connections | CountedAs::Open => "Hot",
        }
    }

    fn message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TookShare {
            pod,
            due,
            tolerance_percent,
            ..
        } = &self.took;
        write!(
            f,
            "backend {pod} {}; its share is {due}, give or take {tolerance_percent} %",
            self.took
        )?;
        match self.more {
            0 => Ok(()),
            more => write!(
                f,
                "; {more} more get too {}",
                if self.is_starved() { "little" } else { "much" }
            ),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = self.took.evidence();
        if self.more > 0 {
            evidence.push(Evidence::count(
                "moreBackends",
                self.more,
                self.took.source.clone(),
            ));
        }
        evidence
    }

    fn advice(&self) -> Vec<Advice> {
        let pod = &self.took.pod;
        if self.took.counted == CountedAs::Requests {
            return vec![
                "let the server end connections after 5 to 30 minutes with jitter, or balance requests: clients keep the \
                 connections that they have"
                    .into(),
                format!("leave {pod} running: another backend would get the same clients").into(),
            ];
        }
        if self.is_starved() {
            return vec![
                format!(
                    "connect to Pod {pod} by its own address; if it answers, see whether the nodes' proxies send to it"
                )
                .into(),
                "leave the other backends running: they carry its load".into(),
            ];
        }
        vec![
            format!("see which clients Pod {pod} has, and whether it closes connections early, so that they come again")
                .into(),
            "more replicas do not help as long as its share stays".into(),
        ]
    }
}

/// One case for each form of the evidence, for the file of all messages.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Verdict> {
    let of = |counted, count, more| ShareSkew {
        took: TookShare {
            pod: "checkout-7d9c6b5f4-x2x9k".into(),
            counted,
            count,
            due: 100,
            total: 300,
            seconds: 60,
            tolerance_percent: 25,
            source: "Prometheus, http_connections_accepted_total by pod".into(),
        },
        more,
    };
    vec![
        Verdict::violated(of(CountedAs::Connections, 0, 0)),
        Verdict::violated(of(CountedAs::Connections, 12, 1)),
        Verdict::violated(of(CountedAs::Connections, 190, 0)),
        Verdict::violated(of(CountedAs::Connections, 190, 2)),
        Verdict::violated(of(CountedAs::Open, 0, 0)),
        Verdict::violated(of(CountedAs::Open, 190, 0)),
        Verdict::at_risk(of(CountedAs::Requests, 12, 0)),
        Verdict::at_risk(of(CountedAs::Requests, 190, 0)),
    ]
}
