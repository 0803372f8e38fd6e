//! Verification of signatures in handshakes (`handshake`) and in certificate chains.
//!
//! Signatures in chains are cached, because most probes receive a chain that was received before, and a valid signature
//! stays valid. All other checks of a chain (dates, names, uses, constraints) run for each handshake.
//!
//! ring verifies the common algorithms. This module adds those that Go supports beyond that (P-521, SHA-512 with P-256
//! and P-384, RSA below 2048 bits), with the curves of `RustCrypto` and a single exponentiation for RSA.

mod chain;
mod der;
mod ecdsa;
mod handshake;
mod hash;
mod key;
mod rsa;

pub(super) use chain::{BUDGET, SignatureFlaw, verify_certificate};
pub(super) use handshake::{HandshakeSignatureFlaw, OFFERED, UNVERIFIED, verify_handshake};
pub(super) use key::PublicKey;

use parking_lot::Mutex;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Maximum number of cached signatures, about 1 MB.
const MOST: usize = 16_384;

/// Minimum size of an RSA key in bits. Smaller keys are insecure. Go has had the same limit since 1.24.
const MIN_RSA_BITS: usize = 1024;

/// Whether an RSA key of this size is too small for ring, which counts whole bytes.
const fn is_small(bits: usize) -> bool {
    bits.div_ceil(8) < 2048 / 8
}

/// ring's algorithms. The provider is built once.
fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
        LazyLock::new(|| ring::default_provider().signature_verification_algorithms);
    &ALGORITHMS
}

/// The algorithms with a cache of verified signatures. The cache is only for chains, because each handshake signature
/// is unique.
pub(super) fn remembering() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static EACH: LazyLock<Vec<CachedVerification>> = LazyLock::new(|| {
        let all = algorithms().all.iter().enumerate();
        all.map(|(place, algorithm)| CachedVerification {
            algorithm: *algorithm,
            place,
            verified: &VERIFIED,
        })
        .collect()
    });
    static ALL: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> = LazyLock::new(|| {
        EACH.iter()
            .map(|one| one as &dyn SignatureVerificationAlgorithm)
            .collect()
    });
    &ALL
}

/// Verified signatures, by the digest of all inputs. When there are too many new entries, the old ones are dropped.
#[derive(Debug, Default)]
struct Verified {
    new: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Verified {
    fn knows(&mut self, digest: &[u8; 32]) -> bool {
        if self.old.remove(digest) {
            self.learn(*digest);
        }
        self.new.contains(digest)
    }

    fn learn(&mut self, digest: [u8; 32]) {
        if self.new.len() >= MOST / 2 {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(digest);
    }
}

static VERIFIED: LazyLock<Mutex<Verified>> = LazyLock::new(Mutex::default);

/// An algorithm that caches valid signatures.
#[derive(Debug)]
struct CachedVerification {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    /// Index of the algorithm.
    place: usize,
    verified: &'static Mutex<Verified>,
}

impl SignatureVerificationAlgorithm for CachedVerification {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let mut digest = Sha256::new();
        digest.update(self.place.to_le_bytes());
        for part in [public_key, message, signature] {
            // Includes the length, so that different inputs cannot form the same bytes.
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        let digest = digest.finalize().into();
        let verified = || self.verified.lock();
        if verified().knows(&digest) {
            return Ok(());
        }
        self.algorithm.verify_signature(public_key, message, signature)?;
        verified().learn(digest);
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.algorithm.fips()
    }
}

#[cfg(test)]
mod tests {
    use super::{CachedVerification, MOST, Verified};
    use parking_lot::Mutex;
    use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Accepts every signature that is not empty, and counts the calls.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(&self, _: &[u8], _: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if signature.is_empty() {
                Err(InvalidSignature)
            } else {
                Ok(())
            }
        }
        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_P256
        }
        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_SHA256
        }
    }

    #[test]
    fn what_was_found_good_is_verified_once() {
        static COUNTING: Counting = Counting(AtomicUsize::new(0));
        static VERIFIED: LazyLock<Mutex<Verified>> = LazyLock::new(Mutex::default);
        let of = |place| CachedVerification {
            algorithm: &COUNTING,
            place,
            verified: &VERIFIED,
        };
        let asked = || COUNTING.0.swap(0, Ordering::Relaxed);
        assert!(of(0).verify_signature(b"key", b"message", b"good").is_ok());
        assert!(of(0).verify_signature(b"key", b"message", b"good").is_ok());
        assert_eq!(asked(), 1);
        // Each differs in one input. The last one differs only in the boundaries between its parts.
        assert!(of(1).verify_signature(b"key", b"message", b"good").is_ok());
        assert!(of(0).verify_signature(b"kex", b"message", b"good").is_ok());
        assert!(of(0).verify_signature(b"key", b"massage", b"good").is_ok());
        assert!(of(0).verify_signature(b"key", b"message", b"food").is_ok());
        assert!(of(0).verify_signature(b"ke", b"ymessage", b"good").is_ok());
        assert_eq!(asked(), 5);
        assert!(of(0).verify_signature(b"key", b"message", b"").is_err());
        assert!(of(0).verify_signature(b"key", b"message", b"").is_err());
        assert_eq!(asked(), 2);
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_what_is_in_use_stays() {
        let mut verified = Verified::default();
        for number in 0..5 * MOST {
            let mut digest = [0; 32];
            assert!(number == 0 || verified.knows(&digest), "{number}");
            digest[..8].copy_from_slice(&number.to_le_bytes());
            verified.learn(digest);
            assert!(verified.new.len() + verified.old.len() <= MOST);
        }
        assert!(!verified.knows(&[1; 32]));
    }
}
