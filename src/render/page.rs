//! Pages of checks, remedies and reasons on a terminal: their paragraphs in lines of its width.

use super::filled;
use super::screen::Screen;

/// A page, which is Markdown of our own. Tables and code stay as they are, as does all of it where there is no width.
pub(crate) fn page(markdown: &str) -> String {
    match Screen::current().columns {
        Some(columns) => laid_out(markdown, columns),
        None => markdown.to_owned(),
    }
}

fn laid_out(markdown: &str, columns: usize) -> String {
    let mut text = String::new();
    let mut paragraph = String::new();
    let mut in_code = false;
    for line in markdown.lines() {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        let whole = in_code || fence || line.is_empty() || line.starts_with(['|', '#', '>', '<']);
        if whole || item(line) > 0 {
            text += &ended(&mut paragraph, columns);
        }
        if whole {
            text = text + line + "\n";
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            // The margin of what an item says in its second line is made anew.
            paragraph += if paragraph.is_empty() {
                line
            } else {
                line.trim_start()
            };
        }
    }
    text + &ended(&mut paragraph, columns)
}

/// The paragraph in lines, of which nothing is left.
fn ended(paragraph: &mut String, columns: usize) -> String {
    let said = std::mem::take(paragraph);
    if said.is_empty() {
        return said;
    }
    let (first, rest) = said.split_at(item(&said));
    let margin = " ".repeat(first.len());
    filled(rest, first, &margin, columns) + "\n"
}

/// How many bytes of a line begin an item of a list: `- ` or `2. `, with what is before it.
fn item(line: &str) -> usize {
    let text = line.trim_start();
    let lead = line.len() - text.len();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let after = text.get(digits..).unwrap_or_default();
    match digits {
        0 if text.starts_with("- ") => lead + 2,
        1.. if after.starts_with(". ") => lead + digits + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_fill_the_lines_and_all_else_stays() {
        let page = "# A head that is longer than the line is\n\nOne two three four\nfive six.\n\n- an item of a list\n  and its \
                    rest\n1. another one, longer\n\n| a table that is | wider than that |\n\n```\ncode that is longer than it\n```\n";
        let expected = "# A head that is longer than the line is\n\nOne two three four\nfive six.\n\n- an item of a list\n  and its \
                        rest\n1. another one,\n   longer\n\n| a table that is | wider than that |\n\n```\ncode that is longer than it\n```\n";
        assert_eq!(laid_out(page, 19), expected);
        assert!(laid_out(page, 60).contains("One two three four five six.\n"));
    }
}
