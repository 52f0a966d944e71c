//! What sounds like a secret in a command line, replaced.
//!
//! A command line is kept because its flags say what a proxy does. A shell that starts the proxy may hold more: a token
//! for a download, a password in an address. What is taken out is recognised by the name before it, so a secret without
//! any name stays; that is why only kube-proxy's command lines are kept whole.

/// What stands for a secret.
const REMOVED: &str = "removed";

/// Words in a name whose value nobody should see.
const SECRETS: [&str; 8] = [
    "token",
    "passw",
    "pwd",
    "secret",
    "credential",
    "apikey",
    "api-key",
    "authorization",
];

/// Schemes after which a credential follows.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// What of the text that follows is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hide {
    /// Nothing.
    No,
    /// The next word, unless it is a flag.
    Next,
    /// Everything to the end of the quotes.
    Quoted(char),
    /// Everything to the end of the argument: the value of a header.
    Rest,
}

/// The words of a command line, some of which may be lines for a shell, without the values of what sounds like a
/// secret.
pub(super) fn masked(argv: &[String]) -> Vec<String> {
    let mut hide = Hide::No;
    argv.iter()
        .map(|argument| {
            let argument = mask(argument, &mut hide);
            // Only a flag's value may be an argument of its own.
            if hide != Hide::Next {
                hide = Hide::No;
            }
            argument
        })
        .collect()
}

fn mask(argument: &str, hide: &mut Hide) -> String {
    let mut out = String::new();
    for part in argument.split_inclusive(char::is_whitespace) {
        let word = part.trim_end();
        let (text, next) = if word.is_empty() {
            (String::new(), *hide)
        } else {
            mask_word(word, *hide)
        };
        *hide = next;
        out.push_str(&text);
        out.push_str(part.get(word.len()..).unwrap_or_default());
    }
    out
}

fn mask_word(word: &str, hide: Hide) -> (String, Hide) {
    match hide {
        Hide::Quoted(quote) if word.ends_with(quote) => return (format!("{REMOVED}{quote}"), Hide::No),
        Hide::Quoted(_) | Hide::Rest => return (REMOVED.to_owned(), hide),
        Hide::Next if !word.starts_with("--") => return (REMOVED.to_owned(), after(word)),
        Hide::Next | Hide::No => {}
    }
    if let Some((name, value)) = word.split_once('=').filter(|(name, _)| sounds_secret(name)) {
        return (format!("{name}={REMOVED}"), after(value));
    }
    let bare = word.trim_matches(['"', '\'', ':']);
    if SCHEMES.iter().any(|scheme| bare.eq_ignore_ascii_case(scheme)) {
        return (word.to_owned(), Hide::Next);
    }
    if let Some((name, value)) = word.split_once(':').filter(|(name, _)| sounds_secret(name)) {
        let rest = after_quote(name).unwrap_or(Hide::Rest);
        let value = if value.is_empty() { "" } else { REMOVED };
        return (format!("{name}:{value}"), rest);
    }
    if word.starts_with('-') && sounds_secret(word) && !word.contains('=') {
        return (word.to_owned(), Hide::Next);
    }
    (without_user(word), Hide::No)
}

fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|one| name.contains(one))
}

/// What is hidden after a value that may be the beginning of a quoted one.
fn after(value: &str) -> Hide {
    let quoted = value.starts_with(['"', '\'']);
    after_quote(value).filter(|_| quoted).unwrap_or(Hide::No)
}

/// The quotes that a word opens and does not close.
fn after_quote(word: &str) -> Option<Hide> {
    let quote = word.chars().find(|c| matches!(c, '"' | '\''))?;
    (word.matches(quote).count() % 2 == 1).then_some(Hide::Quoted(quote))
}

/// An address without its user and password.
fn without_user(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest.get(..end).unwrap_or(rest);
    match host.rfind('@') {
        Some(at) if host.get(..at).is_some_and(|user| user.contains(':')) => {
            format!("{scheme}://{REMOVED}{}", rest.get(at..).unwrap_or_default())
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::masked;

    #[rstest]
    #[case::nothing(&["kube-proxy", "--config=/c", "--v", "2"], &["kube-proxy", "--config=/c", "--v", "2"])]
    #[case::equals(&["--token=x", "--v=2"], &["--token=removed", "--v=2"])]
    #[case::apart(&["--token", "x", "--v=2"], &["--token", "removed", "--v=2"])]
    #[case::a_switch(&["--use-token", "--v=2"], &["--use-token", "--v=2"])]
    #[case::one_dash(&["-password", "x", "y"], &["-password", "removed", "y"])]
    #[case::in_a_script(&["sh", "-c", "get --token x | kube-proxy  --v=2"], &["sh", "-c", "get --token removed | kube-proxy  --v=2"])]
    #[case::a_variable(&["sh", "-c", "A_PASSWORD=x kube-proxy\n--v=2"], &["sh", "-c", "A_PASSWORD=removed kube-proxy\n--v=2"])]
    #[case::quoted(&["sh", "-c", "A_PASSWORD='x y z' kube-proxy"], &["sh", "-c", "A_PASSWORD=removed removed removed' kube-proxy"])]
    #[case::bearer(&["sh", "-c", "curl -H 'X: Bearer x' u && kube-proxy"], &["sh", "-c", "curl -H 'X: Bearer removed u && kube-proxy"])]
    #[case::a_header(&["sh", "-c", "curl -H \"Authorization: Basic x\" u; kube-proxy --v=2"], &["sh", "-c", "curl -H \"Authorization: removed removed\" u; kube-proxy --v=2"])]
    #[case::a_header_alone(&["curl", "-H", "Authorization: Bearer x", "kube-proxy"], &["curl", "-H", "Authorization: removed removed", "kube-proxy"])]
    #[case::a_header_of_its_own(&["curl", "-H", "X-Auth-Token:x", "kube-proxy"], &["curl", "-H", "X-Auth-Token:removed", "kube-proxy"])]
    #[case::an_address(&["--master=https://a:b@host:1/p"], &["--master=https://removed@host:1/p"])]
    #[case::a_plain_address(&["--master=https://host:1/a@b:c"], &["--master=https://host:1/a@b:c"])]
    #[case::at_the_end(&["kube-proxy", "--token"], &["kube-proxy", "--token"])]
    #[case::empty(&["", " "], &["", " "])]
    fn command_lines(#[case] argv: &[&str], #[case] expected: &[&str]) {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(masked(&argv), expected);
    }
}
