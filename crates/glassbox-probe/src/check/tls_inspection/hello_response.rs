//! Parses a server's response to a `ClientHello`: the chosen version, suite and group, or an alert. Accepts fragmented
//! records, and messages that span several records.

use super::suites::{alert_name, group_name, suite_name};

/// Maximum size in bytes of a response and of each message in it. Certificates are the largest messages.
const LONGEST: usize = 256 * 1024;
/// Maximum size of a record (RFC 5246 section 6.2.3).
const LONGEST_RECORD: usize = 16_384 + 2048;
/// The `random` of a `ServerHello` that is a `HelloRetryRequest` (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11,
    0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// The server's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerChoice {
    /// Version number on the wire, such as 0x0303 for TLS 1.2.
    pub version: u16,
    /// The cipher suite.
    pub suite: u16,
    /// The group of the key exchange, if it uses one.
    pub group: Option<u16>,
    /// The signature scheme of the key exchange, in TLS 1.2.
    pub signature: Option<u16>,
    /// Whether the server requested a client certificate, below TLS 1.3.
    pub client_cert_asked: bool,
}

impl ServerChoice {
    /// The name of the version.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            0x0300 => "SSL 3.0",
            0x0301 => "TLS 1.0",
            0x0302 => "TLS 1.1",
            0x0303 => "TLS 1.2",
            0x0304 => "TLS 1.3",
            _ => "an unknown version",
        }
    }

    /// The choice as text: `TLS 1.0, TLS_RSA_WITH_AES_128_CBC_SHA`, and the group unless it is a common one.
    pub fn words(&self) -> String {
        let usual = |group: &u16| [29, 23, 24].contains(group);
        let group = self.group.filter(|group| !usual(group)).map(group_name);
        let group = group.map_or_else(String::new, |group| format!(", key exchange in {group}"));
        format!("{}, {}{group}", self.version_name(), suite_name(self.suite))
    }
}

/// A server's response to a `ClientHello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloResponse {
    /// A choice.
    Chosen(ServerChoice),
    /// An alert that ends the handshake.
    Alert(u8),
    /// The connection was closed.
    Closed,
    /// Data that is not TLS.
    NotTls,
}

impl HelloResponse {
    /// The response as text.
    pub fn words(&self) -> String {
        match self {
            Self::Chosen(chosen) => chosen.words(),
            Self::Alert(alert) => format!("the alert {}", alert_name(*alert)),
            Self::Closed => "a closed connection".to_owned(),
            Self::NotTls => "bytes that are not TLS".to_owned(),
        }
    }
}

/// Incremental parser.
#[derive(Debug, Default)]
pub struct Reader {
    raw: Vec<u8>,
    messages: Vec<u8>,
    taken: usize,
    chosen: Option<ServerChoice>,
    any: bool,
}

impl Reader {
    /// Adds received bytes. Returns the response as soon as it is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<HelloResponse> {
        self.any |= !bytes.is_empty();
        self.raw.extend(bytes);
        self.taken += bytes.len();
        if self.taken > LONGEST {
            return Some(self.end());
        }
        while let Some(header) = self.raw.first_chunk::<5>() {
            let [kind, major, _, high, low] = *header;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if !(20..=23).contains(&kind) || major != 3 || length > LONGEST_RECORD {
                return Some(self.end());
            }
            if self.raw.len() < 5 + length {
                return None;
            }
            let rest = self.raw.split_off(5 + length);
            let record = std::mem::replace(&mut self.raw, rest);
            if let Some(answer) = self.record(kind, &record[5..]) {
                return Some(answer);
            }
        }
        // These bytes cannot be the start of a record.
        let like =
            self.raw.first().is_none_or(|kind| (20..=23).contains(kind)) && self.raw.get(1).is_none_or(|v| *v == 3);
        if like { None } else { Some(self.end()) }
    }

    /// The response if no more bytes arrive.
    pub fn end(&self) -> HelloResponse {
        match (self.chosen, self.any) {
            (Some(chosen), _) => HelloResponse::Chosen(chosen),
            (None, true) => HelloResponse::NotTls,
            (None, false) => HelloResponse::Closed,
        }
    }

    fn record(&mut self, kind: u8, payload: &[u8]) -> Option<HelloResponse> {
        match (kind, payload) {
            // A warning may precede the choice, for example about an unknown name.
            (21, [1, alert, ..]) if *alert != 0 => None,
            (21, [_, alert, ..]) => Some(match self.chosen {
                Some(chosen) => HelloResponse::Chosen(chosen),
                None => HelloResponse::Alert(*alert),
            }),
            (22, _) => {
                self.messages.extend(payload);
                self.read_messages()
            }
            // No other record type may occur before the choice is complete.
            _ => Some(self.end()),
        }
    }

    fn read_messages(&mut self) -> Option<HelloResponse> {
        while let Some([kind, a, b, c]) = self.messages.first_chunk::<4>().copied() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if length > LONGEST {
                return Some(self.end());
            }
            if self.messages.len() < 4 + length {
                return None;
            }
            let rest = self.messages.split_off(4 + length);
            let message = std::mem::replace(&mut self.messages, rest);
            if self.message(kind, &message[4..]) {
                return Some(self.end());
            }
        }
        None
    }

    /// Processes one message. Returns whether it was the last relevant one.
    fn message(&mut self, kind: u8, body: &[u8]) -> bool {
        match (kind, &mut self.chosen) {
            (2, chosen @ None) => {
                *chosen = server_hello(body);
                chosen.is_none_or(|chosen| chosen.version >= 0x0304)
            }
            // Certificate, NewSessionTicket, CertificateStatus, SupplementalData.
            (11 | 4 | 22 | 23, Some(_)) => false,
            (12, Some(chosen)) => {
                key_exchange(body, chosen);
                false
            }
            (13, Some(chosen)) => {
                chosen.client_cert_asked = true;
                false
            }
            // ServerHelloDone, or an unexpected message.
            _ => true,
        }
    }
}

