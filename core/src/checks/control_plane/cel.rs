//! As much of CEL as the match conditions of webhooks usually need, in three values: true, false, and not known.
//!
//! What a request of a component looks like is known in part only: its resource and verb are, its object is not. A full
//! interpreter stops at the first thing that it does not know; here `false && x` is false whatever `x` is. Anything
//! beyond comparisons, `in`, `!`, `&&`, `||` and a few functions of text is not known.
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
    /// A list of which every element is known or not.
    List(Vec<Self>),
}

/// Deepest nesting that is followed.
const DEPTH: usize = 32;

/// Whether an expression is true; `None` when that is not known. `get` gives the value of a path such as
/// `request.resource.group`.
pub(super) fn holds(expression: &str, get: &dyn Fn(&str) -> Value) -> Option<bool> {
    let tokens = tokens(expression)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
        get,
    };
    let value = parser.or()?;
    match value {
        Value::Bool(value) if parser.at == tokens.len() => Some(value),
        _ => None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Path(String),
    Text(String),
    Sign(&'static str),
}

const SIGNS: [&str; 13] = [
    "&&", "||", "==", "!=", "!", "(", ")", "[", "]", ",", ".", "?", ":",
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
    get: &'a dyn Fn(&str) -> Value,
}

impl Parser<'_> {
    fn take(&mut self, sign: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(one)) if *one == sign);
        self.at += usize::from(is);
        is
    }

    fn or(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        let mut left = self.and()?;
        while self.take("||") {
            let right = self.and()?;
            left = either(&left, &right, true);
        }
        self.depth -= 1;
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
        let left = self.one()?;
        if self.take("==") {
            return Some(equal(&left, &self.one()?));
        }
        if self.take("!=") {
            return Some(not(&equal(&left, &self.one()?)));
        }
        if self.tokens.get(self.at) == Some(&Token::Path("in".into())) {
            self.at += 1;
            let right = self.one()?;
            return Some(within(&left, &right));
        }
        Some(left)
    }

    fn one(&mut self) -> Option<Value> {
        let mut nots = 0;
        while self.take("!") {
            nots += 1;
        }
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        let value = match token {
            Token::Text(text) => self.of_text(Value::Text(text))?,
            Token::Path(path) => self.path(&path)?,
            Token::Sign("(") => {
                let value = self.or()?;
                self.take(")").then_some(value)?
            }
            Token::Sign("[") => Value::List(self.items("]")?),
            Token::Sign(_) => return None,
        };
        Some(if nots % 2 == 1 { not(&value) } else { value })
    }

    /// Items up to a closing sign.
    fn items(&mut self, end: &str) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.or()?);
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
                _ => (self.get)(path),
            });
        }
        let arguments = self.items(")")?;
        let value = match path.rsplit_once('.') {
            Some((of, function)) => call(&(self.get)(of), function, &arguments),
            None => Value::Unknown,
        };
        self.of_text(value)
    }

    /// What is called on a value in turn.
    fn of_text(&mut self, mut value: Value) -> Option<Value> {
        while self.take(".") {
            let Some(Token::Path(function)) = self.tokens.get(self.at).cloned() else {
                return None;
            };
            self.at += 1;
            value = if self.take("(") {
                let arguments = self.items(")")?;
                call(&value, &function, &arguments)
            } else {
                Value::Unknown
            };
        }
        Some(value)
    }
}

fn call(of: &Value, function: &str, arguments: &[Value]) -> Value {
    let (Value::Text(text), [Value::Text(other)]) = (of, arguments) else {
        return Value::Unknown;
    };
    match function {
        "startsWith" => Value::Bool(text.starts_with(other.as_str())),
        "endsWith" => Value::Bool(text.ends_with(other.as_str())),
        "contains" => Value::Bool(text.contains(other.as_str())),
        _ => Value::Unknown,
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
        (Value::Bool(left), Value::Bool(right)) => Value::Bool(left == right),
        _ => Value::Unknown,
    }
}

fn within(one: &Value, list: &Value) -> Value {
    match (one, list) {
        (Value::Text(_), Value::List(items)) => items
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
    #[case("request.resource.resource == 'a' ? true : false", None)]
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
    }
}
