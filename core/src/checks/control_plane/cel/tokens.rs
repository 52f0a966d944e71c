//! The words of an expression.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
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
pub(super) fn tokens(expression: &str) -> Option<Vec<Token>> {
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
