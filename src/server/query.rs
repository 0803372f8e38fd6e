//! Parses the query of a URL like Go's `url.ParseQuery`.

/// Query of a URL. The first value of a name wins. As in Go, a pair with a semicolon or an invalid percent-encoding is
/// ignored.
#[derive(Debug)]
pub(super) struct Query(Vec<(Vec<u8>, Value)>);

#[derive(Debug)]
struct Value {
    bytes: Vec<u8>,
    text: String,
}

impl Query {
    pub fn new(raw: Option<&str>) -> Self {
        let pairs = raw.unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty() && !pair.contains(';'));
        let read = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bytes = decoded(value)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some((decoded(name)?, Value { bytes, text }))
        };
        Self(pairs.filter_map(read).collect())
    }

    /// Returns a value as text. Invalid UTF-8 is replaced by U+FFFD.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.value(name).map(|value| value.text.as_str())
    }

    /// Returns the decoded bytes of a value.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.value(name).map(|value| value.bytes.as_slice())
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value)
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = after.split_first_chunk::<2>()?;
                rest = after;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn the_first_value_counts() {
        let query = Query::new(Some("target=a%20b&target=c&debug"));
        assert_eq!(query.get("target"), Some("a b"));
        assert_eq!(query.get("debug"), Some(""));
        assert_eq!(query.get("module"), None);
        assert_eq!(Query::new(None).get("target"), None);
    }

    /// The expected values are those of `blackbox_exporter` 0.28.
    #[test]
    fn pairs_that_go_ignores_are_ignored() {
        for (raw, target) in [
            ("target=a+b%2bc", Some(&b"a b+c"[..])),
            ("&&t%61rget=a&", Some(b"a")),
            ("target=a=b", Some(b"a=b")),
            ("target=%ff%C3%bc", Some(b"\xff\xc3\xbc")),
            ("target=", Some(b"")),
            ("target", Some(b"")),
            ("x=%zz&a;b&target=a", Some(b"a")),
            ("target=a%zz&target=b", Some(b"b")),
            ("target=a;b", None),
            ("target=a%", None),
            ("target=a%2", None),
            ("TARGET=a", None),
        ] {
            assert_eq!(Query::new(Some(raw)).bytes("target"), target, "{raw}");
        }
        assert_eq!(Query::new(Some("target=a%ffb")).get("target"), Some("a\u{fffd}b"));
    }
}
