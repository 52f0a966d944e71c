//! Whether the control plane is fit for acts on nodes.
//!
//! A control plane that is overloaded, or of which clients see one half, takes heartbeats late: nodes look lost that are
//! well, and each eviction adds to its load. So some checks veto every act on a node while they find something, and for
//! a while afterwards: a brownout that ends for a minute comes back with the first act.

use crate::judge::Verdict;
use crate::know::Mono;

/// A check that vetoes acts on nodes.
#[derive(Debug, Clone, Copy)]
struct Veto {
    check: &'static str,
    /// Only by these causes; by any where there is none.
    causes: &'static [&'static str],
    /// Whether it vetoes as well where it cannot say anything.
    unknown: bool,
}

const fn veto(check: &'static str) -> Veto {
    Veto {
        check,
        causes: &[],
        unknown: false,
    }
}

/// Those that veto, the gravest first.
const VETOES: &[Veto] = &[
    Veto {
        unknown: true,
        ..veto("cp-overload-brownout")
    },
    // What was read is old: nodes are not what they seem.
    Veto {
        unknown: true,
        ..veto("cp-stale-watch")
    },
    veto("admission-heartbeat-block"),
    veto("lb-view-mismatch"),
    veto("cp-channel-divergence"),
    veto("cp-reconnect-storm"),
    // After a restart, or with one busy client, the control plane is whole.
    Veto {
        causes: &["Balancer"],
        ..veto("cp-instance-skew")
    },
    veto("etcd-quota-headroom"),
    // One member serves all reads, one failure is the last, or the next failure takes the others along: what follows of an
    // act (evictions, restarts, lists) comes to what is about to break.
    veto("cp-etcd-pinned"),
    veto("cp-memory-headroom"),
    veto("cp-instances-missing"),
];

/// Whether nodes may be acted on, as far as the control plane is concerned. Only `Fit` is leave to act.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fitness {
    /// Nothing was judged yet.
    #[default]
    NotJudged,
    /// Every check that vetoes has judged, and none finds anything.
    Fit,
    /// The load of the API servers is not measured, or not known now, so they may be overloaded.
    Unmeasured {
        /// The check that cannot say it.
        check: &'static str,
        /// Why, as it says.
        why: String,
    },
    /// A check finds something.
    Unfit {
        /// The check.
        check: &'static str,
        /// What it finds.
        finding: String,
    },
    /// What a check has found ended a short time ago.
    Recovering {
        /// The check that found something last.
        check: &'static str,
        /// Until when nodes are left alone.
        until: Mono,
    },
}

/// What verdicts say of it; `measured` says whether anything measures API servers at all. The gravest counts.
pub(crate) fn of<'v>(verdicts: impl Iterator<Item = (&'static str, &'v Verdict)>, measured: bool) -> Fitness {
    let mut found: Option<(usize, Fitness)> = None;
    for (check, verdict) in verdicts {
        let Some(place) = VETOES.iter().position(|veto| veto.check == check) else {
            continue;
        };
        let Some(fitness) = VETOES.get(place).and_then(|veto| veto.says(verdict)) else {
            continue;
        };
        // What is found counts before what is not known.
        let rank = match fitness {
            Fitness::Unfit { .. } => place,
            _ => place + VETOES.len(),
        };
        let better = match &found {
            None => true,
            Some((held, before)) => rank < *held || (rank == *held && text(&fitness) < text(before)),
        };
        if better {
            found = Some((rank, fitness));
        }
    }
    match found {
        Some((_, fitness)) => fitness,
        None if measured => Fitness::Fit,
        None => Fitness::Unmeasured {
            check: "cp-overload-brownout",
            why: "nothing measures the API servers: neither a Prometheus nor their own /metrics is read"
                .to_owned(),
        },
    }
}

/// What two of one check are compared by, so that their order decides nothing.
fn text(fitness: &Fitness) -> &str {
    match fitness {
        Fitness::Unfit { finding: text, .. } | Fitness::Unmeasured { why: text, .. } => text,
        Fitness::NotJudged | Fitness::Fit | Fitness::Recovering { .. } => "",
    }
}

impl Veto {
    fn says(&self, verdict: &Verdict) -> Option<Fitness> {
        let check = self.check;
        match verdict {
            Verdict::Violated(case) if self.causes.is_empty() || self.causes.contains(&case.cause()) => {
                Some(Fitness::Unfit {
                    check,
                    finding: case.to_string(),
                })
            }
            Verdict::Unknown(gap) if self.unknown => Some(Fitness::Unmeasured {
                check,
                why: gap.to_string(),
            }),
            _ => None,
        }
    }
}

/// Whether a check takes part.
pub(crate) fn concerns(check: &str) -> bool {
    VETOES.iter().any(|veto| veto.check == check)
}

/// The present state, and what holds after it.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    present: Fitness,
    /// The check that last found something, and when it last did.
    last: Option<(&'static str, Mono)>,
}

