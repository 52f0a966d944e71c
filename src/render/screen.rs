//! Where an answer is shown: how wide it is, and whether in colour.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;
use comfy_table::Table;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that takes it; `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` are respected.
    #[default]
    Auto,
    /// Also in pipes and files.
    Always,
    /// Nowhere.
    Never,
}

/// What an answer is laid out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Columns; `None` in a pipe or file whose width is not set.
    pub(crate) columns: Option<usize>,
    /// Whether words are coloured.
    pub(crate) colour: bool,
}

/// Columns of a page where their number is not known: they fit into half of a usual screen.
const USUAL: usize = 100;

/// Columns below which nothing is laid out: pseudo terminals of CI systems say that they have 0.
const FEWEST: usize = 40;

static SCREEN: OnceLock<Screen> = OnceLock::new();

/// What was asked for.
static COLOR: OnceLock<Color> = OnceLock::new();

impl Screen {
    /// One on which no sentence needs two lines.
    #[cfg(test)]
    pub(crate) const ENDLESS: Self = Self {
        columns: Some(usize::MAX / 2),
        colour: false,
    };

    /// Says when to use colour, once, before anything is shown.
    pub(crate) fn choose(color: Color) {
        COLOR.get_or_init(|| color);
        SCREEN.get_or_init(|| Self::standard_output(color));
    }

    /// Standard output.
    pub(crate) fn current() -> Self {
        *SCREEN.get_or_init(|| Self::standard_output(Color::Auto))
    }

    fn standard_output(color: Color) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let size = Table::new().width().map(usize::from);
        Self::of(terminal.then_some(size).flatten(), terminal, color, &|name| {
            env::var_os(name)
        })
    }

    /// Columns of help, which is shown before it is known whether to colour: clap would take 0 of them for what they are.
    pub(crate) fn columns_of_help() -> usize {
        Self::standard_output(Color::Never).page()
    }

    /// Columns of standard error; `None` in a pipe or file whose width is not set.
    pub(crate) fn columns_of_errors() -> Option<usize> {
        let terminal = std::io::stderr().is_terminal();
        let mut table = Table::new();
        table.use_stderr();
        let size = terminal.then(|| table.width().map(usize::from)).flatten();
        Self::of(size, terminal, Color::Never, &|name| env::var_os(name)).columns
    }

    /// Whether the log, on standard error, takes colour.
    pub(crate) fn log_takes_colour() -> bool {
        let terminal = std::io::stderr().is_terminal();
        Self::of(None, terminal, *COLOR.get_or_init(Color::default), &|name| {
            env::var_os(name)
        })
        .colour
    }

    /// A screen, by the width of the terminal, whether it is one, and the environment.
    fn of(size: Option<usize>, terminal: bool, color: Color, env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let columns = env("COLUMNS").and_then(|text| text.to_str()?.parse().ok());
        let wide_enough = |columns: &usize| *columns >= FEWEST;
        let known = columns.filter(wide_enough).or(size.filter(wide_enough));
        let set = |name| env(name).filter(|value| !value.is_empty());
        let on = |name| set(name).map(|value| value != "0");
        // As `anstream` has it, which colours what clap prints.
        let automatic = if set("NO_COLOR").is_some() {
            false
        } else if on("CLICOLOR_FORCE") == Some(true) {
            true
        } else {
            terminal && on("CLICOLOR") != Some(false) && set("TERM").is_none_or(|term| term != "dumb")
        };
        Self {
            columns: known.or(terminal.then_some(USUAL)),
            colour: match color {
                Color::Auto => automatic,
                Color::Always => true,
                Color::Never => false,
            },
        }
    }

    /// Columns of a page of sentences, which has some width everywhere.
    pub(crate) fn page(self) -> usize {
        self.columns.unwrap_or(USUAL)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::pipe(None, false, &[], None)]
    #[case::terminal(Some(133), true, &[], Some(133))]
    #[case::no_columns(Some(0), true, &[], Some(100))]
    #[case::said(Some(133), true, &[("COLUMNS", "80")], Some(80))]
    #[case::said_of_a_pipe(None, false, &[("COLUMNS", "200")], Some(200))]
    #[case::nonsense(Some(133), true, &[("COLUMNS", "0")], Some(133))]
    #[case::no_number(None, false, &[("COLUMNS", "wide")], None)]
    fn columns(
        #[case] size: Option<usize>,
        #[case] terminal: bool,
        #[case] env: &[(&str, &str)],
        #[case] expected: Option<usize>,
    ) {
        let found = |name: &str| env.iter().find(|one| one.0 == name).map(|one| one.1.into());
        assert_eq!(Screen::of(size, terminal, Color::Auto, &found).columns, expected);
    }

    #[rstest]
    #[case::terminal(true, Color::Auto, &[], true)]
    #[case::pipe(false, Color::Auto, &[], false)]
    #[case::asked_for(false, Color::Always, &[("NO_COLOR", "1")], true)]
    #[case::refused(true, Color::Never, &[("CLICOLOR_FORCE", "1")], false)]
    #[case::no_color(true, Color::Auto, &[("NO_COLOR", "1")], false)]
    #[case::no_color_is_empty(true, Color::Auto, &[("NO_COLOR", "")], true)]
    #[case::forced(false, Color::Auto, &[("CLICOLOR_FORCE", "1")], true)]
    #[case::not_forced(false, Color::Auto, &[("CLICOLOR_FORCE", "0")], false)]
    #[case::off(true, Color::Auto, &[("CLICOLOR", "0")], false)]
    #[case::dumb(true, Color::Auto, &[("TERM", "dumb")], false)]
    fn colours(
        #[case] terminal: bool,
        #[case] color: Color,
        #[case] env: &[(&str, &str)],
        #[case] expected: bool,
    ) {
        let found = |name: &str| env.iter().find(|one| one.0 == name).map(|one| one.1.into());
        assert_eq!(Screen::of(None, terminal, color, &found).colour, expected);
    }
}
