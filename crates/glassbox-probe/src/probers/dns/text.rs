//! Records in zone file notation, formatted like the DNS library of `blackbox_exporter`:
//! `name.\tTTL\tCLASS\tTYPE\tdata`.
//!
//! A table lists the fields of each record type. Data of an unknown type, or data that does not fit its type, is
//! written as in RFC 3597 section 5.

use super::name::{self, put_byte};
use super::types::Field::{
    Base64, Hash, Hex, Ip4, Ip6, Parameters, Quoted, Salt, Text, Texts, Time, Type, Types, U8, U16, U32, UpperHex, Word,
};
use super::types::{Field, TYPES, type_name};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hickory_proto::rr::{DNSClass, Record};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// One record as a line.
pub(super) fn line(record: &Record) -> String {
    let number = u16::from(record.record_type());
    let class = match record.dns_class {
        DNSClass::IN => "IN".to_owned(),
        DNSClass::CH => "CH".to_owned(),
        DNSClass::HS => "HS".to_owned(),
        DNSClass::NONE => "NONE".to_owned(),
        DNSClass::ANY => "ANY".to_owned(),
        DNSClass::OPT(number) | DNSClass::Unknown(number) => format!("CLASS{number}"),
    };
    let head = format!(
        "{}\t{}\t{class}\t{}\t",
        name::text(record.name.iter()),
        record.ttl,
        type_name(number)
    );
    let data = plain_bytes(record);
    let fields = TYPES
        .iter()
        .find(|row| row.number == number)
        .map_or(&[][..], |row| row.fields);
    let words = if fields.is_empty() { None } else { words(&data, fields) };
    head + &words.unwrap_or_else(|| unknown(&data))
}

/// Data of an unknown type (RFC 3597 section 5).
fn unknown(data: &[u8]) -> String {
    format!("\\# {} {}", data.len(), hex(data))
}

/// The data as on the wire, but with uncompressed names.
fn plain_bytes(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    match record.data.emit(&mut encoder) {
        Ok(()) => bytes,
        // A parsed record can always be encoded again. If that fails, its text form does not exist either.
        Err(_) => Vec::new(),
    }
}

/// The fields as text; `None` if the data does not consist of these fields.
fn words(data: &[u8], fields: &[Field]) -> Option<String> {
    let mut rest = Rest(data);
    let mut words = Vec::new();
    for field in fields {
        words.push(rest.field(*field)?);
    }
    rest.0.is_empty().then(|| words.join(" ").trim_end().to_owned())
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Takes bytes that are preceded by their length.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn name(&mut self) -> Option<String> {
        let mut labels = Vec::new();
        loop {
            match self.counted()? {
                [] => break,
                label => labels.push(label),
            }
        }
        Some(name::text(labels.into_iter()))
    }

    fn field(&mut self, field: Field) -> Option<String> {
        Some(match field {
            U8 => self.u8()?.to_string(),
            U16 => self.u16()?.to_string(),
            U32 => self.u32()?.to_string(),
            Ip4 => Ipv4Addr::from(self.u32()?).to_string(),
            Ip6 => {
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?);
                address.to_string()
            }
            Field::Name => self.name()?,
            Text => quoted(self.counted()?),
            Texts => {
                let mut texts = Vec::new();
                while !self.0.is_empty() {
                    texts.push(quoted(self.counted()?));
                }
                texts.join(" ")
            }
            Word => escaped(self.counted()?),
            Quoted => quoted(self.all()),
            Hex => hex(self.all()),
            UpperHex => hex(self.all()).to_ascii_uppercase(),
            Base64 => BASE64.encode(self.all()),
            Type => type_name(self.u16()?),
            Types => self.types()?,
            Time => time(self.u32()?),
            Salt => match self.counted()? {
                [] => "-".to_owned(),
                salt => hex(salt).to_ascii_uppercase(),
            },
            Hash => base32(self.counted()?),
            Parameters => self.parameters()?,
        })
    }

    fn types(&mut self) -> Option<String> {
        let mut names = Vec::new();
        while !self.0.is_empty() {
            let window = u16::from(self.u8()?) << 8;
            for (place, bits) in (0..).zip(self.counted()?) {
                let set = (0..8).filter(|bit| bits & (0x80 >> bit) != 0);
                names.extend(set.map(|bit| type_name(window | (place * 8 + bit))));
            }
        }
        Some(names.join(" "))
    }

    fn parameters(&mut self) -> Option<String> {
        let mut words = Vec::new();
        while !self.0.is_empty() {
            let key = self.u16()?;
            let length = self.u16()?;
            let mut value = Rest(self.take(length.into())?);
            words.push(parameter(key, &mut value)?);
        }
        Some(words.join(" "))
    }
}

