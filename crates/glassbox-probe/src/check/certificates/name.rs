//! A distinguished name in the format of Go's `pkix.Name.String`, which `blackbox_exporter` uses in its labels.
//!
//! Go reads the attributes into fields and writes the fields in a fixed order, so the text does not preserve the order
//! in the certificate. Several values of one known type share one part, joined by `+`. For `CN` and `SERIALNUMBER`, the
//! last value counts. All other types follow at the end, each as a separate part.

use super::hex;
use std::borrow::Cow;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{AttributeTypeAndValue, X509Name};

/// The known types, in output order.
const KNOWN: [(&str, &str); 9] = [
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.11", "OU"),
    ("2.5.4.10", "O"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.6", "C"),
];

/// The known types for which Go keeps one value.
const SINGLE: [&str; 2] = ["SERIALNUMBER", "CN"];

/// Formats a name.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut known: [Vec<String>; KNOWN.len()] = Default::default();
    let mut others = Vec::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        match KNOWN.iter().position(|(number, _)| *number == oid) {
            // Skips a known type whose value is not a string, as Go does.
            Some(place) => known[place].extend(string(attribute.attr_value())),
            None => others.push(format!("{oid}={}", other_value(attribute))),
        }
    }
    let known = KNOWN.iter().zip(known).filter_map(|((_, short), mut values)| {
        if SINGLE.contains(short) {
            values = values.pop().filter(|value| !value.is_empty()).into_iter().collect();
        }
        let parts: Vec<String> = values
            .iter()
            .map(|value| format!("{short}={}", escape(value)))
            .collect();
        (!parts.is_empty()).then(|| parts.join("+"))
    });
    known.chain(others.into_iter().rev()).collect::<Vec<_>>().join(",")
}

/// The value of a type without a short name: a string unchanged, anything else as the hexadecimal form of its DER.
fn other_value(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    if let Some(string) = string(value) {
        return escape(&string);
    }
    if value.tag() == Tag::Null {
        // Go prints this for a missing value.
        return escape("<nil>");
    }
    let (tag, data) = go_encoding(value);
    let mut der = vec![tag];
    match data.len() {
        short @ 0..0x80 => der.extend(u8::try_from(short)),
        long => {
            let bytes = long.to_be_bytes();
            let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
            der.extend(significant);
        }
    }
    der.extend(&*data);
    format!("#{}", hex(&der))
}

/// The tag byte and contents that Go writes. Go re-encodes times, and uses `UTCTime` for the years 1950 to 2049.
fn go_encoding<'a>(value: &'a Any<'_>) -> (u8, Cow<'a, [u8]>) {
    const UTC_TIME: u8 = 0x17;
    let data = value.data;
    if value.tag() == Tag::GeneralizedTime && data.len() == "20260102030405Z".len() {
        let year = std::str::from_utf8(&data[..4]).ok().and_then(|year| year.parse().ok());
        if year.is_some_and(|year: u16| (1950..2050).contains(&year)) {
            return (UTC_TIME, Cow::Borrowed(&data[2..]));
        }
    }
    let class = (value.class() as u8) << 6;
    let constructed = u8::from(value.header.is_constructed()) << 5;
    let tag = u8::try_from(value.tag().0 & 0x1f).unwrap_or(0x1f);
    (class | constructed | tag, Cow::Borrowed(data))
}

/// The value of a string type that Go supports.
fn string(value: &Any<'_>) -> Option<String> {
    let data = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            Some(String::from_utf8_lossy(data).into_owned())
        }
        // Decoded as ISO 8859-1, as in Go and most other programs.
        Tag::T61String => Some(data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units: Vec<u16> = data
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            Some(String::from_utf16_lossy(units.strip_suffix(&[0]).unwrap_or(&units)))
        }
        _ => None,
    }
}

