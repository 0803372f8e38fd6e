//! ECDSA signatures of the combinations that ring does not know: P-256 and P-384 with SHA-512 or SHA-1, and all of P-521.

use super::hash::Hash;
use super::key::Curve;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rustls::pki_types::InvalidSignature;

/// Verifies a DER signature over a message by an uncompressed point (SEC 1 section 2.3.4).
///
/// # Errors
/// When the signature is not that of this key over this message, or the key is not a point of the curve.
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
    // A digest that is shorter than the curve's order is the same number with zeros before it. The crate refuses one of less
    // than half the length. Of a longer one, it takes the first bits.
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
