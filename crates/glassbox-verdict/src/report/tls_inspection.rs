//! Results of additional connections to a server that refused a TLS handshake.

/// Response of a server to a `ClientHello` that offers all common versions and cipher suites, after a refused
/// handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInspection {
    /// The server's choice (`TLS 1.0, TLS_RSA_WITH_AES_128_CBC_SHA`) or refusal; `None` without a connection.
    pub answer: Option<String>,
    /// Whether `blackbox_exporter` 0.28 would connect with this module; `None` if unknown.
    pub blackbox_connects: Option<bool>,
    /// Whether the handshake was repeated with the second TLS library.
    pub repeated: bool,
    /// Outcome of the refused handshake, which caused the inspection.
    pub because: String,
}
