//! The published page of reasons is what the reasons say of themselves. That no other reason is used, the type sees to;
//! that none is used elsewhere than the page says, every test of a standing does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use evenkeel_core::standing::Reason;

/// Set to `1` to write the page instead of comparing it.
const BLESS: &str = "EVENKEEL_BLESS";

const HEAD: &str = "\
<!-- Generated from core/src/standing/reason.rs: make bless -->
# Reasons

Why a condition of a policy is as it is, in one stable word: scripts may rely on it, messages are for people. `Ready` has
status and reason of `Healthy`, for tools that wait for it.

`kubectl get thp` shows the reason of `Healthy`; all of them:
`kubectl get thp NAME -o jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}'`

| reason | of | what it means | what to do |
|---|---|---|---|
";

const TAIL: &str = "
## Words that are no reasons of conditions

| where | word | what it means |
|---|---|---|
| `evenkeel status` | `NotJudgedYet` | the policy has no status: no operator has seen it |
| `evenkeel status` | `(of an older generation)` | the status speaks of an earlier version of the policy |
| Events | `Healthy`, `NotHealthy`, `HealthyUnknown`, and the same of `Accepted` and `Observed` | the condition has changed; the message begins with its reason |

A status is as old as its last writer: `evenkeel status` shows whether the operator is alive (see
[troubleshooting](troubleshooting.md#is-the-operator-alive)).
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for reason in Reason::ALL {
        let places = reason.places().iter();
        let places: Vec<_> = places
            .map(|(kind, holds)| format!("`{kind}={}`", holds.name()))
            .collect();
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            reason.name(),
            places.join(", "),
            reason.means(),
            reason.next()
        )
        .unwrap();
    }
    page + TAIL
}

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reasons.md");
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        std::fs::write(&path, page()).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(published, page(), "run with {BLESS}=1");
}

#[test]
fn every_reason_is_one_word_of_its_own_as_conditions_demand() {
    let names: BTreeSet<_> = Reason::ALL.map(Reason::name).into();
    assert_eq!(names.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        // The API's own rule for reasons of conditions, without the separators that we do not use.
        assert!(reason.name().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(!reason.places().is_empty());
    }
}