impl Latch {
    /// Takes what verdicts say now.
    pub(crate) fn set(&mut self, now: Mono, present: Fitness) {
        self.hold(now);
        self.present = present;
        self.hold(now);
    }

    /// Lets time pass: what is found goes on.
    pub(crate) fn hold(&mut self, now: Mono) {
        if let Fitness::Unfit { check, .. } = self.present {
            self.last = Some((check, now));
        }
    }

    /// Whether anything was judged yet.
    pub(crate) fn is_judged(&self) -> bool {
        self.present != Fitness::NotJudged
    }

    /// Whether nodes may be acted on now; for `cooldown` milliseconds after the last finding none is.
    pub(crate) fn fitness(&self, now: Mono, cooldown: u64) -> Fitness {
        match (&self.present, self.last) {
            (Fitness::Unfit { .. }, _) => self.present.clone(),
            (_, Some((check, at))) if now.since(at) < cooldown => Fitness::Recovering {
                check,
                until: at.plus(cooldown),
            },
            _ => self.present.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks;
    use crate::know::{Gap, Source};

    fn one(check: &str, wanted: &str) -> Verdict {
        let mut all = (checks::find(check).unwrap().examples)().into_iter();
        all.find(|one| match one {
            Verdict::Violated(case) => case.cause() == wanted,
            _ => false,
        })
        .unwrap()
    }

    fn check_of(fitness: &Fitness) -> &'static str {
        match fitness {
            Fitness::Unfit { check, .. }
            | Fitness::Unmeasured { check, .. }
            | Fitness::Recovering { check, .. } => check,
            Fitness::NotJudged => "not judged",
            Fitness::Fit => "fit",
        }
    }

    #[test]
    fn every_veto_is_a_check() {
        for veto in VETOES {
            assert!(checks::find(veto.check).is_some(), "{}", veto.check);
        }
    }

    #[test]
    fn what_is_found_vetoes_whatever_comes_first() {
        let channel = one("cp-channel-divergence", "Slow");
        let overload = one("cp-overload-brownout", "Slow");
        let unknown = Verdict::Unknown(Gap::Stale(Source::Nodes));
        let mut all = vec![
            ("cp-channel-divergence", &channel),
            ("cp-overload-brownout", &unknown),
            ("cp-stale-watch", &unknown),
        ];
        assert_eq!(check_of(&of(all.iter().copied(), true)), "cp-channel-divergence");
        all.reverse();
        assert_eq!(check_of(&of(all.iter().copied(), true)), "cp-channel-divergence");
        all.push(("cp-overload-brownout", &overload));
        assert_eq!(check_of(&of(all.iter().copied(), true)), "cp-overload-brownout");
    }

    #[test]
    fn a_restart_vetoes_nothing_and_a_wrong_balancer_does() {
        for (cause, expected) in [
            ("LastRestarted", "fit"),
            ("Clients", "fit"),
            ("Balancer", "cp-instance-skew"),
        ] {
            let skew = one("cp-instance-skew", cause);
            let all = [("cp-instance-skew", &skew)];
            assert_eq!(check_of(&of(all.into_iter(), true)), expected, "{cause}");
        }
    }

    #[test]
    fn load_that_is_not_measured_is_no_leave() {
        assert!(matches!(
            of(std::iter::empty(), false),
            Fitness::Unmeasured { .. }
        ));
        let unknown = Verdict::Unknown(Gap::TooFewSamples("requests".into()));
        let all = [("cp-overload-brownout", &unknown)];
        assert_eq!(check_of(&of(all.into_iter(), true)), "cp-overload-brownout");
        // Others may be silent: they need what not every platform shows.
        let all = [("lb-view-mismatch", &unknown)];
        assert_eq!(of(all.into_iter(), true), Fitness::Fit);
    }

    #[test]
    fn it_recovers_for_as_long_as_is_declared() {
        let mut latch = Latch::default();
        assert!(!latch.is_judged());
        assert_eq!(latch.fitness(Mono(0), 600_000), Fitness::NotJudged);
        let unfit = Fitness::Unfit {
            check: "cp-overload-brownout",
            finding: String::new(),
        };
        latch.set(Mono(1_000), unfit.clone());
        assert_eq!(latch.fitness(Mono(2_000), 600_000), unfit);
        latch.set(Mono(50_000), Fitness::Fit);
        let recovering = |until| Fitness::Recovering {
            check: "cp-overload-brownout",
            until: Mono(until),
        };
        assert_eq!(
            latch.fitness(Mono(60_000), 600_000),
            recovering(650_000),
            "from its end on"
        );
        assert_eq!(latch.fitness(Mono(60_000), 60_000), recovering(110_000));
        assert_eq!(latch.fitness(Mono(110_000), 60_000), Fitness::Fit);
    }
}
