//! Text of others, made harmless where it leaves: one function for each exit.
//!
//! Names, messages and sources quote objects and files, whose authors may want to move a cursor, colour a line, hide a
//! word, page a channel, or begin a row of their own. What could do so is shown as what it is: `\u{1b}`.
//!
//! | exit | function |
//! |---|---|
//! | one line for a terminal, a table, a status, an Event, an error or a label of a metric | [`line`] |
//! | a page on a terminal, made of such lines | [`page`] |
//! | Markdown | [`markdown`] |
//! | labels and annotations of alerts | [`alert`] |
//! | text and attributes of XML | [`xml`] |
//! | workflow commands of GitHub's runner | [`command_data`], [`command_property`] |
//! | JSON, which stays exact | [`json`] |
//! | the log | [`Log`] |
//!
//! The property in `hostile_text.rs` tries every exit with hostile text.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

/// Most characters of one text in a line: far above what we write, far below what holds up a terminal or a chat.
const LINE: usize = 4096;

/// Whether a character is one that a terminal or a reader obeys instead of showing it: controls (C0, DEL, C1), what turns
/// the direction of text or hides in it (Unicode, UAX #9 and the format characters of UTR #36), and other ends of lines.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What begins a command of GitHub's runner anywhere in a line of a step's output (`actions/runner`, `ActionCommand.cs`,
/// `Prefix` and `TryParse`). The other form, `::`, begins one only where a line begins, and ours begin with words of ours or
/// with names that the schema holds to DNS labels.
const COMMAND: &str = "##[";

