//! The facts of a TLS handshake.

/// Facts of a TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// TLS version: `TLS 1.0` to `TLS 1.3`.
    pub version: Option<&'static str>,
    /// The IANA name of the cipher suite.
    pub cipher: Option<String>,
    /// The protocol agreed by ALPN.
    pub alpn: Option<String>,
    /// Whether the server requested a client certificate.
    pub client_cert_asked: bool,
    /// The certificates as the server sent them, leaf first.
    pub chain: Vec<Certificate>,
    /// Expiry of the verified chain, in seconds since 1970; `None` if no chain was verified.
    pub verified_until: Option<i64>,
    /// Facts that were accepted without proof, such as `handshake signature not verified: RSA key of 512 bits`.
    pub note: Option<String>,
}

/// Displayed fields of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Subject in RFC 2253 order, as blackbox_exporter prints it.
    pub subject: String,
    /// Issuer in RFC 2253 order, as blackbox_exporter prints it.
    pub issuer: String,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// SHA-256 of the DER encoding, in lower-case hex.
    pub fingerprint_sha256: String,
    /// DNS names of the certificate.
    pub dns_names: Vec<String>,
    /// Start of the validity period, in seconds since 1970.
    pub not_before: i64,
    /// End of the validity period, in seconds since 1970.
    pub not_after: i64,
}
