//! Verifies the signatures in a certificate chain for the search that runs if webpki has not accepted the chain.

use super::hash::Hash;
use super::key::{Curve, KeyType, PublicKey};
use super::{CachedVerification, MIN_RSA_BITS, VERIFIED, ecdsa, remembering, rsa};
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use std::sync::LazyLock;

/// Budget of a search, in units of about 0.1 ms. Each step costs 1 unit, and a slow signature costs more. With common
/// keys, the budget allows 100 signatures, as Go does. It allows fewer signatures with slow keys, so a malicious chain
/// can keep a thread busy for only about 10 ms.
pub(in crate::check) const BUDGET: u32 = 100;

/// Why a certificate's signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) enum SignatureFlaw {
    /// The signature was not made with this key.
    Wrong,
    /// The algorithm is insecure or unknown. The value is its name, such as `ecdsa-with-SHA1`.
    Refused(String),
    /// Go can verify the signature, but the exporter cannot. The value is an explanation.
    NotSupported(String),
    /// The remaining budget is too small.
    TooExpensive,
}

/// Refused signature algorithms, by the contents of their `AlgorithmIdentifier` or a prefix of it.
const REFUSED: [(&[u8], &str); 8] = [
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x02", "md2WithRSAEncryption"),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "md5WithRSAEncryption"),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "sha1WithRSAEncryption"),
    (
        b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a",
        "RSASSA-PSS with parameters that TLS does not use",
    ),
    (b"\x06\x07\x2a\x86\x48\xce\x38\x04\x03", "dsa-with-SHA1"),
    (b"\x06\x07\x2a\x86\x48\xce\x3d\x04\x01", "ecdsa-with-SHA1"),
    (b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x01", "ecdsa-with-SHA224"),
    (b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03", "ML-DSA"),
];

/// Verifies a signature. The arguments are key, message and signature.
type Verify = fn(&[u8], &[u8], &[u8]) -> Result<(), InvalidSignature>;

/// An algorithm that ring lacks.
#[derive(Debug)]
struct VerifiedSignature {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verify: Verify,
}

impl SignatureVerificationAlgorithm for VerifiedSignature {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        (self.verify)(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

/// Without the parameters. They must be NULL, but may be absent (RFC 4055 section 5).
const RSA_SHA256_ABSENT: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b");
const RSA_SHA384_ABSENT: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c");
const RSA_SHA512_ABSENT: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d");

macro_rules! own {
    ($key:ident, $signature:expr, $verify:expr) => {
        VerifiedSignature {
            key: alg_id::$key,
            signature: $signature,
            verify: |key, message, signature| $verify(key, message, signature),
        }
    };
}

macro_rules! ecdsa {
    ($key:ident, $curve:ident, $signature:ident, $hash:ident) => {
        own!($key, alg_id::$signature, |key, message, signature| {
            ecdsa::verify(Curve::$curve, key, Hash::$hash, message, signature)
        })
    };
}

macro_rules! rsa {
    ($signature:expr, $verify:ident, $hash:ident) => {
        own!(RSA_ENCRYPTION, $signature, |key, message, signature| {
            rsa::$verify(key, Hash::$hash, message, signature)
        })
    };
}

static OWN: [VerifiedSignature; 14] = [
    ecdsa!(ECDSA_P256, P256, ECDSA_SHA512, Sha512),
    ecdsa!(ECDSA_P384, P384, ECDSA_SHA512, Sha512),
    ecdsa!(ECDSA_P521, P521, ECDSA_SHA256, Sha256),
    ecdsa!(ECDSA_P521, P521, ECDSA_SHA384, Sha384),
    ecdsa!(ECDSA_P521, P521, ECDSA_SHA512, Sha512),
    rsa!(alg_id::RSA_PKCS1_SHA256, verify_pkcs1, Sha256),
    rsa!(alg_id::RSA_PKCS1_SHA384, verify_pkcs1, Sha384),
    rsa!(alg_id::RSA_PKCS1_SHA512, verify_pkcs1, Sha512),
    rsa!(RSA_SHA256_ABSENT, verify_pkcs1, Sha256),
    rsa!(RSA_SHA384_ABSENT, verify_pkcs1, Sha384),
    rsa!(RSA_SHA512_ABSENT, verify_pkcs1, Sha512),
    rsa!(alg_id::RSA_PSS_SHA256, verify_pss, Sha256),
    rsa!(alg_id::RSA_PSS_SHA384, verify_pss, Sha384),
    rsa!(alg_id::RSA_PSS_SHA512, verify_pss, Sha512),
];

/// These algorithms with a cache of verified signatures.
static REMEMBERING: LazyLock<Vec<CachedVerification>> = LazyLock::new(|| {
    let after = remembering().len();
    let own = OWN.iter().enumerate();
    own.map(|(place, algorithm)| CachedVerification {
        algorithm,
        place: after + place,
        verified: &VERIFIED,
    })
    .collect()
});

/// Verifies the signature over the signed part of a certificate and deducts the cost from the budget. `algorithm`: the
/// contents of its `AlgorithmIdentifier`.
///
/// # Errors
/// Fails if the signature is wrong, is not accepted, or costs too much.
pub(in crate::check) fn verify_certificate(
    key: &PublicKey<'_>,
    algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
    budget: &mut u32,
) -> Result<(), SignatureFlaw> {
    // This authority is not the signer, but has the same name.
    if matches!((family(key.algorithm), family(algorithm)), (Some(one), Some(other)) if one != other) {
        return Err(SignatureFlaw::Wrong);
    }
    if key.is_known_to_go() {
        return Err(SignatureFlaw::NotSupported(key.to_string()));
    }
    let kind = key.kind();
    if matches!(kind, KeyType::Other)
        || matches!(kind, KeyType::Rsa(bits) if !(MIN_RSA_BITS..=rsa::MAX_BITS).contains(&bits))
    {
        return Err(SignatureFlaw::Refused(key.to_string()));
    }
    let fits = |one: &&dyn SignatureVerificationAlgorithm| {
        *one.public_key_alg_id() == *key.algorithm && *one.signature_alg_id() == *algorithm
    };
    let own = REMEMBERING.iter().map(|one| one as &dyn SignatureVerificationAlgorithm);
    let found = match kind {
        KeyType::Rsa(bits) if super::is_small(bits) => own.clone().find(fits),
        KeyType::Rsa(_) => remembering().iter().copied().find(fits),
        _ => remembering().iter().copied().chain(own).find(fits),
    };
    let Some(found) = found else {
        let name = REFUSED.iter().find(|(start, _)| algorithm.starts_with(start));
        let name = name.map_or("an unknown algorithm", |(_, name)| name);
        return Err(SignatureFlaw::Refused(format!("{name}, {key}")));
    };
    *budget = budget
        .checked_sub(cost(kind, algorithm))
        .ok_or(SignatureFlaw::TooExpensive)?;
    found
        .verify_signature(key.bits, message, signature)
        .map_err(|InvalidSignature| SignatureFlaw::Wrong)
}

/// The family to which a key or signature belongs, by the contents of its `AlgorithmIdentifier`. `None` if unknown.
fn family(algorithm: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 6] = [
        (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01", "RSA"),
        (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", "ECDSA"),
        (b"\x06\x07\x2a\x86\x48\xce\x3d\x04", "ECDSA"),
        (b"\x06\x08\x2a\x86\x48\xce\x3d\x04", "ECDSA"),
        (b"\x06\x03\x2b\x65\x70", "Ed25519"),
        (b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03", "ML-DSA"),
    ];
    let known = STARTS.iter().find(|(start, _)| algorithm.starts_with(start));
    known.map(|(_, family)| *family)
}

/// Cost of a verification in units of about 0.1 ms, in addition to the search step.
fn cost(kind: KeyType, algorithm: &[u8]) -> u32 {
    let by_ring = *algorithm != *alg_id::ECDSA_SHA512;
    match kind {
        KeyType::Rsa(bits) if super::is_small(bits) => 2,
        KeyType::Rsa(bits) => u32::try_from(bits / 4096).unwrap_or(u32::MAX),
        KeyType::Ecdsa(Curve::P256) if !by_ring => 3,
        KeyType::Ecdsa(Curve::P384) if !by_ring => 9,
        KeyType::Ecdsa(Curve::P521) => 9,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{BUDGET, OWN, REFUSED, SignatureFlaw, verify_certificate};
    use crate::check::signatures::PublicKey;
    use p256::ecdsa::signature::hazmat::PrehashSigner as _;
    use rustls::pki_types::{AlgorithmIdentifier, alg_id};
    use sha2::{Digest as _, Sha512};

    #[test]
    fn a_signature_is_verified_with_what_its_algorithm_and_key_say_and_is_paid_for() {
        let signer = p521::ecdsa::SigningKey::from_slice(&[1; 66].map(|byte: u8| byte & 1)).unwrap();
        let point = p521::ecdsa::VerifyingKey::from(&signer).to_sec1_point(false);
        let signature: p521::ecdsa::Signature = signer.sign_prehash(&Sha512::digest(b"message")).unwrap();
        let signature = signature.to_der();
        let key = PublicKey {
            algorithm: &alg_id::ECDSA_P521,
            bits: point.as_bytes(),
        };
        let verify = |key: &PublicKey<'_>, algorithm: &[u8], message: &[u8], budget: &mut u32| {
            verify_certificate(key, algorithm, message, signature.as_bytes(), budget)
        };
        let mut budget = BUDGET;
        assert_eq!(verify(&key, &alg_id::ECDSA_SHA512, b"message", &mut budget), Ok(()));
        assert_eq!(
            verify(&key, &alg_id::ECDSA_SHA512, b"massage", &mut budget),
            Err(SignatureFlaw::Wrong)
        );
        assert_eq!(
            verify(&key, &alg_id::ECDSA_SHA384, b"message", &mut budget),
            Err(SignatureFlaw::Wrong)
        );
        assert_eq!(budget, BUDGET - 3 * 9);
        let too_little = verify(&key, &alg_id::ECDSA_SHA512, b"message", &mut 8);
        assert_eq!(too_little, Err(SignatureFlaw::TooExpensive));
        let refused = verify(&key, REFUSED[5].0, b"message", &mut budget);
        assert!(matches!(refused, Err(SignatureFlaw::Refused(_))), "{refused:?}");
        let on_p224 = PublicKey {
            algorithm: b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x21",
            ..key
        };
        let refused = verify(&on_p224, &alg_id::ECDSA_SHA256, b"message", &mut budget);
        assert_eq!(
            refused,
            Err(SignatureFlaw::NotSupported("key of type ECDSA P-224".to_owned()))
        );
        // A signature of a different key type is from another authority with the same name, regardless of this key.
        for key in [&key, &on_p224] {
            let refused = verify(key, &alg_id::RSA_PKCS1_SHA256, b"message", &mut budget);
            assert_eq!(refused, Err(SignatureFlaw::Wrong));
        }
    }

    #[test]
    fn each_algorithm_is_there_once() {
        let of = |key: AlgorithmIdentifier, signature: AlgorithmIdentifier| {
            OWN.iter()
                .filter(|own| *own.key == *key && *own.signature == *signature)
                .count()
        };
        for own in &OWN {
            assert_eq!(of(own.key, own.signature), 1, "{own:?}");
        }
    }
}
