//! Decides which parts of a body or dialogue may be secrets.

use serde_json::Value;
use url::form_urlencoded;

/// Maximum number of bytes of a body that is searched.
const LONGEST_BODY: usize = 64 * 1024;

/// Commands and keys that precede a secret, in lower case.
const BEFORE_SECRETS: [&str; 28] = [
    "apikey",
    "apop",
    "auth",
    "authenticate",
    "authorization",
    "basic",
    "bearer",
    "code",
    "credential",
    "credentials",
    "digest",
    "identify",
    "key",
    "login",
    "negotiate",
    "oper",
    "pass",
    "password",
    "passwd",
    "plain",
    "pwd",
    "secret",
    "session",
    "sessionid",
    "sig",
    "signature",
    "token",
    "xoauth2",
];

/// Minimum length, in bytes, of a word that looks like a secret because it has letters and digits.
const SHORTEST_MIXED: usize = 8;

/// Adds the values of a JSON document or a form, otherwise the words of a body.
pub(super) fn of_body(body: &[u8], add: &mut impl FnMut(&[u8])) {
    let body = &body[..body.len().min(LONGEST_BODY)];
    if let Ok(document @ (Value::Object(_) | Value::Array(_) | Value::String(_))) = serde_json::from_slice(body) {
        return of_json(&document, add);
    }
    let is_form = body.contains(&b'=') && !body.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b'<');
    if is_form {
        for (_, value) in url::form_urlencoded::parse(body) {
            add(value.as_bytes());
        }
        return;
    }
    let separates = |byte: &u8| byte.is_ascii_whitespace() || b"<>,;\"'=&(){}[]".contains(byte);
    body.split(separates).for_each(add);
}

/// Adds the values of a query whose name indicates a secret, and values that look like one. A parameter without a value
/// may itself be a key.
pub(super) fn of_query(query: &[u8], add: &mut impl FnMut(&[u8])) {
    let mut add_pair = |name: &str, value: &str| {
        if value.is_empty() {
            add(name.as_bytes());
        } else if announces(name.as_bytes()) || looks_like_a_secret(value.as_bytes()) {
            add(value.as_bytes());
        }
    };
    for (name, value) in form_urlencoded::parse(query) {
        add_pair(&name, &value);
        // A value may be a URL, such as the destination after a login.
        let inner = Some(&*value).filter(|value| value.contains("://"));
        if let Some((_, inner)) = inner.and_then(|inner| inner.split_once('?')) {
            for (name, value) in form_urlencoded::parse(inner.as_bytes()) {
                add_pair(&name, &value);
            }
        }
    }
}

/// Adds all strings of a document. The JSON parser limits its nesting.
pub(super) fn of_json(value: &Value, add: &mut impl FnMut(&[u8])) {
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) => add(text.as_bytes()),
            Value::Array(values) => left.extend(values),
            Value::Object(fields) => left.extend(fields.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Adds the secrets of a dialogue. In each line, these are all words after an authentication command, and all words
/// with letters and digits, because names and commands rarely have both.
pub(super) fn of_dialogue(sent: &[u8], add: &mut impl FnMut(&[u8])) {
    for line in sent.split(|byte| matches!(byte, b'\r' | b'\n')) {
        let mut follows = false;
        for word in line.split(|byte| byte.is_ascii_whitespace() || b":=\"',;".contains(byte)) {
            let word = without_template(word);
            if word.is_empty() {
                continue;
            }
            if announces(word) {
                follows = true;
            } else if follows || looks_like_a_secret(word) {
                add(word);
                of_base64(word, add);
            }
        }
    }
}

/// The word up to a template reference. The reference inserts data from the server, which is not one of the module's
/// secrets.
fn without_template(word: &[u8]) -> &[u8] {
    word.split(|byte| *byte == b'$').next().unwrap_or_default()
}

fn announces(word: &[u8]) -> bool {
    let lower = word.to_ascii_lowercase();
    let last = lower.rsplit(|byte| b"-_.".contains(byte)).next().unwrap_or_default();
    BEFORE_SECRETS.iter().any(|known| last == known.as_bytes())
}

fn looks_like_a_secret(word: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/_-".contains(byte);
    word.len() >= SHORTEST_MIXED
        && word.iter().all(is_plain)
        && word.iter().any(u8::is_ascii_digit)
        && word.iter().any(u8::is_ascii_alphabetic)
}

/// Adds the decoded parts of a base64 word. With `AUTH PLAIN`, these are a user and a password after zero bytes.
fn of_base64(word: &[u8], add: &mut impl FnMut(&[u8])) {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(word)
        .unwrap_or_default();
    if decoded
        .iter()
        .all(|byte| matches!(byte, 0 | 1) || (b' '..=b'~').contains(byte))
    {
        let parts = decoded.split(|byte| matches!(byte, 0 | 1 | b':'));
        parts.filter(|part| !part.is_empty()).for_each(add);
    }
}

#[cfg(test)]
mod tests {
    use super::{of_body, of_dialogue};

    fn body(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        of_body(text.as_bytes(), &mut |part| {
            found.push(String::from_utf8_lossy(part).into_owned());
        });
        found.retain(|part| !part.is_empty());
        found.sort();
        found
    }

    fn dialogue(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        of_dialogue(text.as_bytes(), &mut |part| {
            found.push(String::from_utf8_lossy(part).into_owned());
        });
        found
    }

    #[test]
    fn a_body_is_taken_apart_by_what_it_is() {
        let json = r#"{"user": "bob", "login": {"password": ["hunter2", 7, true]}}"#;
        assert_eq!(body(json), ["bob", "hunter2"]);
        assert_eq!(body("user=bob&password=hunter%202"), ["bob", "hunter 2"]);
        assert_eq!(
            body("<login><p>hunter2</p></login>"),
            ["/login", "/p", "hunter2", "login", "p"]
        );
    }

    #[test]
    fn of_a_query_what_looks_like_a_secret_is_taken() {
        let query = |text: &str| {
            let mut found = Vec::new();
            super::of_query(text.as_bytes(), &mut |part| {
                found.push(String::from_utf8_lossy(part).into_owned());
            });
            found
        };
        assert_eq!(query("page=status&lang=english&next=/login/of/the/shop"), [""; 0]);
        assert_eq!(query("api_key=hunter&q=4f2a99c1d0"), ["hunter", "4f2a99c1d0"]);
        assert_eq!(query("hunter"), ["hunter"]);
        assert_eq!(query("next=https%3A%2F%2Fb.test%2Fin%3Ftoken%3Dhunter"), ["hunter"]);
    }

    #[test]
    fn of_a_dialogue_the_words_of_authentication_are_secret() {
        for (sent, found) in [
            ("PASS hunter", &["hunter"][..]),
            ("LOGIN bob hunter", &["bob", "hunter"]),
            ("USER bob\r\nPASS hunter\r\nNICK prober", &["hunter"]),
            ("X-Api-Key: hunter", &["hunter"]),
            ("EHLO prober.example.org", &[]),
            ("GET / HTTP/1.1", &[]),
            ("PONG ${1}", &[]),
            ("Canary4242", &["Canary4242"]),
            // "\0bob\0hunter22"
            (
                "AUTH PLAIN AGJvYgBodW50ZXIyMg==",
                &["AGJvYgBodW50ZXIyMg", "bob", "hunter22"],
            ),
        ] {
            assert_eq!(dialogue(sent), found, "{sent}");
        }
    }
}
