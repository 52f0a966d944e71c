//! As much of CEL as the match conditions of webhooks usually need, in three values: true, false, and not known.
//!
//! What a request of a component looks like is known in part only: its resource and verb are, its object is not. A full
//! interpreter stops at the first thing that it does not know; here `false && x` is false whatever `x` is. Evaluated are
//! `==`, `!=`, `in`, `!`, `&&`, `||`, `?:`, a few functions of text, and `exists` and `all` over lists. What else is
//! written well is a value that is not known; what is not makes the whole expression so.
//!
//! Source: the CEL specification, `doc/langdef.md`; `matchConditions` of "Dynamic Admission Control".

mod tokens;
mod value;

use tokens::{Token, tokens};
pub(super) use value::Value;
use value::{call, either, equal, not, within};

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

#[cfg(test)]
mod tests;
