//! Just enough of a shell's grammar to find a command's words in `sh -c` strings.
//!
//! Nothing is expanded: a word that needs expansion is marked, and a reader of its value learns that it cannot
//! be read.

/// A word of a shell script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dataplane) struct Word {
    /// The text without quotes.
    pub(in crate::dataplane) text: String,
    /// Whether the shell replaces a part of it: a variable, a substitution, a pattern.
    pub(in crate::dataplane) expanded: bool,
}

/// The simple commands of a script, each as its words; redirections are dropped. `None` where a quote stays open.
pub(in crate::dataplane) fn commands(script: &str) -> Option<Vec<Vec<Word>>> {
    let mut reader = Splitter {
        chars: script.chars().peekable(),
        commands: vec![Vec::new()],
        word: None,
        skip: false,
    };
    reader.read()?;
    reader.commands.retain(|words| !words.is_empty());
    Some(reader.commands)
}

struct Splitter<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    commands: Vec<Vec<Word>>,
    word: Option<Word>,
    /// Whether the next word is the target of a redirection.
    skip: bool,
}

impl Splitter<'_> {
    fn read(&mut self) -> Option<()> {
        while let Some(c) = self.chars.next() {
            match c {
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '\\' => match self.chars.next() {
                    Some('\n') => {}
                    Some(escaped) => self.push(escaped),
                    None => return None,
                },
                '#' if self.word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
                '&' if self.chars.peek() == Some(&'>') => self.end_word(),
                ';' | '\n' | '&' | '|' | '(' | ')' => self.end_command(),
                '<' | '>' => self.redirection(),
                c if c.is_whitespace() => self.end_word(),
                '$' | '`' | '*' | '?' => self.expand(c),
                c => self.push(c),
            }
        }
        self.end_command();
        Some(())
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word {
            text: String::new(),
            expanded: false,
        })
    }

    fn push(&mut self, c: char) {
        self.word().text.push(c);
    }

    fn expand(&mut self, c: char) {
        self.word().expanded = true;
        self.push(c);
        if c == '`' {
            while let Some(inner) = self.chars.next_if(|c| *c != '`') {
                self.push(inner);
            }
            if let Some(close) = self.chars.next() {
                self.push(close);
            }
            return;
        }
        let (open, close) = match (c, self.chars.peek()) {
            ('$', Some('(')) => ('(', ')'),
            ('$', Some('{')) => ('{', '}'),
            _ => return,
        };
        let mut depth = 0_u32;
        for inner in self.chars.by_ref() {
            self.word
                .get_or_insert_with(|| Word {
                    text: String::new(),
                    expanded: true,
                })
                .text
                .push(inner);
            if inner == open {
                depth += 1;
            } else if inner == close {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
        }
    }

    fn single_quoted(&mut self) -> Option<()> {
        self.word();
        loop {
            match self.chars.next()? {
                '\'' => return Some(()),
                c => self.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Option<()> {
        self.word();
        loop {
            match self.chars.next()? {
                '"' => return Some(()),
                '\\' => match self.chars.next()? {
                    '\n' => {}
                    c @ ('"' | '\\' | '$' | '`') => self.push(c),
                    c => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                c @ ('$' | '`') => self.expand(c),
                c => self.push(c),
            }
        }
    }

    fn redirection(&mut self) {
        // `2>file`: the number belongs to the redirection, not to the command.
        if self
            .word
            .as_ref()
            .is_some_and(|word| word.text.bytes().all(|b| b.is_ascii_digit()))
        {
            self.word = None;
        }
        self.end_word();
        while self
            .chars
            .next_if(|c| matches!(c, '<' | '>' | '&' | '|'))
            .is_some()
        {}
        self.skip = true;
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            if std::mem::take(&mut self.skip) {
                return;
            }
            if let Some(command) = self.commands.last_mut() {
                command.push(word);
            }
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.skip = false;
        self.commands.push(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_comment("run --a # --b", &["run", "--a"])]
    #[case::a_comment_ends_with_its_line("# first\nrun --a", &["run", "--a"])]
    #[case::a_sign_within_a_word_is_no_comment("run --a=x#y --b", &["run", "--a=x#y", "--b"])]
    #[case::a_line_that_goes_on("run \\\n --a", &["run", "--a"])]
    #[case::redirected("run --a > /out 2>&1", &["run", "--a"])]
    fn words_of_a_command(#[case] script: &str, #[case] expected: &[&str]) {
        let commands = commands(script).unwrap();
        let texts: Vec<Vec<&str>> = commands
            .iter()
            .map(|words| words.iter().map(|word| &*word.text).collect())
            .collect();
        assert_eq!(texts, [expected]);
    }
}
