//! The cipher suites, groups and alerts in a `ClientHello` and in a server's response, with their IANA names.

/// Declares the table of cipher suites with numbers and names.
macro_rules! suites {
    ($($number:literal $name:literal;)+) => {
        /// Every cipher suite that servers on the public Internet are known to choose, with its IANA name. The suites
        /// that `blackbox_exporter` offers come first, in Go's order, so a server that follows the client's preference
        /// chooses one of them.
        pub const SUITES: &[(u16, &str)] = &[$(($number, $name),)+];
    };
}

suites! {
    0xC02B "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    0xC02F "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    0xC02C "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    0xC030 "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    0xCCA9 "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    0xCCA8 "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
    0xC009 "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA";
    0xC013 "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
    0xC00A "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA";
    0xC014 "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA";
    0x1301 "TLS_AES_128_GCM_SHA256";
    0x1302 "TLS_AES_256_GCM_SHA384";
    0x1303 "TLS_CHACHA20_POLY1305_SHA256";
    0x1304 "TLS_AES_128_CCM_SHA256";
    0x1305 "TLS_AES_128_CCM_8_SHA256";
    0xC024 "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384";
    0xC028 "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384";
    0xC023 "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256";
    0xC027 "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256";
    0xC0AD "TLS_ECDHE_ECDSA_WITH_AES_256_CCM";
    0xC0AC "TLS_ECDHE_ECDSA_WITH_AES_128_CCM";
    0xC0AF "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8";
    0xC0AE "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8";
    0xC05D "TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384";
    0xC05C "TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256";
    0xC061 "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384";
    0xC060 "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256";
    0xC073 "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384";
    0xC072 "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256";
    0xC077 "TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384";
    0xC076 "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256";
    0xC008 "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA";
    0xC012 "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA";
    0xC007 "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA";
    0xC011 "TLS_ECDHE_RSA_WITH_RC4_128_SHA";
    0x009F "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384";
    0x009E "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256";
    0xCCAA "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
    0xC09F "TLS_DHE_RSA_WITH_AES_256_CCM";
    0xC09E "TLS_DHE_RSA_WITH_AES_128_CCM";
    0x006B "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256";
    0x0067 "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256";
    0x0039 "TLS_DHE_RSA_WITH_AES_256_CBC_SHA";
    0x0033 "TLS_DHE_RSA_WITH_AES_128_CBC_SHA";
    0x00A3 "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384";
    0x00A2 "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256";
    0x006A "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256";
    0x0040 "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256";
    0x0038 "TLS_DHE_DSS_WITH_AES_256_CBC_SHA";
    0x0032 "TLS_DHE_DSS_WITH_AES_128_CBC_SHA";
    0x0088 "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA";
    0x0045 "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA";
    0x0016 "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA";
    0x0013 "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA";
    0x009D "TLS_RSA_WITH_AES_256_GCM_SHA384";
    0x009C "TLS_RSA_WITH_AES_128_GCM_SHA256";
    0xC09D "TLS_RSA_WITH_AES_256_CCM";
    0xC09C "TLS_RSA_WITH_AES_128_CCM";
    0xC0A1 "TLS_RSA_WITH_AES_256_CCM_8";
    0xC0A0 "TLS_RSA_WITH_AES_128_CCM_8";
    0x003D "TLS_RSA_WITH_AES_256_CBC_SHA256";
    0x003C "TLS_RSA_WITH_AES_128_CBC_SHA256";
    0x0035 "TLS_RSA_WITH_AES_256_CBC_SHA";
    0x002F "TLS_RSA_WITH_AES_128_CBC_SHA";
    0xC051 "TLS_RSA_WITH_ARIA_256_GCM_SHA384";
    0xC050 "TLS_RSA_WITH_ARIA_128_GCM_SHA256";
    0x0084 "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA";
    0x0041 "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA";
    0x0096 "TLS_RSA_WITH_SEED_CBC_SHA";
    0x0007 "TLS_RSA_WITH_IDEA_CBC_SHA";
    0x000A "TLS_RSA_WITH_3DES_EDE_CBC_SHA";
    0x0005 "TLS_RSA_WITH_RC4_128_SHA";
    0x0004 "TLS_RSA_WITH_RC4_128_MD5";
}