/// A service parameter as written by the DNS library of `blackbox_exporter`: `alpn="h2,h3"`.
fn parameter(key: u16, value: &mut Rest<'_>) -> Option<String> {
    const NAMES: [&str; 9] = [
        "mandatory",
        "alpn",
        "no-default-alpn",
        "port",
        "ipv4hint",
        "ech",
        "ipv6hint",
        "dohpath",
        "ohttp",
    ];
    let name = |key: u16| {
        NAMES
            .get(usize::from(key))
            .map_or_else(|| format!("key{key}"), |name| (*name).to_owned())
    };
    let mut parts = Vec::new();
    let text = match key {
        0 | 4 | 6 | 1 => {
            while !value.0.is_empty() {
                parts.push(match key {
                    0 => name(value.u16()?),
                    1 => application_protocol(value.counted()?),
                    4 => value.field(Ip4)?,
                    _ => value.field(Ip6)?,
                });
            }
            parts.join(",")
        }
        3 => value.u16()?.to_string(),
        5 => BASE64.encode(value.all()),
        _ => with_backslashes(value.all(), b"\"\\; "),
    };
    Some(format!("{}=\"{text}\"", name(key)))
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", escaped(bytes))
}

/// Text as in RFC 1035 section 5.1: quotes and backslashes are escaped, non-printable bytes become three decimal
/// digits.
fn escaped(bytes: &[u8]) -> String {
    with_backslashes(bytes, b"\"\\")
}

/// Text like `escaped`, with a backslash before each of the `special` characters.
fn with_backslashes(bytes: &[u8], special: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if special.contains(byte) {
            text.push('\\');
        }
        put_byte(&mut text, *byte);
    }
    text
}

/// One value of `alpn`. Separators in it are escaped a second time (RFC 9460 appendix A.1).
fn application_protocol(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b',' | b'\\' => text.push_str("\\\\\\"),
            b'"' | b';' | b' ' => text.push('\\'),
            _ => {}
        }
        put_byte(&mut text, *byte);
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}

/// Base32 with the extended hex alphabet (RFC 4648 section 7), in upper case and without padding.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut bits = [0; 8];
        bits[3..3 + chunk.len()].copy_from_slice(chunk);
        let number = u64::from_be_bytes(bits);
        let digits = (chunk.len() * 8).div_ceil(5);
        text.extend((0..digits).map(|digit| {
            let index = (number >> (35 - 5 * digit)) & 31;
            // Five bits index one of 32 digits.
            char::from(DIGITS[usize::try_from(index).unwrap_or_default()])
        }));
    }
    text
}

/// A time as `YYYYMMDDHHMMSS`.
fn time(seconds: u32) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.into());
    let text = glassbox_verdict::utc::rfc3339(at);
    text.chars().filter(char::is_ascii_digit).take(14).collect()
}

#[cfg(test)]
mod tests {
    use super::line;
    use hickory_proto::op::Message;

    /// A response with one record of this type and data. `c00c` refers to the name of the question.
    fn record(number: u16, data: &[u8]) -> String {
        let mut bytes = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x07Example\x04test\0".to_vec();
        bytes.extend(number.to_be_bytes());
        bytes.extend([0, 1, 0xc0, 0x0c]);
        bytes.extend(number.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0x0e, 0x10]);
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
        line(&Message::from_vec(&bytes).unwrap().answers[0])
    }

    #[test]
    fn each_type_is_written_as_zone_files_write_it() {
        for (number, data, text) in [
            (1, &b"\xc0\0\x02\x01"[..], "A\t192.0.2.1"),
            (28, b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", "AAAA\t2001:db8::1"),
            (15, b"\0\x0a\x04mail\xc0\x0c", "MX\t10 mail.Example.test."),
            (2, b"\x02ns\xc0\x0c", "NS\tns.Example.test."),
            (16, b"\x03a\"b\x02\x00c", "TXT\t\"a\\\"b\" \"\\000c\""),
            (33, b"\0\x01\0\x02\x01\xbb\xc0\x0c", "SRV\t1 2 443 Example.test."),
            (257, b"\0\x05issueca.test", "CAA\t0 issue \"ca.test\""),
            (43, b"\x30\x39\x08\x02\xab\xcd", "DS\t12345 8 2 ABCD"),
            (52, b"\x03\x01\x01\xab", "TLSA\t3 1 1 ab"),
            (
                47,
                b"\x04next\x04test\0\0\x06\x40\x01\0\0\0\x03",
                "NSEC\tnext.test. A MX RRSIG NSEC",
            ),
            (
                65,
                b"\0\x01\0\0\x01\0\x06\x02h2\x02h3\0\x03\0\x02\x20\xfb",
                "HTTPS\t1 . alpn=\"h2,h3\" port=\"8443\"",
            ),
            (4321, b"\x01\x02", "TYPE4321\t\\# 2 0102"),
            (12, b"\x03a\xffb\x04test\0", "PTR\ta\\255b.test."),
            (5, b"\x0aMy Printer\x03a.b\0", "CNAME\tMy\\ Printer.a\\.b."),
            (16, b"\x05\xc3\xbc\x7f;'", "TXT\t\"\\195\\188\\127;'\""),
            (
                64,
                b"\0\x01\0\0\x01\0\x05\x04a, ;\x00\x07\x00\x03/ d",
                "SVCB\t1 . alpn=\"a\\\\\\,\\ \\;\" dohpath=\"/\\ d\"",
            ),
        ] {
            assert_eq!(record(number, data), format!("Example.test.\t3600\tIN\t{text}"));
        }
    }
}
