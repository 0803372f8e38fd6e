//! Domain names in zone file notation (RFC 1035 section 5.1), read and written like the DNS library of
//! `blackbox_exporter`.

use hickory_proto::rr::Name;
use std::fmt::Write as _;

/// Maximum length of a label in bytes.
const LONGEST_LABEL: usize = 63;

/// Maximum length of a name on the wire in bytes (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;

/// Characters that are escaped with a backslash, since they would end a token or a label.
const ESCAPED: &[u8] = b". '@;()\"\\";

/// A name as text, with a final dot.
pub(super) fn text<'a>(labels: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for label in labels {
        for byte in label {
            if ESCAPED.contains(byte) {
                text.push('\\');
                text.push(char::from(*byte));
            } else {
                put_byte(&mut text, *byte);
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Adds a byte, in decimal if it is not printable.
pub(super) fn put_byte(text: &mut String, byte: u8) {
    match byte {
        b' '..=b'~' => text.push(char::from(byte)),
        _ => write!(text, "\\{byte:03}").expect("writing to a String cannot fail"),
    }
}

/// Parses the queried name. The final dot is optional. All byte values are valid, since DNS names are not limited to
/// host names (RFC 2181 section 11). `\DDD` is a byte in decimal, and a backslash before any other byte stands for that
/// byte.
///
/// # Errors
/// Fails if the name cannot be encoded on the wire.
pub fn read_name(written: &str) -> Result<Name, String> {
    if written == "." {
        return Ok(Name::root());
    }
    let (mut labels, mut label) = (Vec::new(), Vec::new());
    let mut bytes = written.bytes();
    let mut has_ended = false;
    while let Some(byte) = bytes.next() {
        has_ended = false;
        match byte {
            b'\\' => label.push(escape(&mut bytes)?),
            b'.' => {
                labels.push(std::mem::take(&mut label));
                has_ended = true;
            }
            byte => label.push(byte),
        }
    }
    if !has_ended {
        labels.push(label);
    }
    if labels.iter().any(Vec::is_empty) {
        return Err("it contains an empty label".to_owned());
    }
    if labels.iter().any(|label| label.len() > LONGEST_LABEL) {
        return Err(format!("it contains a label longer than {LONGEST_LABEL} bytes"));
    }
    let on_the_wire = labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
    let too_long = || format!("it is longer than {LONGEST_NAME} bytes");
    if on_the_wire > LONGEST_NAME {
        return Err(too_long());
    }
    let mut name = Name::from_labels(labels).map_err(|_| too_long())?;
    name.set_fqdn(true);
    Ok(name)
}

/// The byte that an escape sequence after a backslash stands for.
fn escape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, String> {
    let digits: Option<Vec<u8>> = bytes
        .clone()
        .take(3)
        .map(|byte| byte.is_ascii_digit().then(|| byte - b'0'))
        .collect();
    if let Some([hundreds, tens, ones]) = digits.as_deref() {
        bytes.nth(2);
        let number = u16::from(*hundreds) * 100 + u16::from(*tens) * 10 + u16::from(*ones);
        // Go's library wraps at one byte: `\256` is the byte 0.
        return Ok(u8::try_from(number % 256).unwrap_or_default());
    }
    bytes
        .next()
        .ok_or_else(|| "it ends with an incomplete escape".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{read_name, text};

    fn labels(written: &str) -> Vec<Vec<u8>> {
        read_name(written).unwrap().iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn names_that_are_no_host_names_are_read() {
        for (written, first) in [
            ("0/25.2.0.192.in-addr.arpa", &b"0/25"[..]),
            ("My\\ Printer._ipp._tcp.example.org", b"My Printer"),
            ("My Printer._ipp._tcp.example.org.", b"My Printer"),
            ("-a.example.org", b"-a"),
            ("_sip._udp.example.org", b"_sip"),
            ("a\\.b.example.org", b"a.b"),
            ("a\\255b.test", b"a\xffb"),
            ("a\\046b.test", b"a.b"),
            ("b\u{fc}cher.test", "b\u{fc}cher".as_bytes()),
            ("*.test", b"*"),
            ("UPPER.test", b"UPPER"),
            ("a\\1b", b"a1b"),
            ("a\\256b", b"a\0b"),
        ] {
            assert_eq!(labels(written)[0], first, "{written}");
        }
        assert!(read_name(".").unwrap().is_root());
        assert_eq!(labels("a.b."), labels("a.b"));
        assert!(read_name("a.b").unwrap().is_fqdn());
    }

    #[test]
    fn what_no_message_can_hold_is_refused() {
        let long = format!("{}.test", "a".repeat(64));
        let longer = vec!["a".repeat(49); 6].join(".");
        for written in ["a..b", ".a", "..", "a\\", &long, &longer] {
            assert!(read_name(written).is_err(), "{written}");
        }
    }

    #[test]
    fn bytes_are_written_in_decimal() {
        let written = |labels: &[&[u8]]| text(labels.iter().copied());
        assert_eq!(written(&[b"a\xffb", b"test"]), "a\\255b.test.");
        assert_eq!(written(&["b\u{fc}".as_bytes(), b"test"]), "b\\195\\188.test.");
        assert_eq!(written(&[b"My Printer"]), "My\\ Printer.");
        assert_eq!(written(&[b"a.b;(c)\"\\@'"]), "a\\.b\\;\\(c\\)\\\"\\\\\\@\\'.");
        assert_eq!(written(&[b"_a-*/\x00\x7f"]), "_a-*/\\000\\127.");
        assert_eq!(written(&[]), ".");
    }
}
