//! The signatures in chains of certificates, each verified once: most probes are shown a chain that was shown before, and what an
//! authority has signed stays signed. All else about a chain (dates, names, uses, constraints) is judged with each handshake.

use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// How many signatures are remembered, in 1 MB. With one more all are forgotten, and verified anew as they come.
const MOST: usize = 16_384;

/// The algorithms, each of which remembers what it has verified. They are for chains: what is signed for one handshake comes once.
pub(super) fn remembering() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static EACH: LazyLock<Vec<Remembering>> = LazyLock::new(|| {
        let all = super::trust::algorithms().all.iter().enumerate();
        all.map(|(place, algorithm)| Remembering {
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

/// What was verified, by the digest of all that went into it.
type Verified = Mutex<HashSet<[u8; 32]>>;

static VERIFIED: LazyLock<Verified> = LazyLock::new(Verified::default);

/// An algorithm that verifies nothing twice. Only what was found good is remembered.
#[derive(Debug)]
struct Remembering {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    /// Which of the algorithms it is.
    place: usize,
    verified: &'static Verified,
}

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let mut digest = Sha256::new();
        digest.update(self.place.to_le_bytes());
        for part in [public_key, message, signature] {
            // With its length, or one part could borrow from the next.
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        let digest = digest.finalize().into();
        let verified = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified().contains(&digest) {
            return Ok(());
        }
        self.algorithm.verify_signature(public_key, message, signature)?;
        let mut verified = verified();
        if verified.len() >= MOST {
            verified.clear();
        }
        verified.insert(digest);
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
    use super::{MOST, Remembering, Verified};
    use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Takes every signature but an empty one, and counts how often it was asked.
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
        static VERIFIED: LazyLock<Verified> = LazyLock::new(Verified::default);
        let of = |place| Remembering {
            algorithm: &COUNTING,
            place,
            verified: &VERIFIED,
        };
        let asked = || COUNTING.0.swap(0, Ordering::Relaxed);
        assert!(of(0).verify_signature(b"key", b"message", b"good").is_ok());
        assert!(of(0).verify_signature(b"key", b"message", b"good").is_ok());
        assert_eq!(asked(), 1);
        // Each differs in one thing, the last in where its parts end.
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
    fn what_is_remembered_has_a_bound() {
        static COUNTING: Counting = Counting(AtomicUsize::new(0));
        static VERIFIED: LazyLock<Verified> = LazyLock::new(Verified::default);
        let one = Remembering {
            algorithm: &COUNTING,
            place: 0,
            verified: &VERIFIED,
        };
        for message in 0..=MOST {
            assert!(one.verify_signature(b"key", &message.to_le_bytes(), b"good").is_ok());
        }
        assert_eq!(VERIFIED.lock().unwrap().len(), 1);
    }
}
