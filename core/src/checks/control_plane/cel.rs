//! As much of CEL as the match conditions of webhooks usually need, in three values: true, false, and not known.
//!
//! What a request of a component looks like is known in part only: its resource and verb are, its object is not. A full
//! interpreter stops at the first thing that it does not know; here `false && x` is false whatever `x` is. Evaluated are
//! `==`, `!=`, `in`, `!`, `&&`, `||`, `?:`, a few functions of text, and `exists` and `all` over lists. What else is
//! written well is a value that is not known; what is not makes the whole expression so.
//!
//! Source: the CEL specification, `doc/langdef.md`; `matchConditions` of "Dynamic Admission Control".

/// A value of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Not known.
    Unknown,
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A text of which only the beginning is known.
    Begins(String),
    /// A list of which every element is known or not.
    List(Vec<Self>),
}

/// Deepest nesting that is followed.
const DEPTH: usize = 32;
/// Most values that are looked at: lists within lists multiply.
const STEPS: usize = 10_000;

/// Whether an expression is true; `None` when that is not known. `get` gives the value of a path such as
/// `request.resource.group`.
pub(super) fn holds(expression: &str, get: &dyn Fn(&str) -> Value) -> Option<bool> {
    let tokens = tokens(expression)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
        steps: 0,
        bound: Vec::new(),
        get,
    };
    let value = parser.expression()?;
    match value {
        Value::Bool(value) if parser.at == tokens.len() => Some(value),
        _ => None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Path(String),
    Text(String),
    /// Its value never matters here.
    Number,
    Sign(&'static str),
}

/// The longer of two that begin alike comes first.
const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", "!", "(", ")", "[", "]", ",", ".", "?", ":", "<", ">", "+", "-", "*",
    "/", "%",
];

