//! The width and the character set of the terminal, and text that fits both.

use std::borrow::Cow;
use textwrap::Options;

/// Indentation of the continuation of a wrapped line.
const INDENT: &str = "  ";

/// Smallest width that is respected. Narrower text is not readable.
const LEAST_COLUMNS: usize = 40;

/// What the environment states about the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// Number of columns; `None` if the output is not a terminal and `COLUMNS` is not set. Lines are then not wrapped.
    columns: Option<usize>,
    /// Whether the locale uses UTF-8.
    is_utf8: bool,
}

impl Terminal {
    /// Reads `COLUMNS` or the size of the terminal, and `LC_ALL`, `LC_CTYPE` or `LANG`.
    pub fn of_stdout() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let set = variable("COLUMNS").and_then(|columns| columns.parse().ok());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        Self {
            columns: set.or_else(|| Some(terminal_size::terminal_size()?.0.0.into())),
            is_utf8: locale.is_some_and(|locale| is_utf8(&locale)),
        }
    }

    /// Number of columns, if they are known.
    pub fn columns(self) -> Option<usize> {
        self.columns.map(|columns| columns.max(LEAST_COLUMNS))
    }

    /// Wraps lines that are too long, and replaces characters that the locale does not have.
    pub fn fit(self, text: &str) -> String {
        let text = match self.columns() {
            Some(columns) => Cow::Owned(wrapped(text, columns)),
            None => Cow::Borrowed(text),
        };
        if self.is_utf8 { text.into_owned() } else { ascii(&text) }
    }
}

/// Whether the name of a locale has the suffix of UTF-8, such as `en_US.UTF-8` or `C.utf8`.
fn is_utf8(locale: &str) -> bool {
    let charset = locale.split('.').nth(1).unwrap_or_default();
    let charset = charset.split('@').next().unwrap_or_default();
    charset.eq_ignore_ascii_case("UTF-8") || charset.eq_ignore_ascii_case("UTF8")
}

fn wrapped(text: &str, columns: usize) -> String {
    let options = || Options::new(columns).subsequent_indent(INDENT).break_words(false);
    text.split_inclusive('\n')
        .map(|line| textwrap::fill(line, options()))
        .collect()
}

fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '█' => out.push('#'),
            '…' => out.push_str("..."),
            'µ' => out.push('u'),
            _ if letter.is_ascii() => out.push(letter),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Terminal, is_utf8};

    #[test]
    fn only_locales_with_utf_8_get_its_characters() {
        for (locale, expected) in [
            ("en_US.UTF-8", true),
            ("C.utf8", true),
            ("de_DE.UTF-8@euro", true),
            ("C", false),
            ("POSIX", false),
            ("en_US.ISO-8859-1", false),
            ("UTF-8", false),
        ] {
            assert_eq!(is_utf8(locale), expected, "{locale}");
        }
    }

    #[test]
    fn lines_are_wrapped_at_spaces_and_colours_have_no_width() {
        let terminal = Terminal {
            columns: Some(40),
            is_utf8: false,
        };
        let text = "\u{1b}[31mFAILED\u{1b}[0m in 3 ms: the response of https://shop.example/a/very/long/path broke off…\nshort\n";
        assert_eq!(
            terminal.fit(text),
            "\u{1b}[31mFAILED\u{1b}[0m in 3 ms: the response of\n  https://shop.example/a/very/long/path\n  broke off...\nshort\n"
        );
        let unknown = Terminal {
            columns: None,
            is_utf8: true,
        };
        assert_eq!(unknown.fit(text), text);
    }
}
