//! Key exchange over P-521 (RFC 8446 section 4.2.8.2), which ring does not support. Go offers it, and a server with a
//! P-521 certificate uses TLS 1.2 only with clients that offer this curve (RFC 8422 section 5.1).

use p521::elliptic_curve::common::Generate as _;
use p521::elliptic_curve::sec1::ToSec1Point as _;
use p521::{PublicKey, ecdh::EphemeralSecret};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

/// The group `secp521r1`.
#[derive(Debug)]
pub(super) struct P521;

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = EphemeralSecret::try_generate().map_err(|_| GetRandomFailed)?;
        let own = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Box::new(Exchange { secret, own }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        matches!(version, ProtocolVersion::TLSv1_2 | ProtocolVersion::TLSv1_3)
    }
}

/// A pending key exchange.
struct Exchange {
    secret: EphemeralSecret,
    /// The exporter's public point, uncompressed.
    own: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        const UNCOMPRESSED: u8 = 4;
        let theirs = PublicKey::from_sec1_bytes(theirs)
            .ok()
            .filter(|_| theirs.first() == Some(&UNCOMPRESSED));
        let theirs = theirs.ok_or(PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&theirs);
        Ok(SharedSecret::from(shared.raw_secret_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.own
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

#[cfg(test)]
mod tests {
    use super::P521;
    use rustls::crypto::SupportedKxGroup as _;

    #[test]
    fn both_sides_come_to_one_secret_and_odd_points_are_refused() {
        let (one, other) = (P521.start().unwrap(), P521.start().unwrap());
        let (for_one, for_other) = (other.pub_key().to_vec(), one.pub_key().to_vec());
        assert_eq!(for_one.len(), 1 + 2 * 66);
        let (one, other) = (one.complete(&for_one).unwrap(), other.complete(&for_other).unwrap());
        assert_eq!(one.secret_bytes(), other.secret_bytes());
        assert_eq!(one.secret_bytes().len(), 66);
        let mut not_on_the_curve = for_one.clone();
        not_on_the_curve[132] ^= 1;
        let compressed = [&[2 + (for_one[132] & 1)], &for_one[1..67]].concat();
        for wrong in [&[][..], &[0], &not_on_the_curve, &compressed] {
            assert!(P521.start().unwrap().complete(wrong).is_err());
        }
    }
}