/// The words of an expression; `None` where there is something else.
fn tokens(expression: &str) -> Option<Vec<Token>> {
    let mut rest = expression.trim_start();
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' || first == '\'' {
            let end = rest.get(1..)?.find(first)?;
            let text = rest.get(1..=end)?;
            // Escapes are rare in names of resources.
            if text.contains('\\') {
                return None;
            }
            tokens.push(Token::Text(text.to_owned()));
            end + 2
        } else if first.is_ascii_alphabetic() || first == '_' {
            let part = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == '.';
            let end = rest.find(|one| !part(one)).unwrap_or(rest.len());
            tokens.push(Token::Path(rest.get(..end)?.to_owned()));
            end
        } else if first.is_ascii_digit() {
            tokens.push(Token::Number);
            let part = |one: char| one.is_ascii_alphanumeric() || one == '.';
            rest.find(|one| !part(one)).unwrap_or(rest.len())
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest.get(length..)?.trim_start();
    }
    Some(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    steps: usize,
    /// Variables of `exists` and `all`, the innermost last.
    bound: Vec<(String, Value)>,
    get: &'a dyn Fn(&str) -> Value,
}

impl Parser<'_> {
    fn take(&mut self, sign: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(one)) if *one == sign);
        self.at += usize::from(is);
        is
    }

    fn take_any(&mut self, signs: &[&str]) -> bool {
        signs.iter().any(|sign| self.take(sign))
    }

    /// `condition ? value : value`, or anything that binds closer.
    fn expression(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        let mut value = self.or()?;
        if self.take("?") {
            let then = self.expression()?;
            let otherwise = self.take(":").then(|| self.expression())??;
            value = match value {
                Value::Bool(true) => then,
                Value::Bool(false) => otherwise,
                _ if then == otherwise => then,
                _ => Value::Unknown,
            };
        }
        self.depth -= 1;
        Some(value)
    }

    fn or(&mut self) -> Option<Value> {
        let mut left = self.and()?;
        while self.take("||") {
            let right = self.and()?;
            left = either(&left, &right, true);
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Value> {
        let mut left = self.compared()?;
        while self.take("&&") {
            let right = self.compared()?;
            left = either(&left, &right, false);
        }
        Some(left)
    }

    fn compared(&mut self) -> Option<Value> {
        let left = self.sum()?;
        if self.take("==") {
            return Some(equal(&left, &self.sum()?));
        }
        if self.take("!=") {
            return Some(not(&equal(&left, &self.sum()?)));
        }
        if self.take_any(&["<=", ">=", "<", ">"]) {
            self.sum()?;
            return Some(Value::Unknown);
        }
        if self.tokens.get(self.at) == Some(&Token::Path("in".into())) {
            self.at += 1;
            let right = self.sum()?;
            return Some(within(&left, &right));
        }
        Some(left)
    }

    /// What is added or multiplied is not known.
    fn sum(&mut self) -> Option<Value> {
        let mut value = self.one()?;
        while self.take_any(&["+", "-", "*", "/", "%"]) {
            self.one()?;
            value = Value::Unknown;
        }
        Some(value)
    }

    fn one(&mut self) -> Option<Value> {
        self.steps += 1;
        if self.steps > STEPS {
            return None;
        }
        let mut nots = 0;
        while self.take("!") {
            nots += 1;
        }
        let negative = self.take("-");
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        let value = match token {
            Token::Text(text) => Value::Text(text),
            Token::Number => Value::Unknown,
            Token::Path(path) => self.path(&path)?,
            Token::Sign("(") => {
                let value = self.expression()?;
                self.take(")").then_some(value)?
            }
            Token::Sign("[") => Value::List(self.items("]")?),
            Token::Sign(_) => return None,
        };
        let value = self.selected(value)?;
        Some(match (nots, negative) {
            (_, true) => Value::Unknown,
            (nots, false) if nots % 2 == 1 => not(&value),
            (_, false) => value,
        })
    }

    /// Items up to a closing sign.
    fn items(&mut self, end: &str) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.expression()?);
            if !self.take(",") {
                return self.take(end).then_some(items);
            }
        }
        Some(items)
    }

    /// A path, or a call of a function whose name is its end.
    fn path(&mut self, path: &str) -> Option<Value> {
        if !self.take("(") {
            return Some(match path {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => self.value_of(path),
            });
        }
        let Some((of, function)) = path.rsplit_once('.') else {
            self.items(")")?;
            return Some(Value::Unknown);
        };
        let of = self.value_of(of);
        self.called(&of, function)
    }

    fn value_of(&self, path: &str) -> Value {
        let bound = self.bound.iter().rev().find(|(name, _)| {
            path.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        match bound {
            Some((name, value)) if name == path => value.clone(),
            Some(_) => Value::Unknown,
            None => (self.get)(path),
        }
    }

    /// What is selected from a value, or called on it, in turn.
    fn selected(&mut self, mut value: Value) -> Option<Value> {
        loop {
            if self.take("[") {
                self.expression()?;
                self.take("]").then_some(())?;
                value = Value::Unknown;
            } else if self.take(".") {
                let Some(Token::Path(path)) = self.tokens.get(self.at).cloned() else {
                    return None;
                };
                self.at += 1;
                let (of, function) = path.rsplit_once('.').unwrap_or(("", &path));
                let of = if of.is_empty() { value } else { Value::Unknown };
                value = if self.take("(") {
                    self.called(&of, function)?
                } else {
                    Value::Unknown
                };
            } else {
                return Some(value);
            }
        }
    }

    /// A function of a value, after its opening bracket.
    fn called(&mut self, of: &Value, function: &str) -> Option<Value> {
        if matches!(function, "exists" | "all") {
            return self.over_list(of, function == "exists");
        }
        let arguments = self.items(")")?;
        Some(call(of, function, &arguments))
    }

    /// `list.exists(name, condition)` or `list.all(name, condition)`: `any` says which.
    fn over_list(&mut self, of: &Value, any: bool) -> Option<Value> {
        let Some(Token::Path(name)) = self.tokens.get(self.at).cloned() else {
            return None;
        };
        self.at += 1;
        self.take(",").then_some(())?;
        let begin = self.at;
        let unknown = [Value::Unknown];
        let items: &[Value] = match of {
            Value::List(items) if !items.is_empty() => items,
            _ => &unknown,
        };
        let mut found = Value::Bool(!any);
        for item in items {
            self.at = begin;
            self.bound.push((name.clone(), item.clone()));
            let one = self.expression()?;
            self.bound.pop();
            found = either(&found, &one, any);
        }
        self.take(")").then_some(found)
    }
}

fn call(of: &Value, function: &str, arguments: &[Value]) -> Value {
    let (text, other) = match (of, arguments) {
        (Value::Text(text), [Value::Text(other)]) => (text, other),
        (Value::Begins(begin), [Value::Text(other)]) if function == "startsWith" => {
            return begins(begin, other);
        }
        _ => return Value::Unknown,
    };
    match function {
        "startsWith" => Value::Bool(text.starts_with(other.as_str())),
        "endsWith" => Value::Bool(text.ends_with(other.as_str())),
        "contains" => Value::Bool(text.contains(other.as_str())),
        _ => Value::Unknown,
    }
}

/// Whether a text that begins so begins with another.
fn begins(begin: &str, other: &str) -> Value {
    if begin.starts_with(other) {
        Value::Bool(true)
    } else if other.starts_with(begin) {
        Value::Unknown
    } else {
        Value::Bool(false)
    }
}

fn not(value: &Value) -> Value {
    match value {
        Value::Bool(value) => Value::Bool(!value),
        _ => Value::Unknown,
    }
}

/// `||` where one that is true decides, `&&` where one that is false does.
fn either(left: &Value, right: &Value, decides: bool) -> Value {
    match (left, right) {
        (Value::Bool(one), _) | (_, Value::Bool(one)) if *one == decides => Value::Bool(decides),
        (Value::Bool(_), Value::Bool(_)) => Value::Bool(!decides),
        _ => Value::Unknown,
    }
}

fn equal(left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Value::Bool(left == right),
        (Value::Begins(begin), Value::Text(text)) | (Value::Text(text), Value::Begins(begin))
            if !text.starts_with(begin.as_str()) =>
        {
            Value::Bool(false)
        }
        (Value::Bool(left), Value::Bool(right)) => Value::Bool(left == right),
        _ => Value::Unknown,
    }
}

fn within(one: &Value, list: &Value) -> Value {
    match (one, list) {
        (Value::Text(_) | Value::Begins(_), Value::List(items)) => items
            .iter()
            .map(|item| equal(one, item))
            .fold(Value::Bool(false), |any, item| either(&any, &item, true)),
        _ => Value::Unknown,
    }
}

#[cfg(test)]
mod tests {
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
}
