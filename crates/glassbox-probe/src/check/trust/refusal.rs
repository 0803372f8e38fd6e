//! Why a certificate was refused: a reason and an explanation.

use super::super::certificates::{describe, is_self_issued};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::utc::rfc3339;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::{Duration, UNIX_EPOCH};

/// Why a chain was refused.
#[derive(Clone, Debug)]
pub(in crate::check) struct Refusal {
    pub reason: Reason,
    pub words: String,
}

impl Refusal {
    /// The refusal for a webpki error.
    pub fn new(error: &webpki::Error, leaf: &CertificateDer<'_>) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { not_after, .. } => Self::expired(not_after.as_secs()),
            E::CertNotValidYet { not_before, .. } => Self::not_yet_valid(not_before.as_secs()),
            E::InvalidCertValidity => Self {
                reason: Reason::TlsCertDateInvalid,
                words: error.to_string(),
            },
            E::CertNotValidForName(_) => Self::wrong_name(leaf),
            E::UnknownIssuer => Self::unknown_authority(leaf),
            E::InvalidSignatureForPublicKey => Self::untrusted_issuer(leaf),
            E::CaUsedAsEndEntity if is_self_issued(leaf) => Self::unknown_authority(leaf),
            _ => Self::invalid(error.to_string()),
        }
    }

    /// A certificate in the chain expired at this time, in seconds since 1970.
    pub fn expired(at: u64) -> Self {
        Self {
            reason: Reason::TlsCertDateInvalid,
            words: format!("a certificate in its chain expired at {}", moment(at)),
        }
    }

    /// A certificate in the chain is not valid before this time, in seconds since 1970.
    pub fn not_yet_valid(at: u64) -> Self {
        Self {
            reason: Reason::TlsCertDateInvalid,
            words: format!("a certificate in its chain is not valid before {}", moment(at)),
        }
    }

    /// The certificate is valid for other names only.
    pub fn wrong_name(leaf: &CertificateDer<'_>) -> Self {
        let names = describe(leaf).dns_names;
        Self {
            reason: Reason::TlsCertNameInvalid,
            words: if names.is_empty() {
                "it contains no host name".to_owned()
            } else {
                format!("it is only valid for {}", names.join(", "))
            },
        }
    }

    /// No chain leads to a trusted authority.
    pub fn unknown_authority(leaf: &CertificateDer<'_>) -> Self {
        if !is_self_issued(leaf) {
            return Self::untrusted_issuer(leaf);
        }
        Self {
            reason: Reason::TlsCertSelfSigned,
            words: format!("it is self-signed by {}", describe(leaf).subject),
        }
    }

    /// The signature is from an authority that has the same name as a trusted one, but a different key.
    pub fn untrusted_issuer(leaf: &CertificateDer<'_>) -> Self {
        Self {
            reason: Reason::TlsCertAuthorityInvalid,
            words: format!("its issuer, {}, is not trusted", describe(leaf).issuer),
        }
    }

    /// The exporter cannot verify a signature that Go verifies.
    pub fn not_supported(how: &str) -> Self {
        Self {
            reason: Reason::LocalTlsUnsupported,
            words: format!("the exporter cannot verify a signature in its chain: {how}"),
        }
    }

    /// Any other refusal.
    pub const fn invalid(words: String) -> Self {
        Self {
            reason: Reason::TlsCertInvalid,
            words,
        }
    }
}

fn moment(seconds: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Seconds since 1970, the unit of certificate dates.
pub(super) fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
