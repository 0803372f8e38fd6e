//! The signature that proves in the handshake that a server has its certificate's key: `CertificateVerify` in TLS 1.3
//! (RFC 8446 section 4.4.3), `ServerKeyExchange` in TLS 1.2 (RFC 5246 section 7.4.3).
//!
//! Only the key is used. The functions of rustls parse the whole certificate first, and reject X.509 v1 and unknown
//! critical extensions, which are not relevant for this signature.

use super::hash::Hash;
use super::key::{Curve, KeyType, PublicKey};
use super::{MIN_RSA_BITS, ecdsa, rsa};
use rustls::SignatureScheme;
use rustls::pki_types::{InvalidSignature, SignatureVerificationAlgorithm};
use webpki::ring;

/// Schemes to offer if certificates are verified, in Go's order. A server with several certificates then chooses the
/// same one as for `blackbox_exporter`.
pub(in crate::check) const OFFERED: [SignatureScheme; 12] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PKCS1_SHA1,
    SignatureScheme::ECDSA_SHA1_Legacy,
];

/// Schemes that Go offers before the others. The exporter cannot verify them, so it offers them only if it does not
/// verify certificates.
pub(in crate::check) const UNVERIFIED: [SignatureScheme; 3] = [
    SignatureScheme::ML_DSA_44,
    SignatureScheme::ML_DSA_65,
    SignatureScheme::ML_DSA_87,
];

/// Why a handshake signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) enum HandshakeSignatureFlaw {
    /// The signature was not made with the certificate's key.
    Wrong,
    /// The exporter does not support this key. The value describes the key, such as `RSA key of 512 bits`.
    Unverifiable(String),
}

/// Signature method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Pkcs1(Hash),
    Pss(Hash),
    Ecdsa(Hash),
    Ed25519,
}

/// Verifies the signature over `message` with the key of the certificate `leaf`.
///
/// # Errors
/// Fails if the signature is wrong, or cannot be verified with this key.
pub(in crate::check) fn verify_handshake(
    leaf: &[u8],
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), HandshakeSignatureFlaw> {
    let Some(key) = PublicKey::of_certificate(leaf) else {
        return Err(HandshakeSignatureFlaw::Unverifiable(
            "the key cannot be read".to_owned(),
        ));
    };
    let Some(method) = method(scheme) else {
        return Err(HandshakeSignatureFlaw::Unverifiable(key.to_string()));
    };
    match key.kind() {
        KeyType::Other => return Err(HandshakeSignatureFlaw::Unverifiable(key.to_string())),
        KeyType::Rsa(bits) if !(MIN_RSA_BITS..=rsa::MAX_BITS).contains(&bits) => {
            return Err(HandshakeSignatureFlaw::Unverifiable(key.to_string()));
        }
        _ => {}
    }
    verify(&key, method, message, signature).map_err(|InvalidSignature| HandshakeSignatureFlaw::Wrong)
}

const fn method(scheme: SignatureScheme) -> Option<Method> {
    Some(match scheme {
        SignatureScheme::RSA_PKCS1_SHA1 => Method::Pkcs1(Hash::Sha1),
        SignatureScheme::RSA_PKCS1_SHA256 => Method::Pkcs1(Hash::Sha256),
        SignatureScheme::RSA_PKCS1_SHA384 => Method::Pkcs1(Hash::Sha384),
        SignatureScheme::RSA_PKCS1_SHA512 => Method::Pkcs1(Hash::Sha512),
        SignatureScheme::RSA_PSS_SHA256 => Method::Pss(Hash::Sha256),
        SignatureScheme::RSA_PSS_SHA384 => Method::Pss(Hash::Sha384),
        SignatureScheme::RSA_PSS_SHA512 => Method::Pss(Hash::Sha512),
        // Before TLS 1.3, these names do not specify the curve (RFC 8422 section 5.1.3), and Go does not check it in
        // TLS 1.3.
        SignatureScheme::ECDSA_SHA1_Legacy => Method::Ecdsa(Hash::Sha1),
        SignatureScheme::ECDSA_NISTP256_SHA256 => Method::Ecdsa(Hash::Sha256),
        SignatureScheme::ECDSA_NISTP384_SHA384 => Method::Ecdsa(Hash::Sha384),
        SignatureScheme::ECDSA_NISTP521_SHA512 => Method::Ecdsa(Hash::Sha512),
        SignatureScheme::ED25519 => Method::Ed25519,
        _ => return None,
    })
}

