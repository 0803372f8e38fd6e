//! RSA signatures (RFC 8017) with keys that ring rejects: below 2048 bits, or with SHA-1.
//!
//! A verification only uses public numbers, so it does not need constant time. This module needs only one
//! exponentiation. It therefore does not use the crate `rsa`, which also contains key generation and private keys, and
//! the advisory RUSTSEC-2023-0071 for them.

use super::der::{self, INTEGER, SEQUENCE};
use super::hash::Hash;
use num_bigint::BigUint;
use rustls::pki_types::InvalidSignature;

/// Maximum public exponent, as in ring. Larger exponents take longer and are not in use.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

/// Maximum size of the modulus in bits, as in ring and Go.
pub(super) const MAX_BITS: usize = 8192;

/// An unsigned integer without leading zeros.
fn unsigned<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = der::expect(input, INTEGER)?;
    // A first bit of 1 indicates a negative number.
    if *bytes.first()? >= 0x80 {
        return None;
    }
    Some(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..])
}

/// The modulus and the exponent of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn numbers(mut key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut key = der::expect(&mut key, SEQUENCE)?;
    Some((unsigned(&mut key)?, unsigned(&mut key)?))
}

/// Size of the modulus in bits.
pub(super) fn size(key: &[u8]) -> Option<usize> {
    let (modulus, _) = numbers(key)?;
    let unused = modulus.first()?.leading_zeros();
    Some(modulus.len() * 8 - usize::try_from(unused).ok()?)
}

/// The encoded message in a signature (RFC 8017 section 5.2.2), as long as the modulus.
fn encoded_message(key: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (modulus, exponent) = numbers(key)?;
    let exponent = exponent
        .iter()
        .try_fold(0_u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte)))?;
    let usable = size(key)? <= MAX_BITS && modulus.last()? % 2 == 1 && exponent % 2 == 1;
    if !usable || !(3..=MAX_EXPONENT).contains(&exponent) || signature.len() != modulus.len() {
        return None;
    }
    let length = modulus.len();
    let (modulus, signature) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(signature));
    if signature >= modulus {
        return None;
    }
    let message = signature.modpow(&exponent.into(), &modulus).to_bytes_be();
    let mut encoded = vec![0; length];
    encoded[length - message.len()..].copy_from_slice(&message);
    Some(encoded)
}

/// Verifies RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.2): builds the expected encoded message and compares all of it.
///
/// # Errors
/// Fails if the signature was not made by this key for this message, or the key cannot be used.
pub(super) fn verify_pkcs1(key: &[u8], hash: Hash, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    let encoded = encoded_message(key, signature).ok_or(InvalidSignature)?;
    let info = [hash.digest_info(), &hash.digest(message)].concat();
    // Two bytes before the padding, at least eight bytes of padding, and one byte after it.
    let padding = encoded
        .len()
        .checked_sub(info.len() + 3)
        .filter(|padding| *padding >= 8);
    let padding = vec![0xff; padding.ok_or(InvalidSignature)?];
    let right = [&[0, 1], &padding[..], &[0], &info[..]].concat();
    if encoded == right {
        Ok(())
    } else {
        Err(InvalidSignature)
    }
}

/// Verifies RSASSA-PSS with MGF1 over the same hash and a salt of the same length (RFC 8017 section 8.1.2).
///
/// # Errors
/// Fails if the signature was not made by this key for this message, or the key cannot be used.
pub(super) fn verify_pss(key: &[u8], hash: Hash, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    let encoded = encoded_message(key, signature).ok_or(InvalidSignature)?;
    let bits = size(key).ok_or(InvalidSignature)? - 1;
    if is_pss_encoding(&encoded, bits, hash, message) {
        Ok(())
    } else {
        Err(InvalidSignature)
    }
}

/// EMSA-PSS-VERIFY (RFC 8017 section 9.1.2). `bits`: number of bits in use in the encoded message.
fn is_pss_encoding(encoded: &[u8], bits: usize, hash: Hash, message: &[u8]) -> bool {
    let (unused, encoded) = encoded.split_at(encoded.len() - bits.div_ceil(8));
    if unused.iter().any(|byte| *byte != 0) {
        return false;
    }
    let (salted, hash_length) = (hash.digest(message), hash.length());
    let Some(masked_length) = encoded
        .len()
        .checked_sub(hash_length + 1)
        .filter(|length| *length > hash_length)
    else {
        return false;
    };
    let (masked, rest) = encoded.split_at(masked_length);
    let (digest, trailer) = rest.split_at(hash_length);
    let first_bits = 0xff >> (8 * encoded.len() - bits);
    if trailer != [0xbc] || masked[0] & !first_bits != 0 {
        return false;
    }
    let mask = mgf1(digest, masked_length, hash);
    let mut block: Vec<u8> = masked.iter().zip(mask).map(|(masked, mask)| masked ^ mask).collect();
    block[0] &= first_bits;
    let (padding, salt) = block.split_at(masked_length - hash_length);
    let Some((1, zeros)) = padding.split_last() else {
        return false;
    };
    zeros.iter().all(|byte| *byte == 0) && hash.digest(&[&[0; 8], &salted[..], salt].concat()) == digest
}

