//! The header field `Host` as Go writes it.

/// Returns the value of `Host` for a host and port, byte for byte as Go sends it: non-ASCII labels in Punycode, and no
/// zone. Returns an empty string if the host contains a byte that is not allowed in the field.
#[must_use]
pub fn host_header(written: &str) -> String {
    let mut host = if written.is_ascii() {
        written.to_owned()
    } else {
        let (name, port) = written.rsplit_once(':').unwrap_or((written, ""));
        let (name, port) = if name.contains(':') {
            (written, "")
        } else {
            (name, port)
        };
        let name = name.split('.').map(punycode).collect::<Vec<_>>().join(".");
        if port.is_empty() {
            name
        } else {
            format!("{name}:{port}")
        }
    };
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"!$%&()*+,-.:;='[]_~".contains(&byte);
    if !host.bytes().all(may_stand) {
        return String::new();
    }
    // A zone is only meaningful on the local machine (RFC 6874 section 1).
    if host.starts_with('[')
        && let Some(end) = host.rfind(']')
        && let Some(zone) = host[..end].rfind('%')
    {
        host.replace_range(zone..end, "");
    }
    host
}

/// Encodes a label without Unicode mapping, as Go does for `Host`.
fn punycode(label: &str) -> String {
    let encoded = || idna::punycode::encode_str(label).map(|encoded| format!("xn--{encoded}"));
    if label.is_ascii() {
        label.to_owned()
    } else {
        encoded().unwrap_or_else(|| label.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::host_header;

    /// The expected values are those that `blackbox_exporter` 0.28 sends as `Host`.
    #[test]
    fn a_host_header_is_gos() {
        for (written, sent) in [
            ("a.test:8x", "a.test:8x"),
            ("b\u{fc}cher.test", "xn--bcher-kva.test"),
            ("B\u{dc}CHER.test:81", "xn--BCHER-2pa.test:81"),
            ("b\u{fc}cher.test:8x", "xn--bcher-kva.test:8x"),
            ("\u{df}.test", "xn--zca.test"),
            ("\u{c4}\u{d6}\u{3002}test", "xn--test-zja2i4559a"),
            ("\u{fc}:\u{fc}", ""),
            ("a b", ""),
            (" a ", ""),
            ("a/b", ""),
            ("a@b", ""),
            ("a<b", ""),
            ("a%41b", "a%41b"),
            ("::1", "::1"),
            ("[::1%eth0]", "[::1]"),
            ("[::1%25eth0]:80", "[::1]:80"),
            ("xn--zz.test", "xn--zz.test"),
        ] {
            assert_eq!(host_header(written), sent, "{written}");
        }
    }
}