/// The suites of TLS 1.2 with authenticated encryption that Go and rustls offer, in Go's order.
pub const AEAD_SUITES: [u16; 6] = [0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8];
/// The suites that Go also offers for versions below TLS 1.2.
pub const CBC_SUITES: [u16; 4] = [0xC009, 0xC013, 0xC00A, 0xC014];
/// The suites of TLS 1.3 that Go and rustls offer.
pub const TLS13_SUITES: [u16; 3] = [0x1301, 0x1302, 0x1303];

/// The named key exchange groups (IANA "TLS Supported Groups"). Go offers the first four.
pub const GROUPS: &[(u16, &str)] = &[
    (29, "X25519"),
    (23, "P-256"),
    (24, "P-384"),
    (25, "P-521"),
    (30, "X448"),
    (22, "secp256k1"),
    (26, "brainpoolP256r1"),
    (27, "brainpoolP384r1"),
    (28, "brainpoolP512r1"),
    (31, "brainpoolP256r1tls13"),
    (32, "brainpoolP384r1tls13"),
    (33, "brainpoolP512r1tls13"),
    (256, "ffdhe2048"),
    (257, "ffdhe3072"),
    (258, "ffdhe4096"),
    (4587, "SecP256r1MLKEM768"),
    (4588, "X25519MLKEM768"),
    (4589, "SecP384r1MLKEM1024"),
    (21, "P-224"),
    (19, "P-192"),
    (14, "sect571r1"),
    (13, "sect571k1"),
    (11, "sect409k1"),
    (12, "sect409r1"),
    (9, "sect283k1"),
    (10, "sect283r1"),
];
/// Number of [`GROUPS`] that `blackbox_exporter` 0.28 offers.
pub const GROUPS_OF_GO: usize = 4;

/// The signatures that Go accepts for TLS 1.2, in its order (IANA "TLS `SignatureScheme`"), without ML-DSA.
pub const SIGNATURES_OF_GO: [u16; 12] = [
    0x0804, 0x0403, 0x0807, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0503, 0x0603, 0x0201, 0x0203,
];
/// Further signatures that a server may use: SHA-224, DSA, Ed448, PSS keys.
pub const OTHER_SIGNATURES: [u16; 10] = [
    0x0809, 0x080A, 0x080B, 0x0808, 0x0301, 0x0303, 0x0402, 0x0302, 0x0202, 0x0101,
];

/// The IANA name of a cipher suite, or its number.
pub fn suite_name(suite: u16) -> String {
    named(SUITES, suite, "cipher suite")
}

/// The common name of a group, or its number.
pub fn group_name(group: u16) -> String {
    named(GROUPS, group, "group")
}

fn named(table: &[(u16, &str)], number: u16, what: &str) -> String {
    let known = table.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("{what} 0x{number:04x}"), |(_, name)| (*name).to_owned())
}

/// The name of an alert (RFC 8446 section 6, and alerts of older versions).
pub fn alert_name(alert: u8) -> String {
    let name = match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return alert.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{AEAD_SUITES, CBC_SUITES, GROUPS, SUITES, TLS13_SUITES, suite_name};
    use std::collections::HashSet;

    #[test]
    fn every_number_and_name_occurs_once() {
        let numbers: HashSet<_> = SUITES.iter().map(|(number, _)| number).collect();
        let names: HashSet<_> = SUITES.iter().map(|(_, name)| name).collect();
        assert_eq!((numbers.len(), names.len()), (SUITES.len(), SUITES.len()));
        let groups: HashSet<_> = GROUPS.iter().map(|(number, _)| number).collect();
        assert_eq!(groups.len(), GROUPS.len());
    }

    #[test]
    fn the_suites_of_go_come_first() {
        let first: Vec<u16> = SUITES.iter().map(|(number, _)| *number).take(13).collect();
        assert_eq!(first, [&AEAD_SUITES[..], &CBC_SUITES, &TLS13_SUITES].concat());
        assert_eq!(suite_name(0x002F), "TLS_RSA_WITH_AES_128_CBC_SHA");
        assert_eq!(suite_name(0xFAFA), "cipher suite 0xfafa");
    }
}
