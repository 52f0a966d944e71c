//! What a list of findings says of what was not judged.

use super::*;

/// What was not judged of two checks, of one policy that is named, and of policies that are not.
fn not_judged() -> NotJudged {
    NotJudged {
        checks: vec!["endpoint-flap", "pod-churn-storm"],
        reason: "an audit sees one moment",
        policies: ["a-team/wide", "shop/wide"]
            .map(|policy| JudgedInPart {
                policy: policy.to_owned(),
                declared: 3_000,
                judged: 2_000,
                reason: String::new(),
            })
            .into(),
        policies_left: 5,
        left_in: BTreeMap::from([("a-team".to_owned(), 2), ("shop".to_owned(), 3)]),
    }
}

/// With `-n` and `--check` it is about what was asked for: its policies, how many more there are of them, and the reason that
/// is left.
#[test]
fn only_what_is_asked_for_is_listed_as_not_judged() {
    let shop = |namespace: &str| namespace == "shop";
    let asked = not_judged().asked_of(|_| true, shop).expect("a policy of shop");
    assert_eq!(
        asked.policies.iter().map(|one| &*one.policy).collect::<Vec<_>>(),
        ["shop/wide"]
    );
    assert_eq!(
        (asked.policies_left, asked.reason),
        (3, "an audit sees one moment")
    );

    let asked = not_judged().asked_of(|_| false, shop).expect("a policy of shop");
    assert_eq!((asked.checks, asked.reason), (Vec::new(), JUDGED_IN_PART));

    let asked = not_judged()
        .asked_of(|id| id == "endpoint-flap", |_| false)
        .expect("a check");
    assert_eq!((asked.checks, asked.policies_left), (vec!["endpoint-flap"], 0));
    assert!(asked.policies.is_empty());

    assert_eq!(not_judged().asked_of(|_| false, |_| false), None);
}
