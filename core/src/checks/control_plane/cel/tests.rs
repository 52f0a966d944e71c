use super::*;
use rstest::rstest;

fn get(path: &str) -> Value {
    match path {
        "request.resource.group" => Value::Text("coordination.k8s.io".into()),
        "request.resource.resource" => Value::Text("leases".into()),
        "request.userInfo.groups" => Value::List(vec![Value::Text("system:nodes".into())]),
        "request.userInfo.username" => Value::Begins("system:node:".into()),
        _ => Value::Unknown,
    }
}

#[rstest]
#[case(
    r#"!(request.resource.group == "coordination.k8s.io" && request.resource.resource == "leases")"#,
    Some(false)
)]
#[case(r#"!("system:nodes" in request.userInfo.groups)"#, Some(false))]
#[case("request.resource.group != 'rbac.authorization.k8s.io'", Some(true))]
#[case("request.resource.resource in ['pods', 'leases']", Some(true))]
#[case("request.resource.resource in [object.kind]", None)]
#[case("request.resource.resource in [object.kind, 'leases']", Some(true))]
#[case(
    "object.metadata.name == 'x' && request.resource.resource == 'pods'",
    Some(false)
)]
#[case(
    "object.metadata.name == 'x' || request.resource.resource == 'leases'",
    Some(true)
)]
#[case("object.metadata.name == 'x' && request.resource.resource == 'leases'", None)]
#[case("request.resource.resource.startsWith('lea')", Some(true))]
#[case("!request.resource.group.endsWith('.example.com')", Some(true))]
#[case("!has(object.metadata.labels) || true", Some(true))]
#[case("authorizer.group('').resource('pods').check('get').allowed()", None)]
#[case("!!true", Some(true))]
#[case("(request.resource.resource == 'leases') == true", Some(true))]
#[case("true != true", Some(false))]
#[case("", None)]
#[case("true false", None)]
#[case("object.spec.replicas > 3", None)]
#[case("'a", None)]
#[case("(true", None)]
#[case("request.resource.resource == 'a' ? true : false", Some(false))]
#[case("object.spec.paused ? false : false", Some(false))]
#[case("object.spec.paused ? true : false", None)]
#[case(
    "request.resource.resource == 'pods' && object.metadata.labels['app'] == 'x'",
    Some(false)
)]
#[case(
    "request.resource.resource != 'leases' && size(object.metadata.name) > 0",
    Some(false)
)]
#[case("request.resource.resource == 'leases' || 1 + 2 >= -3", Some(true))]
#[case("!request.userInfo.username.startsWith('system:')", Some(false))]
#[case("request.userInfo.username.startsWith('system:node:n1')", None)]
// Of a text of which only the beginning is known, no end and no middle is.
#[case("request.userInfo.username.endsWith('system:')", None)]
#[case("request.userInfo.username.contains('x')", None)]
#[case("request.userInfo.username != 'system:apiserver'", Some(true))]
#[case("request.userInfo.username == 'system:node:n1'", None)]
#[case(
    "request.userInfo.username in ['a', 'system:serviceaccount:b:c']",
    Some(false)
)]
#[case("!request.userInfo.groups.exists(g, g == 'system:nodes')", Some(false))]
#[case("request.userInfo.groups.exists(g, g.startsWith('oidc:'))", Some(false))]
#[case("request.userInfo.groups.all(g, g != 'system:masters')", Some(true))]
#[case("object.spec.containers.all(c, c.image.startsWith('x'))", None)]
#[case("['a', request.resource.resource].exists(g, g == 'leases')", Some(true))]
#[case("request.userInfo.groups.exists(g", None)]
#[case("request.userInfo.groups.exists('g', true)", None)]
fn conditions(#[case] expression: &str, #[case] expected: Option<bool>) {
    assert_eq!(holds(expression, &get), expected);
}

#[test]
fn depth_is_bounded() {
    let nested = |depth| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(holds(&nested(DEPTH - 1), &get), Some(true));
    assert_eq!(holds(&nested(DEPTH), &get), None);
    assert_eq!(holds(&nested(5000), &get), None);
    // What stands side by side is not deep.
    assert_eq!(holds(&["(true)"; 100].join(" && "), &get), Some(true));
    // Each list in a list would be gone through again for each element of the outer one.
    let list = format!("[{}]", "'a',".repeat(40));
    let nested = format!(
        "{}{}",
        format!("{list}.exists(g, ").repeat(9),
        "true".to_owned() + &")".repeat(9)
    );
    assert_eq!(holds(&nested, &get), None);
}
