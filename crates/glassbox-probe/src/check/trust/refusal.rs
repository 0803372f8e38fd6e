//! Why a certificate was refused.

use super::super::certificates::{describe, is_self_issued};
use super::super::refusal::Refusal;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::utc::rfc3339;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::{Duration, UNIX_EPOCH};

impl Refusal {
    /// The refusal for a webpki error.
    pub(in crate::check) fn of_webpki(error: &webpki::Error, leaf: &CertificateDer<'_>) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { not_after, .. } => Self::expired(seconds(*not_after)),
            E::CertNotValidYet { not_before, .. } => Self::not_yet_valid(seconds(*not_before)),
            E::InvalidCertValidity => Self {
                reason: Reason::TlsCertDateInvalid,
                message: error.to_string(),
            },
            E::CertNotValidForName(_) => Self::wrong_name(leaf),
            E::UnknownIssuer => Self::unknown_authority(leaf),
            E::InvalidSignatureForPublicKey => Self::untrusted_issuer(leaf),
            E::CaUsedAsEndEntity if is_self_issued(leaf) => Self::unknown_authority(leaf),
            _ => Self::invalid(error.to_string()),
        }
    }

    /// A certificate in the chain expired at this time, in seconds since 1970.
    pub(in crate::check) fn expired(at: i64) -> Self {
        Self {
            reason: Reason::TlsCertDateInvalid,
            message: format!("a certificate in its chain expired at {}", moment(at)),
        }
    }

    /// A certificate in the chain is not valid before this time, in seconds since 1970.
    pub(in crate::check) fn not_yet_valid(at: i64) -> Self {
        Self {
            reason: Reason::TlsCertDateInvalid,
            message: format!("a certificate in its chain is not valid before {}", moment(at)),
        }
    }

    /// The certificate is valid for other names only.
    pub(in crate::check) fn wrong_name(leaf: &CertificateDer<'_>) -> Self {
        let names = describe(leaf).dns_names;
        Self {
            reason: Reason::TlsCertNameInvalid,
            message: if names.is_empty() {
                "it contains no host name".to_owned()
            } else {
                format!("it is only valid for {}", names.join(", "))
            },
        }
    }

    /// No chain leads to a trusted authority.
    pub(in crate::check) fn unknown_authority(leaf: &CertificateDer<'_>) -> Self {
        if !is_self_issued(leaf) {
            return Self::untrusted_issuer(leaf);
        }
        Self {
            reason: Reason::TlsCertSelfSigned,
            message: format!("it is self-signed by {}", describe(leaf).subject),
        }
    }

    /// The signature is from an authority that has the same name as a trusted one, but a different key.
    pub(in crate::check) fn untrusted_issuer(leaf: &CertificateDer<'_>) -> Self {
        Self {
            reason: Reason::TlsCertAuthorityInvalid,
            message: format!("its issuer, {}, is not trusted", describe(leaf).issuer),
        }
    }

    /// The exporter cannot verify a signature that Go verifies.
    pub(in crate::check) fn not_supported(how: &str) -> Self {
        Self {
            reason: Reason::LocalTlsUnsupported,
            message: format!("the exporter cannot verify a signature in its chain: {how}"),
        }
    }

    /// Any other refusal.
    pub(in crate::check) const fn invalid(message: String) -> Self {
        Self {
            reason: Reason::TlsCertInvalid,
            message,
        }
    }
}

fn moment(seconds: i64) -> String {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    rfc3339(at.unwrap_or(UNIX_EPOCH))
}

/// Seconds since 1970, the unit of certificate dates.
pub(super) fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
