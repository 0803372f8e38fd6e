//! Serialises a TLS `ClientHello` with any versions, cipher suites and groups (RFC 5246 section 7.4.1.2, RFC 8446
//! section 4.1.2).

use super::Version;
use glassbox_verdict::host_port::Host;

/// Random values of a client: the `random` of the hello, its session ID, and an X25519 public key, for which any 32
/// bytes are valid.
#[derive(Clone, Copy, Debug)]
pub struct Randomness(pub [u8; 96]);

/// The offer in a `ClientHello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloOffer {
    /// Minimum version.
    pub min: Version,
    /// Maximum version.
    pub max: Version,
    /// Cipher suites, in order of preference.
    pub suites: Vec<u16>,
    /// Key exchange groups, in order of preference.
    pub groups: Vec<u16>,
    /// Signature schemes, for TLS 1.2 and later.
    pub signatures: Vec<u16>,
    /// Whether to pad a hello of 256 to 511 bytes (RFC 7685). Some load balancers hang on this size.
    pub padded: bool,
}

impl HelloOffer {
    /// The hello as one record. `name` is sent as SNI if it is a DNS name and not an address. `alpn` is sent if it is
    /// not empty.
    pub fn client_hello(&self, name: &str, alpn: &[&[u8]], random: &Randomness) -> Vec<u8> {
        let mut body = Vec::with_capacity(600);
        body.extend(self.max.min(Version::Tls12).wire().to_be_bytes());
        body.extend(&random.0[..32]);
        counted8(&mut body, &random.0[32..64]);
        counted16(&mut body, |out| numbers(out, &self.suites));
        counted8(&mut body, &[0]);
        counted16(&mut body, |out| self.extensions(out, name, alpn, &random.0[64..]));
        let mut message = vec![1, 0];
        counted16(&mut message, |out| out.extend(&body));
        // Every server accepts this version in the first record.
        let mut record = vec![22, 3, 1];
        counted16(&mut record, |out| out.extend(&message));
        record
    }

    fn extensions(&self, out: &mut Vec<u8>, name: &str, alpn: &[&[u8]], key: &[u8]) {
        let name = name.trim_end_matches('.');
        if !name.is_empty() && Host::new(name).address().is_none() {
            extension(out, 0, |out| {
                counted16(out, |out| {
                    out.push(0);
                    counted16(out, |out| out.extend(name.as_bytes()));
                });
            });
        }
        extension(out, 11, |out| out.extend([1, 0]));
        extension(out, 10, |out| counted16(out, |out| numbers(out, &self.groups)));
        // An empty renegotiation_info indicates a first handshake (RFC 5746).
        extension(out, 0xFF01, |out| out.push(0));
        // extended_master_secret (RFC 7627).
        extension(out, 23, |_| ());
        if self.max >= Version::Tls12 {
            extension(out, 13, |out| counted16(out, |out| numbers(out, &self.signatures)));
        }
        if !alpn.is_empty() {
            extension(out, 16, |out| {
                counted16(out, |out| alpn.iter().for_each(|protocol| counted8(out, protocol)));
            });
        }
        let versions = [Version::Tls13, Version::Tls12, Version::Tls11, Version::Tls10];
        let versions = versions
            .into_iter()
            .filter(|version| (self.min..=self.max).contains(version));
        let versions: Vec<u8> = versions.flat_map(|version| version.wire().to_be_bytes()).collect();
        extension(out, 43, |out| counted8(out, &versions));
        if self.max >= Version::Tls13 {
            extension(out, 51, |out| {
                counted16(out, |out| {
                    numbers(out, &[29]);
                    counted16(out, |out| out.extend(key));
                });
            });
        }
        if self.padded {
            pad(out);
        }
    }
}

/// Pads the hello to more than 511 bytes. The bytes before the extensions are not counted and make it even longer.
fn pad(out: &mut Vec<u8>) {
    const MARGIN: usize = 512;
    if (60..MARGIN).contains(&out.len()) {
        let missing = MARGIN - out.len();
        extension(out, 21, |out| out.resize(out.len() + missing, 0));
    }
}

fn numbers(out: &mut Vec<u8>, numbers: &[u16]) {
    out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}

fn extension(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend(number.to_be_bytes());
    counted16(out, write);
}

/// Writes bytes after their length. The length always fits: the bytes are lists of this module and a name that DNS
/// allows. Longer data is truncated.
fn counted8(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend(&bytes[..length.into()]);
}