/// ring's algorithm, if it has one, because it is the fastest.
fn of_ring(kind: KeyType, method: Method) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    use Hash::{Sha256, Sha384, Sha512};
    Some(match (kind, method) {
        (KeyType::Rsa(bits), _) if super::is_small(bits) => return None,
        (KeyType::Rsa(_), Method::Pkcs1(Sha256)) => ring::RSA_PKCS1_2048_8192_SHA256,
        (KeyType::Rsa(_), Method::Pkcs1(Sha384)) => ring::RSA_PKCS1_2048_8192_SHA384,
        (KeyType::Rsa(_), Method::Pkcs1(Sha512)) => ring::RSA_PKCS1_2048_8192_SHA512,
        (KeyType::Rsa(_), Method::Pss(Sha256)) => ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        (KeyType::Rsa(_), Method::Pss(Sha384)) => ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        (KeyType::Rsa(_), Method::Pss(Sha512)) => ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        (KeyType::Ecdsa(Curve::P256), Method::Ecdsa(Sha256)) => ring::ECDSA_P256_SHA256,
        (KeyType::Ecdsa(Curve::P256), Method::Ecdsa(Sha384)) => ring::ECDSA_P256_SHA384,
        (KeyType::Ecdsa(Curve::P384), Method::Ecdsa(Sha256)) => ring::ECDSA_P384_SHA256,
        (KeyType::Ecdsa(Curve::P384), Method::Ecdsa(Sha384)) => ring::ECDSA_P384_SHA384,
        (KeyType::Ed25519, Method::Ed25519) => ring::ED25519,
        _ => return None,
    })
}

fn verify(key: &PublicKey<'_>, method: Method, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    let kind = key.kind();
    if let Some(algorithm) = of_ring(kind, method) {
        return algorithm.verify_signature(key.bits, message, signature);
    }
    match (kind, method) {
        (KeyType::Rsa(_), Method::Pkcs1(hash)) => rsa::verify_pkcs1(key.bits, hash, message, signature),
        (KeyType::Rsa(_), Method::Pss(hash)) => rsa::verify_pss(key.bits, hash, message, signature),
        (KeyType::Ecdsa(curve), Method::Ecdsa(hash)) => ecdsa::verify(curve, key.bits, hash, message, signature),
        // The signature does not match the key type.
        _ => Err(InvalidSignature),
    }
}

#[cfg(test)]
mod tests {
    use super::{HandshakeSignatureFlaw, OFFERED, UNVERIFIED, method, verify_handshake};
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SigningKey as _};
    use rustls::SignatureScheme as S;

    #[test]
    fn all_that_is_offered_is_known_and_what_is_not_verified_is_apart() {
        assert!(OFFERED.iter().all(|scheme| method(*scheme).is_some()));
        assert!(UNVERIFIED.iter().all(|scheme| method(*scheme).is_none()));
    }

    #[test]
    fn a_signature_must_be_of_the_key_and_of_its_kind() {
        let pair = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([]).unwrap().self_signed(&pair).unwrap();
        let signature = pair.sign(b"message").unwrap();
        let verify = |scheme, message| verify_handshake(leaf.der(), scheme, message, &signature);
        assert_eq!(verify(S::ECDSA_NISTP256_SHA256, b"message"), Ok(()));
        assert_eq!(
            verify(S::ECDSA_NISTP256_SHA256, b"massage"),
            Err(HandshakeSignatureFlaw::Wrong)
        );
        for other in OFFERED.iter().filter(|scheme| **scheme != S::ECDSA_NISTP256_SHA256) {
            assert_eq!(
                verify(*other, b"message"),
                Err(HandshakeSignatureFlaw::Wrong),
                "{other:?}"
            );
        }
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let leaf = CertificateParams::new([]).unwrap().self_signed(&ed25519).unwrap();
        let signature = ed25519.sign(b"message").unwrap();
        assert_eq!(verify_handshake(leaf.der(), S::ED25519, b"message", &signature), Ok(()));
        // An unreadable key proves nothing, but the signature is not wrong.
        let unreadable = verify_handshake(b"\x30\x03\x02\x01\x01", S::ED25519, b"message", &signature);
        assert_eq!(
            unreadable,
            Err(HandshakeSignatureFlaw::Unverifiable(
                "the key cannot be read".to_owned()
            ))
        );
        let unknown = verify_handshake(leaf.der(), S::ML_DSA_44, b"message", &signature);
        assert_eq!(
            unknown,
            Err(HandshakeSignatureFlaw::Unverifiable("Ed25519 key".to_owned()))
        );
    }
}
