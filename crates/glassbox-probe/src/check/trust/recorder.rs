//! Verifies the certificate of one handshake, lets the handshake finish, and stores the result. The caller enforces the
//! result before any request byte.

use super::super::certificates::describe;
use super::super::refusal::Refusal;
use super::super::signatures::{HandshakeSignatureFlaw, OFFERED, UNVERIFIED, verify_handshake};
use super::Trust;
use glassbox_verdict::report::TlsFacts;
use parking_lot::{Mutex, MutexGuard};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, PeerMisbehaved, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Verifies the certificate of one handshake. If verification is enabled, the exporter sends its client certificate
/// only to a server whose certificate was accepted.
pub(in crate::check) struct Recorder {
    trust: Arc<Trust>,
    skip_verify: bool,
    identity: Option<Arc<CertifiedKey>>,
    seen: Mutex<VerifiedChain>,
}

/// Data collected in a handshake.
#[derive(Debug, Default)]
pub(in crate::check) struct VerifiedChain {
    /// The server's certificates, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Expiry time of the verified chain, or the reason for the refusal. `None` if verification is disabled.
    pub verdict: Option<Result<i64, Refusal>>,
    /// Whether the server requested a client certificate.
    pub client_cert_asked: bool,
    /// Explanation of what was accepted without verification.
    pub note: Option<String>,
}

impl Recorder {
    pub fn new(trust: Arc<Trust>, skip_verify: bool, identity: Option<Arc<CertifiedKey>>) -> Self {
        Self {
            trust,
            skip_verify,
            identity,
            seen: Mutex::default(),
        }
    }

    pub fn seen(&self) -> MutexGuard<'_, VerifiedChain> {
        self.seen.lock()
    }

    /// The certificates of the handshake, if any were received.
    pub fn facts(&self) -> Option<TlsFacts> {
        let seen = self.seen();
        if seen.chain.is_empty() {
            return None;
        }
        Some(TlsFacts {
            chain: seen.chain.iter().map(|der| describe(der)).collect(),
            client_cert_asked: seen.client_cert_asked,
            verified_until: seen.verdict.as_ref().and_then(|verdict| verdict.as_ref().ok().copied()),
            note: seen.note.clone(),
            ..TlsFacts::default()
        })
    }

    /// Verifies the handshake's signature. If the key type is not supported, the handshake fails only if the
    /// certificate was accepted. A refused certificate already fails the probe with its own reason, and an unverified
    /// one proves nothing.
    fn verify_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let offered = OFFERED.contains(&signed.scheme) || (self.skip_verify && UNVERIFIED.contains(&signed.scheme));
        if !offered {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        match verify_handshake(leaf, signed.scheme, message, signed.signature()) {
            Ok(()) => {}
            Err(HandshakeSignatureFlaw::Wrong) => return Err(CertificateError::BadSignature.into()),
            Err(HandshakeSignatureFlaw::Unverifiable(key)) => {
                let mut seen = self.seen();
                if matches!(seen.verdict, Some(Ok(_))) {
                    let words = format!("its key cannot be used to verify the handshake: {key}");
                    seen.verdict = Some(Err(Refusal::invalid(words)));
                    return Err(CertificateError::BadSignature.into());
                }
                seen.note = Some(format!("handshake signature not verified: {key}"));
            }
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = (!self.skip_verify).then(|| self.trust.verify(leaf, intermediates, name, now));
        let mut seen = self.seen();
        seen.verdict = verdict;
        seen.chain = std::iter::once(leaf)
            .chain(intermediates)
            .map(|der| der.clone().into_owned())
            .collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        use SignatureScheme as S;
        // RFC 8446 section 4.4.3: these schemes are only for certificates and for TLS 1.2.
        if matches!(
            dss.scheme,
            S::RSA_PKCS1_SHA1 | S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512 | S::ECDSA_SHA1_Legacy
        ) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let unverified: &[SignatureScheme] = if self.skip_verify { &UNVERIFIED } else { &[] };
        [unverified, &OFFERED].concat()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut seen = self.seen();
        seen.client_cert_asked = true;
        match seen.verdict {
            Some(Err(_)) => None,
            _ => self.identity.clone(),
        }
    }

    fn has_certs(&self) -> bool {
        true
    }
}
