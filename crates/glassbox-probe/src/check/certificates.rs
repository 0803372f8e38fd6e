//! Certificate fields, in the form that `blackbox_exporter` and the evidence show.

mod name;

use glassbox_verdict::report::Certificate;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// Start and end of a certificate's validity, in seconds since 1970.
pub(super) fn dates(der: &[u8]) -> Option<(i64, i64)> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let validity = cert.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// The end of an intermediate's validity. Returns `None` if the key usage does not allow it to sign certificates, which
/// webpki does not check.
pub(super) fn end_of_authority(der: &[u8]) -> Option<i64> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let signs = cert
        .extensions()
        .iter()
        .all(|extension| match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => usage.flags == 0 || usage.key_cert_sign(),
            _ => true,
        });
    signs.then(|| cert.validity().not_after.timestamp())
}

/// The subject as text.
pub(super) fn subject_text(cert: &X509Certificate<'_>) -> String {
    name::text(cert.subject())
}

/// Whether the issuer and the subject have the same name.
pub(super) fn is_self_issued(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, cert)| cert.subject().as_raw() == cert.issuer().as_raw())
}

/// Returns the fields that the evidence shows. A certificate that cannot be parsed still has a fingerprint.
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
        subject: name::text(cert.subject()),
        issuer: name::text(cert.issuer()),
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
