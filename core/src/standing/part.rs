//! What a policy says of itself that declares more than is judged.

use super::{Condition, Holds, Reason, Standing};
use crate::engine::Cut;
use crate::findings::in_part;

/// Says so in a standing: what is not judged is not healthy either.
pub(super) fn of(cut: &Cut, namespace: &str, standing: &mut Standing) {
    let why = in_part::why(cut, namespace);
    let before = std::mem::replace(
        &mut standing.accepted,
        Condition::new(
            Holds::True,
            Reason::JudgedInPart,
            format!("the policy is in force, but {why}"),
        ),
    );
    if before.reason != Reason::Accepted {
        let more = format!("; {}", before.message);
        standing.accepted.message.push_str(&more);
    }
    if standing.healthy.holds == Holds::True || standing.healthy.reason == Reason::NoServices {
        standing.healthy = Condition::new(Holds::Unknown, Reason::JudgedInPart, why);
    }
}
