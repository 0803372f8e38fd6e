//! A module's TLS settings, built once when the configuration is loaded and shared by the module's probes.

use super::trust::{Recorder, Trusted};
use super::watched_files::Watched;
use glassbox_verdict::host_port::Host;
use glassbox_verdict::reason::Reason;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CipherSuite, ClientConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::io;
use std::sync::Arc;

/// A TLS version. Versions below TLS 1.2 need the Cargo feature `legacy-tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0 (RFC 2246).
    Tls10,
    /// TLS 1.1 (RFC 4346).
    Tls11,
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// TLS settings from a module's configuration.
#[derive(Debug)]
pub struct TlsSettings {
    /// The trusted authorities. They are reloaded when their file changes.
    pub trust: Arc<Watched<Trusted>>,
    /// The client certificate. It is reloaded when its files change.
    pub identity: Arc<Watched<Identity>>,
    /// The name to send and to verify instead of the target's.
    pub server_name: Option<String>,
    /// Whether to accept any certificate.
    pub skip_verify: bool,
    /// The lowest version offered.
    pub min_version: TlsVersion,
    /// The highest version offered.
    pub max_version: TlsVersion,
    /// ALPN protocols to offer (RFC 7301), in order of preference. Empty if the application protocol needs no
    /// negotiation.
    pub alpn: &'static [&'static [u8]],
    /// The names of the files, for display.
    pub files: TlsFiles,
}

/// The names of the files with certificates and keys, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Trusted authorities.
    pub ca: Option<String>,
    /// Client certificate.
    pub cert: Option<String>,
    /// Key of the client certificate.
    pub key: Option<String>,
}

/// A client certificate with its key, if the module has one.
#[derive(Debug, Default)]
pub struct Identity {
    certified: Option<Arc<CertifiedKey>>,
    /// The original key. The second TLS library cannot use the key object of the first.
    #[cfg(feature = "legacy-tls")]
    key: Option<PrivateKeyDer<'static>>,
}

impl Identity {
    /// Builds an identity from a certificate with its chain, and its key.
    ///
    /// # Errors
    /// Fails if the key is unusable or does not match the certificate.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        #[cfg(feature = "legacy-tls")]
        let kept = Some(key.clone_key());
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Identity)?;
        Ok(Self {
            certified: Some(Arc::new(certified)),
            #[cfg(feature = "legacy-tls")]
            key: kept,
        })
    }

    /// The certificate with its chain, and its key, in their original form.
    #[cfg(feature = "legacy-tls")]
    pub(super) fn as_read(&self) -> Option<(&[CertificateDer<'static>], &PrivateKeyDer<'static>)> {
        Some((&self.certified.as_ref()?.cert, self.key.as_ref()?))
    }
}

/// TLS, ready for use by probes.
#[derive(Debug)]
pub struct Tls {
    config: ClientConfig,
    trust: Arc<Watched<Trusted>>,
    identity: Arc<Watched<Identity>>,
    server_name: Option<String>,
    skip_verify: bool,
    /// The module's minimum and maximum TLS version.
    versions: (TlsVersion, TlsVersion),
    files: TlsFiles,
}

/// Why a probe cannot use TLS. This gives no information about the target.
#[derive(Debug)]
pub(super) enum TlsNotReady {
    /// One of the module's files cannot be used.
    File(String),
    /// The system's authorities cannot be read.
    System(io::Error),
}

/// Why TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key is unusable or does not match the certificate.
    #[error("the client certificate and key cannot be used: {0}")]
    Identity(rustls::Error),
    /// The library rejects the settings.
    #[error("{0}")]
    Refused(rustls::Error),
}

