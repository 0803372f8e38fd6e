//! Finds a probe's secrets in a string and masks them.

use super::encodings::{self, DecodedText};
use super::{SHORTEST_PART, Secrets};
use crate::secret::MASK;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::iter;
use std::ops::Range;
use std::sync::Arc;

/// Minimum length, in bytes, of a value that is masked in strings that also contain the exporter's own words.
const LONG: usize = 8;

/// Maximum length, in bytes, of a form that is searched as a whole. Longer forms are searched in windows, which also
/// finds parts of them.
const LONGEST_WHOLE: usize = 48;

/// Length of a window and distance between windows, in bytes. Every part of at least 23 bytes contains a whole window.
const WINDOW: usize = 16;
const STRIDE: usize = 8;

/// Maximum total size, in bytes, of the cached maskers.
const MOST_KEPT: usize = 4 * 1024 * 1024;

/// Origin of a string, which determines which secrets are masked in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// A string from the target only. Every value is masked.
    Foreign,
    /// A string of the exporter that contains data from the target. Values of at least 8 bytes are masked.
    Mixed,
    /// A public string from the target that is also a label value, such as the names in a certificate. Values that were
    /// sent as secrets are masked if they have at least 8 bytes, letters and digits, and do not look like a host name.
    Public,
}

/// Finds and masks secrets in strings. `Debug` shows none of them.
pub struct SecretMasker {
    searcher: AhoCorasick,
    /// For each pattern of the searcher, the index of its form and the pattern's offset in it.
    patterns: Vec<(usize, usize)>,
    forms: Vec<SecretForm>,
}

struct SecretForm {
    bytes: Vec<u8>,
    is_certain: bool,
    /// Whether a certificate cannot contain the value legitimately, for example as a host name.
    is_rare: bool,
    /// Length of the original value, in bytes.
    value: usize,
}

impl SecretForm {
    const fn counts_in(&self, part: BodyPart) -> bool {
        match part {
            BodyPart::Foreign => true,
            BodyPart::Mixed => self.value >= LONG,
            BodyPart::Public => self.value >= LONG && self.is_certain && self.is_rare,
        }
    }
}

/// Cache of maskers. Most probes of a module send the same secrets.
static KEPT: Mutex<Option<HashMap<Secrets, Arc<SecretMasker>>>> = Mutex::new(None);

pub(super) fn of(secrets: &Secrets) -> Arc<SecretMasker> {
    let kept = || KEPT.lock();
    if let Some(masks) = kept().as_ref().and_then(|kept| kept.get(secrets)) {
        return masks.clone();
    }
    let masks = Arc::new(SecretMasker::new(secrets));
    let mut kept = kept();
    let kept = kept.get_or_insert_default();
    let size: usize = kept.values().map(|masks| masks.size()).sum();
    if size + masks.size() > MOST_KEPT {
        kept.clear();
    }
    kept.insert(secrets.clone(), masks.clone());
    masks
}

impl SecretMasker {
    fn new(secrets: &Secrets) -> Self {
        let mut forms = Vec::new();
        for value in &secrets.0 {
            forms.extend(encodings::of(&value.bytes).into_iter().map(|bytes| SecretForm {
                bytes,
                is_certain: value.is_certain,
                is_rare: is_rare(&value.bytes),
                value: value.bytes.len(),
            }));
        }
        // Values that were certainly secrets come first, because two forms may share a window.
        forms.sort_by_key(|form| !form.is_certain);
        let (mut texts, mut patterns, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        for (number, form) in forms.iter().enumerate() {
            for window in windows(form.bytes.len()) {
                let at = window.start;
                // A window that occurs in several long forms, or several times in one, becomes one pattern.
                if form.bytes.len() <= LONGEST_WHOLE || known.insert(&form.bytes[window.clone()]) {
                    texts.push(&form.bytes[window]);
                    patterns.push((number, at));
                }
            }
        }
        let built = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&texts);
        Self {
            searcher: built.expect("the number of patterns is far below the limit of the searcher"),
            patterns,
            forms,
        }
    }

