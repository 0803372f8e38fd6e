//! The transcript of a failed dialogue: the step, what it waited for, and the last lines that were received. The data
//! sent by the module may contain passwords, and a server may echo them, so they are masked.

use crate::secret::MASK;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt::Write as _;

/// Number of lines that are shown. The last ones are kept.
const MOST_LINES: usize = 4;

/// Maximum length of a shown line or expression, in bytes.
pub(in crate::probers) const LONGEST_SHOWN: usize = 256;

/// Number of bytes of a line that are kept, so that masked words are found in it.
const LONGEST_KEPT: usize = 64 * 1024;

/// Words shorter than this are masked only if they stand alone.
const SHORT: usize = 4;

/// Words of common protocols. They are not secret, and a line is hard to read without them.
const PROTOCOL_WORDS: [&str; 45] = [
    "APOP",
    "AUTH",
    "AUTHENTICATE",
    "AUTHORIZATION",
    "CAPA",
    "CAPABILITY",
    "CRAM-MD5",
    "DATA",
    "EHLO",
    "EXISTS",
    "FROM",
    "GET",
    "HEAD",
    "HELLO",
    "HELO",
    "HOST",
    "HTTP/1.0",
    "HTTP/1.1",
    "INFO",
    "JOIN",
    "LIST",
    "LOGIN",
    "MAIL",
    "MODE",
    "NICK",
    "NOOP",
    "OPTIONS",
    "PASS",
    "PING",
    "PLAIN",
    "PONG",
    "POST",
    "PUT",
    "QUIT",
    "RCPT",
    "RSET",
    "SELECT",
    "SET",
    "STARTTLS",
    "STAT",
    "STATUS",
    "USER",
    "VERSION",
    "VRFY",
    "XOAUTH2",
];

/// The words that must not be shown.
#[derive(Debug, Default)]
pub(in crate::probers) struct TranscriptMasks(Vec<Vec<u8>>);

impl TranscriptMasks {
    /// Masks the words of a text, their parts, and what those parts decode to from base64.
    pub fn add(&mut self, text: &[u8]) {
        // References in a template stand for text from the server and are not masked.
        let ends_word = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || b"$\"'".contains(byte);
        for word in text.split(ends_word).filter(|word| !word.is_empty() && !is_known(word)) {
            self.add_word(word);
            self.add_base64(word);
            let parts = word.split(|byte| b"=:,;&?{}()<>[]|@".contains(byte));
            for part in parts.filter(|part| part.len() >= SHORT && !is_known(part)) {
                self.add_word(part);
                self.add_base64(part);
            }
        }
        // The longest word first, since a word may contain another one.
        self.0.sort_by_key(|word| Reverse(word.len()));
    }

    fn add_base64(&mut self, word: &[u8]) {
        for part in STANDARD
            .decode(word)
            .unwrap_or_default()
            .split(|byte| matches!(byte, 0 | 1 | b':'))
        {
            self.add_word(part);
        }
    }

    fn add_word(&mut self, word: &[u8]) {
        let has_letters = word.iter().any(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
        if has_letters && !self.0.iter().any(|other| other == word) {
            self.0.push(word.to_vec());
        }
    }

    /// The text for display: masked, in one line, and truncated.
    pub fn shown(&self, text: &[u8]) -> String {
        let (mut out, mut plain, mut at) = (String::new(), Vec::new(), 0);
        // Text after this many bytes is not shown.
        while at < text.len() && out.len() + plain.len() <= LONGEST_SHOWN {
            if let Some(length) = self.hidden_at(text, at) {
                out += &printable(&std::mem::take(&mut plain));
                out += MASK;
                at += length;
            } else {
                plain.push(text[at]);
                at += 1;
            }
        }
        out += &printable(&plain);
        let shown = &out[..out.floor_char_boundary(LONGEST_SHOWN)];
        if shown.len() < out.len() || at < text.len() {
            format!("{shown}…")
        } else {
            out
        }
    }

    /// The length of the masked word that starts at a position.
    fn hidden_at(&self, text: &[u8], at: usize) -> Option<usize> {
        let rest = &text[at..];
        let begins = |word: &&Vec<u8>| {
            let starts = rest.get(..word.len());
            starts.is_some_and(|starts| starts.eq_ignore_ascii_case(word))
                && (word.len() >= SHORT || stands_alone(text, at, word.len()))
        };
        let whole = self.0.iter().find(begins).map(Vec::len);
        // The rest of a word may not have arrived yet.
        let has_begun =
            |word: &Vec<u8>| (SHORT..word.len()).contains(&rest.len()) && word[..rest.len()].eq_ignore_ascii_case(rest);
        whole.or_else(|| self.0.iter().any(has_begun).then_some(rest.len()))
    }
}

fn is_known(word: &[u8]) -> bool {
    PROTOCOL_WORDS
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

fn stands_alone(text: &[u8], at: usize, length: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    !is_word(at.checked_sub(1).and_then(|before| text.get(before))) && !is_word(text.get(at + length))
}

/// Escapes invalid UTF-8 and terminal control characters.
fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '\\' | '"' | '\'') {
                out.push(c);
            } else {
                out.extend(c.escape_debug());
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("writing to a String cannot fail");
        }
    }
    out
}