/// The mask generation function MGF1 (RFC 8017 appendix B.2.1).
fn mgf1(seed: &[u8], length: usize, hash: Hash) -> Vec<u8> {
    let blocks = (0_u32..).flat_map(|counter| hash.digest(&[seed, &counter.to_be_bytes()].concat()));
    blocks.take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::{MAX_EXPONENT, is_pss_encoding, size, verify_pkcs1, verify_pss};
    use crate::check::signatures::hash::Hash;
    use rustls::pki_types::InvalidSignature;

    const FIXTURES: &str = include_str!("../../../fixtures/signatures/rsa.txt");

    type Verify = fn(&[u8], Hash, &[u8], &[u8]) -> Result<(), InvalidSignature>;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn hash(name: &str) -> Hash {
        match name {
            "sha1" => Hash::Sha1,
            "sha256" => Hash::Sha256,
            "sha384" => Hash::Sha384,
            _ => Hash::Sha512,
        }
    }

    #[test]
    fn what_openssl_signed_is_verified_and_nothing_else() {
        let (mut key, mut seen) = (Vec::new(), 0);
        for line in FIXTURES.lines().filter(|line| !line.starts_with('#')) {
            let [kind, name, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            if kind == "key" {
                key = bytes(hex);
                assert_eq!(size(&key), Some(name.parse().unwrap()));
                continue;
            }
            let (right, other): (Verify, Verify) = match kind {
                "pkcs1" => (verify_pkcs1, verify_pss),
                _ => (verify_pss, verify_pkcs1),
            };
            let signature = bytes(hex);
            assert!(right(&key, hash(name), b"message", &signature).is_ok(), "{kind} {name}");
            assert!(right(&key, hash(name), b"massage", &signature).is_err());
            assert!(other(&key, hash(name), b"message", &signature).is_err());
            let another = if name == "sha256" { Hash::Sha384 } else { Hash::Sha256 };
            assert!(right(&key, another, b"message", &signature).is_err());
            for place in [0, signature.len() / 2, signature.len() - 1] {
                let mut wrong = signature.clone();
                wrong[place] ^= 1;
                assert!(
                    right(&key, hash(name), b"message", &wrong).is_err(),
                    "{kind} {name} {place}"
                );
            }
            for length in [&signature[1..], &[&[0], &signature[..]].concat(), &[]] {
                assert!(right(&key, hash(name), b"message", length).is_err());
            }
            seen += 1;
        }
        assert_eq!(seen, 21);
    }

    #[test]
    fn keys_that_make_no_sense_are_not_used() {
        // A sequence of two integers.
        let key = |modulus: &[u8], exponent: &[u8]| {
            let integer = |bytes: &[u8]| {
                [
                    &[2, 0x82],
                    &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..],
                    bytes,
                ]
                .concat()
            };
            let both = [integer(modulus), integer(exponent)].concat();
            [
                &[0x30, 0x82],
                &u16::try_from(both.len()).unwrap().to_be_bytes()[..],
                &both,
            ]
            .concat()
        };
        let odd = [&[0x7f][..], &[0xff; 127]].concat();
        let even = [&odd[..127], &[0xfe]].concat();
        let signature = [0; 128];
        let verify = |key: &[u8]| verify_pkcs1(key, Hash::Sha256, b"message", &signature).is_err();
        let far = (MAX_EXPONENT + 2).to_be_bytes();
        for (modulus, exponent) in [
            (&odd, &[1][..]),
            (&odd, &[4]),
            (&odd, &[]),
            (&odd, &far),
            (&odd, &[0xff; 9]),
            (&even, &[3]),
        ] {
            assert!(verify(&key(modulus, exponent)));
        }
        assert_eq!(size(&key(&odd, &[3])), Some(1023));
        assert_eq!(size(&key(&[0, 0, 1], &[3])), Some(1));
        for broken in [
            &key(&[0], &[3])[..],
            &key(&[0xff], &[3]),
            &key(&odd, &[3])[..100],
            &[],
            &[0x30, 0],
        ] {
            assert_eq!(size(broken), None);
            assert!(verify(broken));
        }
    }

    #[test]
    fn an_encoding_that_is_too_short_is_refused() {
        for length in 1..66 {
            assert!(
                !is_pss_encoding(&vec![0xbc; length], 8 * length - 1, Hash::Sha256, b"message"),
                "{length}"
            );
        }
    }
}
