//! What stands in a certificate, as people and the peer read it.

use crate::report::Certificate;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// The times between which a certificate is valid, in seconds since 1970.
pub(super) fn dates(der: &[u8]) -> Option<(i64, i64)> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let validity = cert.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// Whether its issuer has the name of its subject.
pub(super) fn is_self_issued(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, cert)| cert.subject().as_raw() == cert.issuer().as_raw())
}

/// Reads the fields that people look at. A certificate that cannot be parsed still has its fingerprint.
pub(super) fn describe(der: &[u8]) -> Certificate {
    let fingerprint_sha256 = hex(&Sha256::digest(der));
    let Ok((_, cert)) = X509Certificate::from_der(der) else {
        return Certificate {
            fingerprint_sha256,
            ..Certificate::default()
        };
    };
    let dns_names = match cert.subject_alternative_name() {
        Ok(Some(names)) => names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(dns) => Some((*dns).to_owned()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let serial = cert.raw_serial();
    let significant = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    Certificate {
        subject: rfc2253(cert.subject()),
        issuer: rfc2253(cert.issuer()),
        serial: hex(&serial[significant..]),
        fingerprint_sha256,
        dns_names,
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a String cannot fail");
        out
    })
}

/// A distinguished name as Go prints it (RFC 2253: last part first).
fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts = Vec::new();
    for rdn in name.iter() {
        let pairs: Vec<_> = rdn
            .iter()
            .map(|pair| {
                let value = pair
                    .as_str()
                    .map_or_else(|_| hex(pair.attr_value().data), escape_rfc2253);
                format!("{}={value}", short_name(&pair.attr_type().to_id_string()))
            })
            .collect();
        parts.push(pairs.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

/// The short names that Go knows; any other type is its dotted number.
fn short_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        other => other,
    }
}

fn escape_rfc2253(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    value.chars().enumerate().fold(String::new(), |mut out, (index, c)| {
        let escaped = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (c == '#' && index == 0)
            || (c == ' ' && (index == 0 || index == last));
        if escaped {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::escape_rfc2253;

    #[test]
    fn names_are_escaped_as_go_does() {
        assert_eq!(escape_rfc2253("a,b+c"), "a\\,b\\+c");
        assert_eq!(escape_rfc2253(" # "), "\\ #\\ ");
        assert_eq!(escape_rfc2253("#x"), "\\#x");
        assert_eq!(escape_rfc2253("plain"), "plain");
    }
}