    fn size(&self) -> usize {
        let forms: usize = self.forms.iter().map(|form| form.bytes.len()).sum();
        // The cache key contains the values as well.
        self.searcher.memory_usage() + 3 * forms
    }

    /// The string with its secrets masked; `None` if it contains none.
    #[must_use]
    pub fn text(&self, text: &str, part: BodyPart) -> Option<String> {
        let masked = self.bytes(text.as_bytes(), part)?;
        Some(String::from_utf8_lossy(&masked).into_owned())
    }

    /// The bytes with their secrets masked; `None` if they contain none.
    #[must_use]
    pub fn bytes(&self, text: &[u8], part: BodyPart) -> Option<Vec<u8>> {
        let found = self.found(text, part);
        (!found.is_empty()).then(|| masked(text, 0, &found))
    }

    /// Masks consecutive strings, such as lines, together, because a secret may be split across them.
    pub fn lines(&self, lines: &mut [Vec<u8>], part: BodyPart) {
        let text = lines.join(&b'\n');
        let found = self.found(&text, part);
        let mut begins = 0;
        for line in lines.iter_mut().filter(|_| !found.is_empty()) {
            let ends = begins + line.len();
            let own: Vec<_> = found
                .iter()
                .filter(|found| found.start < ends && begins < found.end)
                .map(|found| found.start.max(begins)..found.end.min(ends))
                .collect();
            if !own.is_empty() {
                *line = masked(line, begins, &own);
            }
            begins = ends + 1;
        }
    }

    /// The ranges of secrets in a string, sorted and without overlap.
    fn found(&self, text: &[u8], part: BodyPart) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for (view, is_plain) in [
            (Some(DecodedText::plain(text)), true),
            (DecodedText::decoded(text), false),
        ] {
            let Some(view) = view else { continue };
            self.search(&view, part, is_plain, &mut found);
            self.search_begun(&view, part, &mut found);
        }
        found.sort_by_key(|found| found.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for found in found {
            match apart.last_mut() {
                Some(last) if found.start <= last.end => last.end = last.end.max(found.end),
                _ => apart.push(found),
            }
        }
        apart
    }

    fn search(&self, view: &DecodedText, part: BodyPart, is_plain: bool, found: &mut Vec<Range<usize>>) {
        let mut covered = 0..0;
        for hit in self.searcher.find_overlapping_iter(&view.bytes) {
            let (number, offset) = self.patterns[hit.pattern().as_usize()];
            let form = &self.forms[number];
            if !form.counts_in(part) || (covered.start <= hit.start() && hit.end() <= covered.end) {
                continue;
            }
            let whole = extended(&view.bytes, hit.range(), &form.bytes, offset);
            let span = view.spans[whole.start].0..view.spans[whole.end - 1].1;
            // Many strings contain the letters of a short value by chance, separated by spaces.
            if is_plain && form.value < LONG && span.len() > whole.len().max(form.value) {
                continue;
            }
            covered = whole;
            found.push(span);
        }
    }

    /// Finds the start of a secret at the end of a line or of a truncated string, because the rest may be missing. At a
    /// line end without `…`, only values that were sent as secrets count.
    fn search_begun(&self, view: &DecodedText, part: BodyPart, found: &mut Vec<Range<usize>>) {
        let is_long = |form: &&SecretForm| form.value >= LONG && form.counts_in(part);
        for form in self.forms.iter().filter(is_long) {
            let longest = form.bytes.len().min(LONGEST_WHOLE);
            let line_ends = if form.is_certain { &view.line_ends[..] } else { &[] };
            for &end in line_ends.iter().chain(&view.cuts) {
                let before = &view.bytes[..end];
                let begun = (SHORTEST_PART..longest)
                    .rev()
                    .find(|count| before.ends_with(&form.bytes[..*count]));
                if let Some(count) = begun {
                    found.push(view.spans[end - count].0..view.spans[end - 1].1);
                }
            }
        }
    }
}