impl Tls {
    /// Builds the state that probes share.
    ///
    /// # Errors
    /// Fails if the settings contradict each other, or the client key does not match its certificate.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let mut versions: Vec<&'static SupportedProtocolVersion> = [
            (TlsVersion::Tls12, &rustls::version::TLS12),
            (TlsVersion::Tls13, &rustls::version::TLS13),
        ]
        .into_iter()
        .filter(|(version, _)| (settings.min_version..=settings.max_version).contains(version))
        .map(|(_, version)| version)
        .collect();
        if versions.is_empty() {
            // The library requires at least one version. `second_handshake` performs the handshakes of such a module.
            versions.push(&rustls::version::TLS12);
        }
        // A placeholder that trusts no authority. Each handshake replaces it.
        let recorder = Arc::new(Recorder::new(Arc::default(), false, None));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(TlsError::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(recorder)
            .with_no_client_auth();
        // Every probe measures a full handshake.
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = settings.alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            config,
            trust: settings.trust,
            identity: settings.identity,
            server_name: settings.server_name,
            skip_verify: settings.skip_verify,
            versions: (settings.min_version, settings.max_version),
            files: settings.files,
        })
    }

    /// The name to send and to verify instead of the target's, if the module sets one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Whether any certificate is accepted.
    #[must_use]
    pub const fn skips_verification(&self) -> bool {
        self.skip_verify
    }

    /// The names of the files.
    #[must_use]
    pub const fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// The minimum and maximum version. If the maximum is below the minimum, no version is enabled.
    #[must_use]
    pub const fn versions(&self) -> (TlsVersion, TlsVersion) {
        self.versions
    }

    /// The client certificate in the current files.
    #[cfg(feature = "legacy-tls")]
    pub(super) fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.current().ok()
    }

    /// Like `for_one_probe`, for QUIC with HTTP/3.
    pub(super) async fn for_quic(&self) -> Result<(ClientConfig, Arc<Recorder>), TlsNotReady> {
        let (mut config, recorder) = self.for_one_probe(false).await?;
        config.alpn_protocols = vec![b"h3".to_vec()];
        Ok((config, recorder))
    }

    /// A configuration for one handshake, and the recorder of its data.
    ///
    /// # Errors
    /// Fails if one of the module's files cannot be used, or this host lacks the resources to read the system's
    /// authorities.
    pub(super) async fn for_one_probe(&self, http1: bool) -> Result<(ClientConfig, Arc<Recorder>), TlsNotReady> {
        let trusted = self.trust.current().map_err(TlsNotReady::File)?;
        let identity = self.identity.current().map_err(TlsNotReady::File)?;
        let trust = if self.skip_verify {
            Arc::default()
        } else {
            trusted.authorities().await.map_err(TlsNotReady::System)?
        };
        let recorder = Arc::new(Recorder::new(trust, self.skip_verify, identity.certified.clone()));
        let mut config = self.config.clone();
        config.dangerous().set_certificate_verifier(recorder.clone());
        if http1 {
            config.alpn_protocols.clear();
        }
        config.client_auth_cert_resolver = recorder.clone();
        Ok((config, recorder))
    }
}

/// The library's provider, with the cipher suites in Go's order for CPUs with AES support. A server that follows the
/// client's preference then chooses the same suite as for `blackbox_exporter`.
fn provider() -> CryptoProvider {
    const FIRST: [CipherSuite; 4] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let mut provider = ring::default_provider();
    let place = |suite: &SupportedCipherSuite| FIRST.iter().position(|first| *first == suite.suite());
    provider
        .cipher_suites
        .sort_by_key(|suite| place(suite).unwrap_or(FIRST.len()));
    provider.kx_groups.push(&super::p521::P521);
    provider
}

/// Parses a name for SNI and verification: a DNS name or an address.
pub(super) fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(Host::new(name).as_str().to_owned()).ok()
}

/// The reason for a TLS error inside an I/O error. `client_cert_asked`: whether the peer requested a client
/// certificate.
pub(super) fn reason_of_tls(error: &io::Error, client_cert_asked: bool) -> Option<Reason> {
    use rustls::Error;
    let tls = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match tls {
        Error::AlertReceived(alert) => reason_of_alert(*alert, client_cert_asked),
        Error::PeerIncompatible(_) => Reason::TlsVersionOrCipherMismatch,
        Error::InvalidCertificate(_) => Reason::TlsCertInvalid,
        error if is_misuse(error) => Reason::LocalInternalError,
        _ => Reason::TlsProtocolError,
    })
}