/// The last lines that were received while a step waits.
#[derive(Debug, Default)]
pub(in crate::probers) struct ReceivedLines {
    lines: VecDeque<Vec<u8>>,
    unfinished: Vec<u8>,
}

impl ReceivedLines {
    /// Adds a complete line or message.
    pub fn line(&mut self, line: &[u8]) {
        self.unfinished.clear();
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line[..line.len().min(LONGEST_KEPT)].to_vec());
    }

    /// Replaces the text after the last complete line.
    pub fn unfinished(&mut self, bytes: &[u8]) {
        self.unfinished.clear();
        self.unfinished
            .extend_from_slice(&bytes[..bytes.len().min(LONGEST_KEPT)]);
    }

    /// The lines for display.
    pub fn shown(&self, masks: &TranscriptMasks) -> Vec<String> {
        let rest = Some(&self.unfinished).filter(|rest| !rest.is_empty());
        let lines = self.lines.iter().chain(rest);
        lines.map(|line| masks.shown(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_SHOWN, ReceivedLines, TranscriptMasks};

    fn masks(sent: &[&str]) -> TranscriptMasks {
        let mut masks = TranscriptMasks::default();
        for text in sent {
            masks.add(text.as_bytes());
        }
        masks
    }

    #[test]
    fn what_is_sent_is_masked_and_the_words_of_protocols_stay() {
        let masks = masks(&["AUTH s3cret-word", "user bob", "x y", "password=hunter2&a=b"]);
        for (line, shown) in [
            ("-NOAUTH Authentication required.", "-NOAUTH Authentication required."),
            ("-ERR s3cret-word is wrong", "-ERR <secret> is wrong"),
            ("-ERR S3CRET-WORD!", "-ERR <secret>!"),
            ("xs3cret-wordx", "x<secret>x"),
            ("no bob here, no bobsled", "no <secret> here, no bobsled"),
            ("x is not xy", "<secret> is not xy"),
            ("half of s3cret-w", "half of <secret>"),
            ("not 'hunter2'", "not '<secret>'"),
        ] {
            assert_eq!(masks.shown(line.as_bytes()), shown);
        }
    }

    #[test]
    fn base64_hides_what_it_holds() {
        // "\0bob\0hunter22" and "bob:hunter22".
        for sent in [
            "AUTH PLAIN AGJvYgBodW50ZXIyMg==",
            "Authorization: Basic Ym9iOmh1bnRlcjIy",
        ] {
            let shown = masks(&[sent]).shown(b"535 bob may not use hunter22");
            assert_eq!(shown, "535 <secret> may not use <secret>", "{sent}");
        }
    }

    #[test]
    fn a_template_hides_its_own_words_and_not_those_of_the_server() {
        let masks = masks(&["PONG ${1} s3cret"]);
        assert_eq!(masks.shown(b"PING abcdef s3cret"), "PING abcdef <secret>");
    }

    #[test]
    fn what_is_shown_is_one_printable_line_of_bounded_length() {
        let masks = masks(&["s3cret"]);
        let shown = masks.shown(b"\xff\x1b[31m\t\"h\xc3\xa4user\" a\\b");
        assert_eq!(shown, "\\xff\\u{1b}[31m\\t\"häuser\" a\\b");
        let long = masks.shown(&b"y".repeat(100_000));
        assert!(
            long.ends_with("y…") && long.len() <= LONGEST_SHOWN + 3,
            "{}",
            long.len()
        );
        // A secret at the cut is not shown in part.
        for before in 240..260 {
            let text = "y".repeat(before) + "s3cret";
            assert!(!masks.shown(text.as_bytes()).contains("s3"), "{before}");
        }
    }

    #[test]
    fn the_last_lines_are_kept_and_what_has_no_end_yet() {
        let mut received = ReceivedLines::default();
        for line in ["1", "2", "3", "4", "5"] {
            received.unfinished(b"gone");
            received.line(line.as_bytes());
        }
        received.unfinished(b"rest");
        assert_eq!(
            received.shown(&TranscriptMasks::default()),
            ["2", "3", "4", "5", "rest"]
        );
    }
}