fn counted16(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0, 0]);
    write(out);
    let length = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    out.truncate(at + 2 + usize::from(length));
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::{HelloOffer, Randomness};
    use crate::check::tls_inspection::{Version, everything, of_blackbox_exporter};

    const RANDOM: Randomness = Randomness([7; 96]);

    type Extensions = Vec<(u16, Vec<u8>)>;

    /// The parts of a hello: version, suites, and extensions.
    fn read(record: &[u8]) -> (u16, Vec<u16>, Extensions) {
        let two = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
        assert_eq!((&record[..3], usize::from(two(3))), (&[22, 3, 1][..], record.len() - 5));
        assert_eq!((&record[5..7], usize::from(two(7))), (&[1, 0][..], record.len() - 9));
        let session = 43 + 1 + usize::from(record[43]);
        let (from, length) = (session + 2, usize::from(two(session)));
        let suites = (from..from + length).step_by(2).map(two).collect();
        let mut at = from + length;
        assert_eq!(record[at..at + 2], [1, 0]);
        at += 4;
        let mut extensions = Vec::new();
        while at < record.len() {
            let length = usize::from(two(at + 2));
            extensions.push((two(at), record[at + 4..at + 4 + length].to_vec()));
            at += 4 + length;
        }
        (two(9), suites, extensions)
    }

    fn extension(hello: &[u8], number: u16) -> Option<Vec<u8>> {
        let (_, _, extensions) = read(hello);
        extensions
            .into_iter()
            .find(|(known, _)| *known == number)
            .map(|(_, bytes)| bytes)
    }

    #[test]
    fn it_offers_what_it_is_to_offer() {
        let hello = everything().client_hello("app.example", &[b"h2", b"http/1.1"], &RANDOM);
        let (version, suites, _) = read(&hello);
        assert_eq!(version, 0x0303);
        for suite in [0xC02B, 0x1301, 0x002F, 0x000A, 0x0005, 0x0033, 0xC014] {
            assert!(suites.contains(&suite), "{suite:04x}");
        }
        assert_eq!(extension(&hello, 0).unwrap(), b"\x00\x0e\x00\x00\x0bapp.example");
        assert_eq!(extension(&hello, 16).unwrap(), b"\x00\x0c\x02h2\x08http/1.1");
        assert_eq!(extension(&hello, 43).unwrap(), b"\x08\x03\x04\x03\x03\x03\x02\x03\x01");
        assert_eq!(extension(&hello, 51).unwrap()[..6], [0, 36, 0, 29, 0, 32]);
        assert!(!(256..512).contains(&hello.len()));
    }

    #[test]
    fn no_address_is_sent_as_a_name() {
        for name in ["192.0.2.1", "[2001:db8::1]", "2001:db8::1", ""] {
            assert_eq!(
                extension(&everything().client_hello(name, &[], &RANDOM), 0),
                None,
                "{name}"
            );
        }
    }

    /// The observed offer of `blackbox_exporter` 0.28 (Go 1.27).
    #[test]
    fn it_offers_what_blackbox_exporter_does() {
        let of = |min, max, grpc| read(&of_blackbox_exporter(min, max, grpc).client_hello("localhost", &[], &RANDOM));
        let aead = [0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8];
        let cbc = [0xC009, 0xC013, 0xC00A, 0xC014];
        let tls13 = [0x1301, 0x1302, 0x1303];
        let (version, suites, extensions) = of(Version::Tls12, Version::Tls13, false);
        assert_eq!((version, suites), (0x0303, [&aead[..], &cbc, &tls13].concat()));
        let groups = extensions.iter().find(|(number, _)| *number == 10).unwrap();
        assert_eq!(groups.1, [0, 8, 0, 29, 0, 23, 0, 24, 0, 25]);
        assert_eq!(of(Version::Tls12, Version::Tls12, false).1, [&aead[..], &cbc].concat());
        assert_eq!(of(Version::Tls13, Version::Tls13, false).1, tls13);
        let (version, suites, extensions) = of(Version::Tls10, Version::Tls11, false);
        assert_eq!((version, suites), (0x0302, cbc.to_vec()));
        assert!(extensions.iter().all(|(number, _)| *number != 13 && *number != 51));
        // gRPC's library offers no suites with CBC (RFC 9113 appendix A).
        assert_eq!(of(Version::Tls10, Version::Tls13, true).1, [&aead[..], &tls13].concat());
    }

    #[test]
    fn a_name_that_is_too_long_is_cut() {
        let offer = HelloOffer {
            suites: vec![1],
            ..everything()
        };
        let hello = offer.client_hello("app.example", &[&[b'x'; 300]], &RANDOM);
        assert_eq!(extension(&hello, 16).unwrap().len(), 2 + 1 + 255);
    }
}