/// Whether a value has letters and digits and does not look like a host name. A module may send a host name as a
/// secret, for example in `X-Forwarded-Host`.
fn is_rare(value: &[u8]) -> bool {
    let of_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:".contains(byte);
    let is_name = value.contains(&b'.') && value.iter().all(of_name);
    value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic) && !is_name
}

/// The ranges of a form that become patterns.
fn windows(length: usize) -> Vec<Range<usize>> {
    if length <= LONGEST_WHOLE {
        return iter::once(0..length).collect();
    }
    let last = length - WINDOW;
    (0..last)
        .step_by(STRIDE)
        .chain([last])
        .map(|at| at..at + WINDOW)
        .collect()
}

/// Extends a hit as far as the string and the form are equal before and after it.
fn extended(text: &[u8], hit: Range<usize>, form: &[u8], offset: usize) -> Range<usize> {
    let before = text[..hit.start].iter().rev().zip(form[..offset].iter().rev());
    let after = text[hit.end..].iter().zip(&form[offset + hit.len()..]);
    let start = hit.start - before.take_while(|(one, other)| one == other).count();
    start..hit.end + after.take_while(|(one, other)| one == other).count()
}

/// A string that begins at the offset `begins`, with the mask in place of the found ranges.
fn masked(text: &[u8], begins: usize, found: &[Range<usize>]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for found in found {
        out.extend_from_slice(&text[at..found.start - begins]);
        out.extend_from_slice(MASK.as_bytes());
        at = found.end - begins;
    }
    out.extend_from_slice(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::{BodyPart, SecretMasker};
    use crate::secrets::Secrets;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use std::fmt::Write as _;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn masks(secrets: &[&str]) -> Arc<SecretMasker> {
        let mut set = Secrets::default();
        for secret in secrets {
            set.add(secret.as_bytes());
        }
        set.masks().unwrap()
    }

    fn shown(secret: &str, text: &str) -> String {
        masks(&[secret])
            .text(text, BodyPart::Foreign)
            .unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn a_secret_is_masked_in_each_of_its_forms() {
        let secret = "Canary/42 42~x";
        let wrapped = STANDARD
            .encode(format!("user:{secret}"))
            .replace("NhbmFye", "NhbmFy\r\n e");
        for text in [
            secret.to_owned(),
            secret.to_uppercase(),
            "Canary%2F42%2042~x".to_owned(),
            "Canary%252F42%252042%257Ex".to_owned(),
            "Canary/42+42~x".to_owned(),
            r"Canary\/42\u002042~x".to_owned(),
            "Canary&#47;42&#x20;42~x".to_owned(),
            "Canary/42\r\n\t42~x".to_owned(),
            "C anary/4 24 2~x".to_owned(),
            "43616e6172792f34322034327e78".to_owned(),
            "43616E6172792F34322034327E78".to_owned(),
            r"\x43\x61\x6e\x61\x72\x79\x2f\x34\x32 \x34\x32\x7e\x78".to_owned(),
            STANDARD.encode(secret),
            STANDARD.encode(format!("a{secret}")),
            STANDARD.encode(format!("ab{secret}c")),
            URL_SAFE_NO_PAD.encode(format!("abc{secret}??>")),
            STANDARD.encode(secret).replace('=', "%3D"),
            wrapped,
        ] {
            let shown = shown(secret, &format!("say {text}, please"));
            assert!(shown.starts_with("say ") && shown.ends_with(", please"), "{shown}");
            assert!(shown.contains("<secret>"), "{text}: {shown}");
            assert!(
                !shown.contains("anary") && !shown.contains("YW5hcnk"),
                "{text}: {shown}"
            );
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in ["nginx/1.25", "canar", "Canary birds", "4242", "error 42/42", ""] {
            assert_eq!(shown("Canary4242", text), text);
        }
        // The exporter's own words stay, even if they equal a short secret.
        let masks = masks(&["ends", "certificate"]);
        assert_eq!(masks.text("It ends.", BodyPart::Mixed), None);
        assert_eq!(masks.text("It ends.", BodyPart::Foreign).unwrap(), "It <secret>.");
        // The letters of a short secret do not match across spaces.
        assert_eq!(masks.text("men, dsl and e n d s", BodyPart::Foreign), None);
    }

    #[test]
    fn what_may_be_a_secret_stays_in_what_everybody_sees() {
        let mut set = Secrets::default();
        set.add_body(b"{\"host\": \"shop.example.org\"}");
        let possible = set.masks().unwrap();
        assert_eq!(possible.text("CN=shop.example.org", BodyPart::Public), None);
        assert_eq!(possible.text("shop.example.org", BodyPart::Mixed).unwrap(), "<secret>");
        let certain = masks(&["shop7.example.org", "Example Company", "Canary4242"]);
        assert_eq!(
            certain.text("CN=shop7.example.org,O=Example Company", BodyPart::Public),
            None
        );
        assert_eq!(certain.text("CN=Canary4242", BodyPart::Public).unwrap(), "CN=<secret>");
    }

    #[test]
    fn of_a_long_secret_parts_are_masked_too() {
        let mut secret = String::new();
        for number in 0..100 {
            write!(secret, "{number:03}.").unwrap();
        }
        for (from, to) in [(0, 30), (5, 40), (50, 390), (100, 123), (377, 400), (0, 400)] {
            let text = format!("<{}>", &secret[from..to]);
            assert_eq!(shown(&secret, &text), "<<secret>>", "{from} to {to}");
        }
    }

    #[test]
    fn the_begin_of_a_secret_is_masked_where_a_text_ends_in_it() {
        assert_eq!(shown("Canary4242", "bad key Canary4"), "bad key <secret>");
        assert_eq!(shown("Canary4242", "bad key Canar"), "bad key Canar");
        assert_eq!(shown("Canary4242", "bad key Canary4 here"), "bad key Canary4 here");
        assert_eq!(shown("Canary4242", "bad key Canary4\nnext"), "bad key <secret>\nnext");
        assert_eq!(
            shown("Canary4242", "bad key \"Canary4…\" here"),
            "bad key \"<secret>…\" here"
        );
    }

    #[test]
    fn a_secret_that_is_split_over_lines_is_masked_in_each() {
        let mut lines = ["500 say Cana", "ry42", "42 again", "and more"].map(|line| line.as_bytes().to_vec());
        masks(&["Canary4242"]).lines(&mut lines, BodyPart::Foreign);
        let lines = lines.map(|line| String::from_utf8(line).unwrap());
        assert_eq!(lines, ["500 say <secret>", "<secret>", "<secret> again", "and more"]);
    }

    #[test]
    fn a_hostile_text_takes_little_time() {
        let long = masks(&[&"a".repeat(4096), &"ab".repeat(2000), "aaaaaaaa"]);
        let text = "a".repeat(256 * 1024);
        let begun = Instant::now();
        for part in [BodyPart::Foreign, BodyPart::Mixed] {
            assert_eq!(long.text(&text, part).unwrap(), "<secret>");
        }
        // A quadratic search would take minutes on any machine.
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }

    proptest! {
        #[test]
        fn a_secret_in_any_text_is_masked(
            secret in "[ -~]{8,60}",
            before in "[ -~]{0,20}",
            after in "[ -~]{0,20}",
        ) {
            prop_assume!(secret.trim().bytes().filter(|byte| *byte > b' ').count() >= 8);
            let secret = secret.trim();
            let shown = shown(secret, &format!("{before}{secret}{after}"));
            prop_assert!(!shown.contains(secret) || "<secret>".contains(secret), "{}", shown);
        }

        #[test]
        fn no_bytes_break_it(
            secret in prop::collection::vec(any::<u8>(), 4..100),
            text in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut set = Secrets::default();
            set.add(&secret);
            if let Some(masks) = set.masks() {
                let _ = masks.bytes(&text, BodyPart::Foreign);
                let _ = masks.bytes(&[&text[..], &secret, &text].concat(), BodyPart::Mixed);
                let mut lines = [text.clone(), secret, text];
                masks.lines(&mut lines, BodyPart::Foreign);
            }
        }
    }
}