/// Escapes the characters of RFC 2253 section 2.4, at the byte positions that Go checks.
fn escape(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    value.char_indices().fold(String::new(), |mut out, (index, c)| {
        let escaped = match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => index == 0 || index == last,
            '#' => index == 0,
            _ => false,
        };
        if escaped {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::{escape, text};
    use x509_parser::prelude::{FromDer as _, X509Name};

    /// DER of one element with up to 127 bytes.
    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(contents.len()).unwrap()], contents].concat()
    }

    /// An attribute of type `2.5.4.N` if the OID is the number N, otherwise of the OID with these contents.
    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        element(0x30, &[element(6, oid), element(tag, value)].concat())
    }

    fn written(parts: &[Vec<u8>]) -> String {
        let parts: Vec<u8> = parts.iter().flat_map(|part| element(0x31, part)).collect();
        let name = element(0x30, &parts);
        text(&X509Name::from_der(&name).unwrap().1)
    }

    const UTF8: u8 = 0x0c;

    fn known(number: u8, value: &str) -> Vec<u8> {
        attribute(&[0x55, 4, number], UTF8, value.as_bytes())
    }

    /// An attribute of type 1.2.3.4, which has no short name.
    fn other(tag: u8, value: &[u8]) -> Vec<u8> {
        attribute(&[0x2a, 3, 4], tag, value)
    }

    #[test]
    fn names_are_escaped_as_go_does() {
        assert_eq!(escape("a,b+c\"\\<>;"), "a\\,b\\+c\\\"\\\\\\<\\>\\;");
        assert_eq!(escape(" # "), "\\ #\\ ");
        assert_eq!(escape("#x#"), "\\#x#");
        assert_eq!(escape(" "), "\\ ");
        assert_eq!(escape("plain=x/y"), "plain=x/y");
        assert_eq!(escape("é "), "é\\ ");
        assert_eq!(escape(""), "");
    }

    #[test]
    fn attributes_are_grouped_as_go_does() {
        let all = [6, 8, 7, 9, 17, 10, 11, 3, 5];
        let right = "SERIALNUMBER=v5,CN=v3,OU=v11,O=v10,POSTALCODE=v17,STREET=v9,L=v7,ST=v8,C=v6";
        let parts: Vec<_> = all.iter().map(|number| known(*number, &format!("v{number}"))).collect();
        assert_eq!(written(&parts), right);
        let backwards: Vec<_> = parts.into_iter().rev().collect();
        assert_eq!(written(&backwards), right);
        assert_eq!(
            written(&[known(6, "US"), known(11, "a"), known(11, "b")]),
            "OU=a+OU=b,C=US"
        );
        // One part with several types, and another with several values of one type.
        let multi = [
            [known(3, "a"), known(10, "b")].concat(),
            [known(11, "c"), known(11, "d")].concat(),
        ];
        assert_eq!(written(&multi), "CN=a,OU=c+OU=d,O=b");
        assert_eq!(written(&[known(3, "one"), known(3, "two")]), "CN=two");
        assert_eq!(
            written(&[known(5, "s1"), known(5, "s2"), known(3, "x")]),
            "SERIALNUMBER=s2,CN=x"
        );
        assert_eq!(written(&[known(3, ""), known(10, ""), known(10, "y")]), "O=+O=y");
        assert_eq!(written(&[]), "");
        // Types without a short name come last, in reverse order.
        let others = [known(4, "s"), other(UTF8, b"x"), known(3, "c"), known(42, "g")];
        assert_eq!(written(&others), "CN=c,2.5.4.42=g,1.2.3.4=x,2.5.4.4=s");
    }

    #[test]
    fn values_are_read_as_go_does() {
        let strings: [(u8, &[u8], &str); 6] = [
            (0x13, b"plain", "plain"),
            (0x16, b"a@b", "a@b"),
            (0x12, b"12 3", "12 3"),
            (0x14, b"caf\xe9", "café"),
            (0x1e, b"\0G\0r\0\xfc", "Grü"),
            (0x1e, b"\0x\0\0", "x"),
        ];
        for (tag, bytes, right) in strings {
            assert_eq!(written(&[attribute(&[0x55, 4, 3], tag, bytes)]), format!("CN={right}"));
            assert_eq!(written(&[other(tag, bytes)]), format!("1.2.3.4={right}"));
        }
        let others: [(u8, &[u8], &str); 9] = [
            (UTF8, b"#a,b", "\\#a\\,b"),
            (3, b"\0ab", "#0303006162"),
            (0x30, &[2, 1, 1], "#3003020101"),
            (0x1c, b"\0\0\0a", "#1c0400000061"),
            (2, &[5], "#020105"),
            (0x81, b"v", "#810176"),
            (0x17, b"260102030405Z", "#170d3236303130323033303430355a"),
            (0x18, b"20260102030405Z", "#170d3236303130323033303430355a"),
            (5, b"", "\\<nil\\>"),
        ];
        for (tag, bytes, right) in others {
            assert_eq!(written(&[other(tag, bytes)]), format!("1.2.3.4={right}"));
        }
        let long = written(&[element(
            0x30,
            &[&element(6, &[0x2a, 3, 4])[..], &[4, 0x48][..], &[7; 0x48]].concat(),
        )]);
        assert!(long.starts_with("1.2.3.4=#0448070707"), "{long}");
        // A known type whose value is not a string.
        assert_eq!(written(&[attribute(&[0x55, 4, 3], 2, &[7]), known(10, "x")]), "O=x");
    }
}
