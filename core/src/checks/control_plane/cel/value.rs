//! Values of expressions, and what operators and functions make of them: a value that is not known decides nothing.

/// A value of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Value {
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

pub(super) fn call(of: &Value, function: &str, arguments: &[Value]) -> Value {
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

pub(super) fn not(value: &Value) -> Value {
    match value {
        Value::Bool(value) => Value::Bool(!value),
        _ => Value::Unknown,
    }
}

/// `||` where one that is true decides, `&&` where one that is false does.
pub(super) fn either(left: &Value, right: &Value, decides: bool) -> Value {
    match (left, right) {
        (Value::Bool(one), _) | (_, Value::Bool(one)) if *one == decides => Value::Bool(decides),
        (Value::Bool(_), Value::Bool(_)) => Value::Bool(!decides),
        _ => Value::Unknown,
    }
}

pub(super) fn equal(left: &Value, right: &Value) -> Value {
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

pub(super) fn within(one: &Value, list: &Value) -> Value {
    match (one, list) {
        (Value::Text(_) | Value::Begins(_), Value::List(items)) => items
            .iter()
            .map(|item| equal(one, item))
            .fold(Value::Bool(false), |any, item| either(&any, &item, true)),
        _ => Value::Unknown,
    }
}