/// One line of text: nothing in it is obeyed, and it does not end.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if text.len() <= LINE && !text.contains(is_active) && !text.contains(COMMAND) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().min(LINE));
    for c in text.chars().take(LINE) {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            c if is_active(c) || (c == '[' && shown.ends_with("##")) => {
                // Writing into a String cannot fail.
                let _ = write!(shown, "{}", c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    let left = text.chars().count().saturating_sub(LINE);
    if left > 0 {
        let _ = write!(shown, "… ({left} more characters)");
    }
    Cow::Owned(shown)
}

/// A page for a terminal, laid out of lines that are harmless by themselves ([`line`]): its line feeds, tabs and colours are
/// ours and stay. Never for a text of others alone, whose line feeds would stay, too.
pub(crate) fn page(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| matches!(c, '\n' | '\t') || !is_active(c);
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour(rest);
        let (part, after) = rest.split_at(colour.max(c.len_utf8()));
        rest = after;
        if colour > 0 || harmless(c) {
            shown.push_str(part);
        } else {
            let _ = write!(shown, "{}", c.escape_unicode());
        }
    }
    Cow::Owned(shown)
}

/// How many bytes of the text are a colour (ECMA-48, SGR) that it begins with: one that we write, as others hide text.
fn colour(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    match parameters.as_bytes() {
        // None, bold, dim, slanted, underlined: the second and third of these are the log's.
        [b'0'..=b'4', b'm', ..] => "\x1b[0m".len(),
        // Colours of the text, dark and bright.
        [b'3' | b'9', b'0'..=b'7', b'm', ..] => "\x1b[30m".len(),
        _ => 0,
    }
}

/// A line of Markdown: no markup of another begins or ends in it, no cell of a table, no link under another
/// text and no HTML. An address stays one that a viewer may make a link of.
pub(crate) fn markdown(text: &str) -> String {
    let text = line(text);
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let begins_block = at == 0 && matches!(c, '#' | '-' | '+' | '=');
        if begins_block || matches!(c, '\\' | '`' | '|' | '<' | '>' | '[' | ']' | '*' | '&' | '~') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// Words that chats read as a call to all of their members, after `@`.
const CALLS: [&str; 4] = ["all", "channel", "everyone", "here"];

/// A line for an alert, whose receivers put it into chats and mails: it calls no whole chat, and holds no link under another
/// text. A `<` that begins a mention or link (Slack: `<!channel>`, `<@user>`, `<address|text>`) becomes `‹`, and an `@` that
/// calls all members becomes `(at)`.
pub(crate) fn alert(text: &str) -> String {
    let text = line(text);
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let after = text.get(at + c.len_utf8()..).unwrap_or_default();
        let next = after.chars().next();
        match c {
            '<' if next.is_some_and(|next| next.is_alphabetic() || matches!(next, '!' | '@' | '#' | '/')) => {
                shown.push('‹');
            }
            '@' if CALLS.iter().any(|call| begins_with(after, call)) => shown.push_str("(at)"),
            c => shown.push(c),
        }
    }
    shown
}

fn begins_with(text: &str, word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

/// A line for the text or an attribute of XML 1.0: it ends neither, and holds no character that XML has not (section 2.2:
/// U+FFFE and U+FFFF are what [`line`] leaves of them).
pub(crate) fn xml(text: &str) -> String {
    let text = line(text);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(shown, "{}", c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

/// A line as the message of a workflow command: the runner turns `%25` back (`actions/runner`, `ActionCommand.cs`), and the line
/// holds no end of line that would begin another command.
pub(crate) fn command_data(text: &str) -> String {
    line(text).replace('%', "%25")
}

/// A line as a property of a workflow command: neither the next property nor the message begins in it.
pub(crate) fn command_property(text: &str) -> String {
    command_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// JSON as it was, with every active character that stands in it as an escape: a terminal obeys nothing, and a parser
/// reads the same.
pub(crate) fn json(text: String) -> String {
    let active = |c: char| is_active(c) && !matches!(c, '\n' | '\r' | '\t');
    if !text.contains(active) && !text.contains(COMMAND) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // A number sign stands in strings alone, and so does the bracket behind it.
        if active(c) || (c == '[' && shown.ends_with("##")) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether nothing in the text is obeyed.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.contains(|c| is_active(c) && c != '\n') && !text.contains(COMMAND)
}

/// Where the log is written to: each event is one write, which is made harmless as a whole.
#[derive(Debug)]
pub(crate) struct Log {
    /// Whether an event is JSON.
    pub(crate) json: bool,
}

impl io::Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut out = io::stderr().lock();
        if self.json {
            out.write_all(json(text.into_owned()).as_bytes())?;
        } else {
            let (body, end) = text.strip_suffix('\n').map_or((&*text, ""), |body| (body, "\n"));
            // No event has a line of its own making.
            out.write_all(page(&body.replace('\n', " ")).as_bytes())?;
            out.write_all(end.as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("shop/reports", "shop/reports")]
    #[case("\x1b[2J\x1b]0;pwn\x07", "\\u{1b}[2J\\u{1b}]0;pwn\\u{7}")]
    #[case("a\nb\r\n\tc", "a b   c")]
    #[case("\u{202e}txt.exe\u{9b}31m", "\\u{202e}txt.exe\\u{9b}31m")]
    #[case("##[error]x #[x] [x]", "##\\u{5b}error]x #[x] [x]")]
    #[case("Zürich 東京", "Zürich 東京")]
    fn lines(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(line(text), expected);
    }

    #[test]
    fn a_line_is_cut_and_says_so() {
        let long = "ä".repeat(1 << 20);
        let shown = line(&long);
        assert!(shown.ends_with("… (1044480 more characters)") && shown.len() < 2 * LINE + 64);
    }

    #[rstest]
    #[case(
        "\x1b[1m\x1b[31mcritical\x1b[0m  a\n\tb\n",
        "\x1b[1m\x1b[31mcritical\x1b[0m  a\n\tb\n"
    )]
    #[case("\x1b[31mred\x1b[2J", "\x1b[31mred\\u{1b}[2J")]
    #[case("\x1b[8mhidden\x1b[30;40m", "\\u{1b}[8mhidden\\u{1b}[30;40m")]
    #[case("\x1b[31", "\\u{1b}[31")]
    #[case("a\rb", "a\\u{d}b")]
    fn pages(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(page(text), expected);
    }

    #[rstest]
    #[case("a|b `c` <img src=x> [x](y)", r"a\|b \`c\` \<img src=x\> \[x\](y)")]
    #[case("# title\n# title", r"\# title # title")]
    #[case("nf_conntrack_max 5 - 3", "nf_conntrack_max 5 - 3")]
    fn markup(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(markdown(text), expected);
    }

    #[rstest]
    #[case("<!channel> <@U1> <https://a|b> </a>", "‹!channel> ‹@U1> ‹https://a|b> ‹/a>")]
    #[case("G <= 0.8 T, a < b", "G <= 0.8 T, a < b")]
    #[case("@here @Channel repo@sha256:1", "(at)here (at)Channel repo@sha256:1")]
    fn alerts(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(alert(text), expected);
    }

    #[rstest]
    #[case(
        "a < b && c > \"d\" 'e' ]]>",
        "a &lt; b &amp;&amp; c &gt; &quot;d&quot; &apos;e&apos; ]]&gt;"
    )]
    #[case("\0\u{ffff}\u{fffe}\n", "\\u{0}\\u{ffff}\\u{fffe} ")]
    fn xml_text(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(xml(text), expected);
    }

    #[rstest]
    #[case("90 %: a, b", "90 %25: a, b", "90 %25%3A a%2C b")]
    #[case("x\n::error::y%0A", "x ::error::y%250A", "x %3A%3Aerror%3A%3Ay%250A")]
    fn workflow_commands(#[case] text: &str, #[case] data: &str, #[case] property: &str) {
        assert_eq!(
            (command_data(text), command_property(text)),
            (data.into(), property.into())
        );
    }

    proptest! {
        #[test]
        fn nothing_is_obeyed(text in hostile()) {
            let commands = [command_data(&text), command_property(&text)];
            prop_assert!(!commands[1].contains([':', ',']));
            for shown in [line(&text).into_owned(), markdown(&text), alert(&text), xml(&text)].into_iter().chain(commands) {
                prop_assert!(!shown.contains(is_active), "{shown:?}");
            }
            prop_assert!(!alert(&text).contains("<!"));
        }

        #[test]
        fn json_stays_exact(text in hostile()) {
            let written = json(serde_json::to_string(&text).unwrap());
            prop_assert!(!written.contains(is_active));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }

    /// Text that tries to be obeyed.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            any::<char>().prop_map(String::from),
            (0_u32..0x2100).prop_map(|code| char::from_u32(code).map_or_else(String::new, String::from)),
            prop::sample::select(vec![
                "\x1b[2J",
                "\x1b[8m",
                "\u{9b}31m",
                "<!channel>",
                "]]>",
                "%0A",
                "::error::",
                "##[error]",
                "#",
                "[",
                "&lt;",
                "[x](y)",
                "`",
                "|",
                "\"",
                "\\",
                "\n",
                "\r\n",
                "\u{202e}",
                "\u{2066}",
                "@here",
                "\u{e0041}"
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat())
    }
}
