//! What additional connections found out about a server that had refused a TLS handshake.

/// How a server answered a `ClientHello` that offered every usual version and cipher suite, after it had refused a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInspection {
    /// What it chose (`TLS 1.0, TLS_RSA_WITH_AES_128_CBC_SHA`), or how it refused; `None` where it could not be asked.
    pub answer: Option<String>,
    /// Whether `blackbox_exporter` 0.28 would connect with this module; `None` where that is not known.
    pub blackbox_connects: Option<bool>,
    /// Whether the handshake was repeated with the second TLS library.
    pub repeated: bool,
    /// Why the handshake was inspected: how it ended before.
    pub because: String,
}