fn two(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn server_hello(body: &[u8]) -> Option<ServerChoice> {
    let mut version = two(body, 0)?;
    let retry = body.get(2..34)? == RETRY;
    let mut at = 35 + usize::from(*body.get(34)?);
    let suite = two(body, at)?;
    at += 3;
    let mut group = None;
    // Servers with TLS 1.0 may omit the whole list.
    let mut extensions = body.get(at + 2..).unwrap_or_default();
    while let (Some(number), Some(length)) = (two(extensions, 0), two(extensions, 2)) {
        let value = extensions.get(4..4 + usize::from(length))?;
        match number {
            43 => version = two(value, 0)?,
            51 if retry || value.len() >= 2 => group = two(value, 0),
            _ => {}
        }
        extensions = &extensions[4 + value.len()..];
    }
    Some(ServerChoice {
        version,
        suite,
        group,
        ..ServerChoice::default()
    })
}

/// Parses the group and the signature of an elliptic curve key exchange (RFC 8422 section 5.4).
fn key_exchange(body: &[u8], chosen: &mut ServerChoice) {
    const NAMED_CURVE: u8 = 3;
    if !suite_name(chosen.suite).contains("_ECDHE_") || body.first() != Some(&NAMED_CURVE) {
        return;
    }
    chosen.group = two(body, 1);
    let point = body.get(3).map_or(0, |length| usize::from(*length));
    if chosen.version == 0x0303 {
        chosen.signature = two(body, 4 + point);
    }
}

#[cfg(test)]
mod tests {
    use super::{HelloResponse, Reader, ServerChoice};

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 3, 1][..], &length, payload].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 0][..], &length, body].concat()
    }

    fn hello(version: u16, random: [u8; 32], suite: u16, extensions: &[u8]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend(random);
        body.extend([2, 9, 9]);
        body.extend(suite.to_be_bytes());
        body.push(0);
        if !extensions.is_empty() {
            body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
            body.extend(extensions);
        }
        message(2, &body)
    }

    /// The response, which must not depend on the fragmentation.
    fn read(bytes: &[u8]) -> HelloResponse {
        let whole = Reader::default().feed(bytes);
        let mut reader = Reader::default();
        let mut in_pieces = None;
        for byte in bytes {
            in_pieces = reader.feed(&[*byte]);
            if in_pieces.is_some() {
                break;
            }
        }
        let (whole, in_pieces) = (
            whole.unwrap_or_else(|| {
                let mut reader = Reader::default();
                let _ = reader.feed(bytes);
                reader.end()
            }),
            in_pieces.unwrap_or_else(|| reader.end()),
        );
        assert_eq!(whole, in_pieces);
        whole
    }

    const RSA: ServerChoice = ServerChoice {
        version: 0x0301,
        suite: 0x002F,
        group: None,
        signature: None,
        client_cert_asked: false,
    };

    #[test]
    fn a_choice_of_tls_1_0_without_extensions() {
        let flight = [
            hello(0x0301, [1; 32], 0x002F, &[]),
            message(11, &[0; 600]),
            message(14, &[]),
        ]
        .concat();
        assert_eq!(read(&record(22, &flight)), HelloResponse::Chosen(RSA));
        assert_eq!(RSA.words(), "TLS 1.0, TLS_RSA_WITH_AES_128_CBC_SHA");
        // A message may be split into many records.
        let fragmented: Vec<u8> = flight.chunks(7).flat_map(|piece| record(22, piece)).collect();
        assert_eq!(read(&fragmented), HelloResponse::Chosen(RSA));
        // A response that is cut off after the choice still contains the choice.
        assert_eq!(read(&fragmented[..200]), HelloResponse::Chosen(RSA));
    }

    #[test]
    fn the_group_and_the_signature_of_a_key_exchange() {
        let exchange = [&[3, 0, 25, 4, 1, 2, 3, 4, 4, 3][..], &[0, 2, 1, 1]].concat();
        let flight = [
            hello(0x0303, [1; 32], 0xC02B, &[0xFF, 1, 0, 1, 0]),
            message(11, &[0; 40]),
            message(12, &exchange),
            message(13, &[1, 1, 0, 0]),
            message(14, &[]),
        ];
        let chosen = ServerChoice {
            version: 0x0303,
            suite: 0xC02B,
            group: Some(25),
            signature: Some(0x0403),
            client_cert_asked: true,
        };
        assert_eq!(read(&record(22, &flight.concat())), HelloResponse::Chosen(chosen));
        assert_eq!(
            chosen.words(),
            "TLS 1.2, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, key exchange in P-521"
        );
        // TLS 1.1 has no signature algorithm in this message, and other key exchanges have no curve.
        let older = [
            hello(0x0302, [1; 32], 0xC013, &[]),
            message(12, &exchange),
            message(14, &[]),
        ];
        let HelloResponse::Chosen(older) = read(&record(22, &older.concat())) else {
            panic!()
        };
        assert_eq!((older.group, older.signature), (Some(25), None));
        let finite = [
            hello(0x0303, [1; 32], 0x0033, &[]),
            message(12, &exchange),
            message(14, &[]),
        ];
        let HelloResponse::Chosen(finite) = read(&record(22, &finite.concat())) else {
            panic!()
        };
        assert_eq!(finite.group, None);
    }

    #[test]
    fn a_choice_of_tls_1_3_and_a_retry() {
        let share = [&[0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32][..], &[5; 32]].concat();
        let chosen = |group| ServerChoice {
            version: 0x0304,
            suite: 0x1302,
            group: Some(group),
            ..ServerChoice::default()
        };
        let direct = record(22, &hello(0x0303, [1; 32], 0x1302, &share));
        assert_eq!(read(&direct), HelloResponse::Chosen(chosen(29)));
        let retry = hello(0x0303, super::RETRY, 0x1302, &[0, 51, 0, 2, 0, 25, 0, 43, 0, 2, 3, 4]);
        assert_eq!(read(&record(22, &retry)), HelloResponse::Chosen(chosen(25)));
    }

    #[test]
    fn alerts_and_warnings() {
        assert_eq!(read(&record(21, &[2, 40])), HelloResponse::Alert(40));
        assert_eq!(read(&record(21, &[2, 70])), HelloResponse::Alert(70));
        // SSL 3.0.
        assert_eq!(read(&[21, 3, 0, 0, 2, 2, 40]), HelloResponse::Alert(40));
        // An alert for an unknown name may be a warning, after which the handshake continues, or fatal.
        let warned = [
            record(21, &[1, 112]),
            record(22, &hello(0x0301, [1; 32], 0x002F, &[])),
            record(22, &message(14, &[])),
        ];
        assert_eq!(read(&warned.concat()), HelloResponse::Chosen(RSA));
        assert_eq!(read(&record(21, &[2, 112])), HelloResponse::Alert(112));
        assert_eq!(read(&record(21, &[1, 0])), HelloResponse::Alert(0));
    }

    #[test]
    fn a_choice_of_ssl_3() {
        let hello = hello(0x0300, [1; 32], 0x000A, &[]);
        let length = u16::try_from(hello.len()).unwrap().to_be_bytes();
        let HelloResponse::Chosen(chosen) = read(&[&[22, 3, 0][..], &length, &hello].concat()) else {
            panic!()
        };
        assert_eq!(chosen.words(), "SSL 3.0, TLS_RSA_WITH_3DES_EDE_CBC_SHA");
    }

    #[test]
    fn what_is_no_answer() {
        assert_eq!(read(b""), HelloResponse::Closed);
        assert_eq!(read(b"HTTP/1.1 400 Bad Request\r\n\r\n"), HelloResponse::NotTls);
        // An SSL 2.0 error.
        assert_eq!(read(&[0x80, 3, 0, 0, 1]), HelloResponse::NotTls);
        assert_eq!(read(&record(22, &message(2, &[3, 1]))), HelloResponse::NotTls);
        assert_eq!(read(&record(23, b"data")), HelloResponse::NotTls);
        assert_eq!(read(&[22, 3, 1, 0xFF, 0xFF]), HelloResponse::NotTls);
        // Declares a certificate of 16 MB.
        let endless = [hello(0x0301, [1; 32], 0x002F, &[]), vec![11, 0xFF, 0xFF, 0xFF]].concat();
        assert_eq!(read(&record(22, &endless)), HelloResponse::Chosen(RSA));
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let flight = [
            hello(0x0303, [1; 32], 0xC02B, &[0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 25]),
            message(12, &[3, 0, 25, 4, 1, 2, 3, 4, 4, 3]),
            message(14, &[]),
        ];
        let good = record(22, &flight.concat());
        for at in 0..good.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = read(&bytes);
                let _ = read(&bytes[..at]);
            }
        }
    }
}
