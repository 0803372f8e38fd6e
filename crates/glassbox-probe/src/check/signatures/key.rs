//! A certificate's public key. Only its `SubjectPublicKeyInfo` is parsed (RFC 5280 section 4.1.2.7), so the key can be
//! used regardless of the rest of the certificate.

use super::der::{self, BIT_STRING, CONTEXT_0, SEQUENCE};
use super::rsa;
use rustls::pki_types::alg_id;
use std::fmt;

/// A public key in the form that a certificate contains.
#[derive(Clone, Copy, Debug)]
pub(in crate::check) struct PublicKey<'a> {
    /// The contents of its `AlgorithmIdentifier`.
    pub algorithm: &'a [u8],
    /// The contents of the bit string.
    pub bits: &'a [u8],
}

/// A supported elliptic curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// The key type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    /// RSA, with a modulus of this many bits.
    Rsa(usize),
    Ecdsa(Curve),
    Ed25519,
    /// An unsupported type.
    Other,
}

/// Names of unsupported key types, by the contents of their `AlgorithmIdentifier` or a prefix of it.
const OTHERS: [(&[u8], &str); 9] = [
    // 1.2.840.113549.1.1.10
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSASSA-PSS"),
    // 1.2.840.10040.4.1
    (b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01", "DSA"),
    // 1.2.840.10045.2.1 with 1.3.132.0.33
    (
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x21",
        "ECDSA P-224",
    ),
    // 1.2.840.10045.2.1 with any other curve
    (
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
        "ECDSA with a curve other than P-256, P-384 and P-521",
    ),
    // 1.3.101.113
    (b"\x06\x03\x2b\x65\x71", "Ed448"),
    // 2.16.840.1.101.3.4.3.17 and the two that follow
    (b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11", "ML-DSA-44"),
    (b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12", "ML-DSA-65"),
    (b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13", "ML-DSA-87"),
    (b"", "unknown"),
];

impl<'a> PublicKey<'a> {
    /// The key of a certificate of any version, with any extensions.
    pub fn of_certificate(mut certificate: &'a [u8]) -> Option<Self> {
        let mut certificate = der::expect(&mut certificate, SEQUENCE)?;
        let mut tbs = der::expect(&mut certificate, SEQUENCE)?;
        // The version precedes the serial number, and is absent in X.509 v1.
        if der::next(&mut tbs)?.0 == CONTEXT_0 {
            der::next(&mut tbs)?;
        }
        for _signature_issuer_validity_subject in 0..4 {
            der::next(&mut tbs)?;
        }
        let mut info = der::expect(&mut tbs, SEQUENCE)?;
        let algorithm = der::expect(&mut info, SEQUENCE)?;
        let (0, bits) = der::expect(&mut info, BIT_STRING)?.split_first()? else {
            return None;
        };
        Some(Self { algorithm, bits })
    }

    /// The complete signed part of a certificate, and the contents of the `AlgorithmIdentifier` after it.
    pub fn signed_part(mut certificate: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let certificate = der::expect(&mut certificate, SEQUENCE)?;
        let mut rest = certificate;
        der::expect(&mut rest, SEQUENCE)?;
        let signed = &certificate[..certificate.len() - rest.len()];
        Some((signed, der::expect(&mut rest, SEQUENCE)?))
    }

    /// Whether Go supports this key type although the exporter does not.
    pub(super) fn is_known_to_go(&self) -> bool {
        KNOWN_TO_GO.iter().any(|start| self.algorithm.starts_with(start))
    }

    /// The key type.
    pub(super) fn kind(&self) -> KeyType {
        // 1.2.840.113549.1.1.1
        const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
        let named = [
            (alg_id::ECDSA_P256, KeyType::Ecdsa(Curve::P256)),
            (alg_id::ECDSA_P384, KeyType::Ecdsa(Curve::P384)),
            (alg_id::ECDSA_P521, KeyType::Ecdsa(Curve::P521)),
            (alg_id::ED25519, KeyType::Ed25519),
        ];
        if let Some((_, kind)) = named.iter().find(|(algorithm, _)| algorithm.as_ref() == self.algorithm) {
            return *kind;
        }
        match rsa::size(self.bits) {
            // Accepts a key whose parameters, which must be NULL, are missing.
            Some(bits) if self.algorithm.starts_with(RSA) => KeyType::Rsa(bits),
            _ => KeyType::Other,
        }
    }
}

/// Key types that Go supports and the exporter does not.
const KNOWN_TO_GO: [&[u8]; 2] = [
    // ECDSA with P-224, and ML-DSA of every size.
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x21",
    b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03",
];

/// Text form, such as `RSA key of 512 bits`.
impl fmt::Display for PublicKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            KeyType::Rsa(bits) => write!(f, "RSA key of {bits} bits"),
            KeyType::Ecdsa(curve) => write!(f, "ECDSA key on the curve {curve:?}"),
            KeyType::Ed25519 => f.write_str("Ed25519 key"),
            KeyType::Other => {
                let known = OTHERS.iter().find(|(start, _)| self.algorithm.starts_with(start));
                write!(f, "key of type {}", known.map_or("unknown", |(_, name)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Curve, KeyType, PublicKey};
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn a_key_is_found_in_a_certificate_of_any_version() {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([]).unwrap().self_signed(&pair).unwrap();
        let der = certificate.der();
        let key = PublicKey::of_certificate(der).unwrap();
        assert_eq!(key.kind(), KeyType::Ecdsa(Curve::P256));
        assert_eq!(key.bits, pair.public_key_raw());
        assert_eq!(key.to_string(), "ECDSA key on the curve P256");
        for length in 0..der.len() {
            assert!(PublicKey::of_certificate(&der[..length]).is_none());
        }
    }

    #[test]
    fn keys_that_are_not_used_are_named() {
        let named = |algorithm: &'static [u8]| PublicKey { algorithm, bits: b"" }.to_string();
        assert_eq!(named(b"\x06\x03\x2b\x65\x71"), "key of type Ed448");
        assert_eq!(
            named(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x21"),
            "key of type ECDSA P-224"
        );
        assert_eq!(named(b"\x06\x03\x2a\x03\x04"), "key of type unknown");
        // An RSA key that cannot be parsed.
        assert_eq!(
            named(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"),
            "key of type unknown"
        );
    }
}
