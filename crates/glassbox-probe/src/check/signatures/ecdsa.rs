//! ECDSA signatures that ring does not support: P-256 and P-384 with SHA-512 or SHA-1, and all with P-521.

use super::hash::Hash;
use super::key::Curve;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rustls::pki_types::InvalidSignature;

/// Verifies a DER signature over a message with an uncompressed point (SEC 1 section 2.3.4).
///
/// # Errors
/// Fails if the signature was not made by this key for this message, or the key is not a point of the curve.
pub(super) fn verify(
    curve: Curve,
    key: &[u8],
    hash: Hash,
    message: &[u8],
    signature: &[u8],
) -> Result<(), InvalidSignature> {
    const UNCOMPRESSED: u8 = 4;
    if key.first() != Some(&UNCOMPRESSED) {
        return Err(InvalidSignature);
    }
    let digest = hash.digest(message);
    // A digest that is shorter than the curve's order is the same number with leading zeros. The crate rejects a digest
    // of less than half the length, and uses the first bits of a longer one.
    let padded = |length: usize| [vec![0; length.saturating_sub(digest.len())], digest.clone()].concat();
    macro_rules! verify {
        ($curve:ident, $length:literal) => {{
            use $curve::ecdsa::{Signature, VerifyingKey};
            VerifyingKey::from_sec1_bytes(key).and_then(|key| {
                let signature = Signature::from_der(signature)?;
                key.verify_prehash(&padded($length), &signature)
            })
        }};
    }
    let verified = match curve {
        Curve::P256 => verify!(p256, 32),
        Curve::P384 => verify!(p384, 48),
        Curve::P521 => verify!(p521, 66),
    };
    verified.map_err(|_| InvalidSignature)
}

#[cfg(test)]
mod tests {
    use super::verify;
    use crate::check::signatures::hash::Hash;
    use crate::check::signatures::key::Curve;
    use p256::ecdsa::signature::hazmat::PrehashSigner as _;

    macro_rules! signed {
        ($curve:ident, $length:literal, $digest:expr) => {{
            let mut secret = [7; $length];
            secret[0] = 0;
            let key = $curve::ecdsa::SigningKey::from_slice(&secret).unwrap();
            let point = $curve::ecdsa::VerifyingKey::from(&key).to_sec1_point(false);
            let padded = [vec![0; $length - $digest.len().min($length)], $digest].concat();
            let signature: $curve::ecdsa::Signature = key.sign_prehash(&padded).unwrap();
            (point.as_bytes().to_vec(), signature.to_der().as_bytes().to_vec())
        }};
    }

    #[test]
    fn every_curve_goes_with_every_hash_and_no_bit_may_differ() {
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            for curve in [Curve::P256, Curve::P384, Curve::P521] {
                let digest = hash.digest(b"message");
                let (key, signature) = match curve {
                    Curve::P256 => signed!(p256, 32, digest),
                    Curve::P384 => signed!(p384, 48, digest),
                    Curve::P521 => signed!(p521, 66, digest),
                };
                let verify =
                    |key: &[u8], message: &[u8], signature: &[u8]| verify(curve, key, hash, message, signature).is_ok();
                assert!(verify(&key, b"message", &signature), "{curve:?} {hash:?}");
                assert!(!verify(&key, b"massage", &signature));
                let mut wrong = signature.clone();
                *wrong.last_mut().unwrap() ^= 1;
                assert!(!verify(&key, b"message", &wrong));
                let longer = [&signature[..], &[0]].concat();
                let mut off = key.clone();
                *off.last_mut().unwrap() ^= 1;
                let compressed = [&[2 + (key.last().unwrap() & 1)], &key[1..=key.len() / 2]].concat();
                assert!(!verify(&key, b"message", &longer) && !verify(&key, b"message", b""));
                assert!(!verify(&off, b"message", &signature) && !verify(&compressed, b"message", &signature));
            }
        }
    }
}