/// Whether the library failed regardless of the received data: it has no random numbers, cannot sign with the client's
/// key, or was used in an invalid way.
const fn is_misuse(error: &rustls::Error) -> bool {
    use rustls::Error;
    matches!(
        error,
        Error::General(_)
            | Error::FailedToGetRandomBytes
            | Error::FailedToGetCurrentTime
            | Error::EncryptError
            | Error::HandshakeNotComplete
            | Error::BadMaxFragmentSize
            | Error::InconsistentKeys(_)
    )
}

/// The reason for an error after the client's handshake was complete. In TLS 1.3, an alert about the client certificate
/// arrives only then.
pub(super) fn reason_of_late_tls(error: &io::Error, client_cert_asked: bool) -> Option<Reason> {
    reason_of_tls(error, client_cert_asked).map(after_the_handshake)
}

/// The reason after the client's handshake was complete: the two sides had agreed on a version and a cipher suite.
pub(super) const fn after_the_handshake(reason: Reason) -> Reason {
    match reason {
        Reason::TlsVersionOrCipherMismatch => Reason::TlsAlert,
        reason => reason,
    }
}

/// Whether a handshake may have failed because the two sides share no version, suite or group. `alert_came_first`:
/// whether the alert arrived before the server's choice.
pub(super) fn may_be_about_versions(error: &io::Error, alert_came_first: bool) -> bool {
    use rustls::{Error, PeerMisbehaved as P};
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return alert_came_first && error.kind() == io::ErrorKind::UnexpectedEof;
    };
    match tls {
        Error::AlertReceived(alert) => alert_came_first && !is_about_something_else(*alert),
        Error::PeerIncompatible(_) | Error::InvalidMessage(_) => true,
        Error::PeerMisbehaved(how) => matches!(
            how,
            P::SelectedUnofferedCipherSuite
                | P::SelectedUnofferedKxGroup
                | P::SelectedUnusableCipherSuiteForVersion
                | P::SelectedTls12UsingTls13VersionExtension
                | P::IllegalHelloRetryRequestWithUnofferedNamedGroup
        ),
        _ => false,
    }
}

/// Whether an alert is explicitly about a certificate, a name or a protocol above TLS.
const fn is_about_something_else(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::UnrecognisedName
            | Alert::NoApplicationProtocol
            | Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::UserCanceled
    )
}

pub(super) const fn reason_of_alert(alert: AlertDescription, client_cert_asked: bool) -> Reason {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => Reason::TlsClientCert,
        // If the server requested a client certificate, the alert is about that certificate. Otherwise the server
        // refuses for another reason, such as the name or the client's address.
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::HandshakeFailure
            if client_cert_asked =>
        {
            Reason::TlsClientCert
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            Reason::TlsVersionOrCipherMismatch
        }
        _ => Reason::TlsAlert,
    }
}

#[cfg(test)]
impl Tls {
    /// Settings that accept any certificate.
    pub(super) fn without_verification() -> Self {
        use std::convert::Infallible;
        let trust = || Ok(Trusted::These(Arc::default()));
        let identity = || Ok(Identity::default());
        Self::new(TlsSettings {
            trust: Watched::new::<Infallible>("trust", Vec::new(), || Ok(trust()), trust).unwrap(),
            identity: Watched::new::<Infallible>("identity", Vec::new(), || Ok(identity()), identity).unwrap(),
            server_name: None,
            skip_verify: true,
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            alpn: &[],
            files: TlsFiles::default(),
        })
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::reason_of_tls;
    use glassbox_verdict::reason::Reason;
    use rustls::{Error, InvalidMessage, PeerMisbehaved};
    use std::io;

    #[test]
    fn an_error_regardless_of_the_received_data_is_a_local_error() {
        let reason = |error| reason_of_tls(&io::Error::new(io::ErrorKind::InvalidData, error), false);
        for own in [
            Error::General("signing failed".to_owned()),
            Error::FailedToGetRandomBytes,
            Error::EncryptError,
            Error::HandshakeNotComplete,
        ] {
            assert_eq!(reason(own.clone()), Some(Reason::LocalInternalError), "{own}");
        }
        for servers in [
            Error::DecryptError,
            Error::PeerSentOversizedRecord,
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare),
        ] {
            assert_eq!(reason(servers.clone()), Some(Reason::TlsProtocolError), "{servers}");
        }
    }
}
