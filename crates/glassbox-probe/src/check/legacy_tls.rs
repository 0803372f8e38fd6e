//! The second TLS library, OpenSSL, supports what the first one lacks: TLS 1.0 and 1.1, and cipher suites with CBC.
//!
//! It offers exactly what `blackbox_exporter` offers for the module. The same [`Recorder`] as for the first library
//! verifies the chain during the handshake. A refused chain ends the handshake before the exporter sends a client
//! certificate or any byte of the request. Sessions are never resumed.

use super::tls::{reason_of_alert, server_name};
use super::tls_inspection::{HelloOffer, HelloResponse, Version, group_name};
use super::trust::Recorder;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::TlsFacts;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslOptions, SslRef, SslVerifyMode, SslVersion};
use openssl::x509::{X509, X509StoreContext, X509StoreContextRef};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

/// `SSL_OP_LEGACY_SERVER_CONNECT`: accepts servers without secure renegotiation (RFC 5746), as Go does. Neither library
/// renegotiates.
const LEGACY_SERVER_CONNECT: SslOptions = SslOptions::from_bits_retain(4);
/// `SSL_R_UNEXPECTED_EOF_WHILE_READING`.
const UNEXPECTED_EOF: i32 = 294;
/// Offset that OpenSSL adds to the number of a received alert (`SSL_AD_REASON_OFFSET`).
const ALERT_OFFSET: i32 = 1000;
/// Go's signature schemes with OpenSSL's names, in Go's order. Below TLS 1.2 the version determines the scheme.
const SIGNATURES: &str = "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256:ed25519:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:\
                          rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512:ecdsa_secp384r1_sha384:\
                          ecdsa_secp521r1_sha512:rsa_pkcs1_sha1:ecdsa_sha1";

/// Parameters of one handshake.
pub(super) struct LegacyHandshake<'a> {
    /// The name to send and to verify.
    pub name: &'a str,
    /// The protocols to offer.
    pub alpn: &'a [Vec<u8>],
    /// The versions, suites and groups to offer.
    pub offer: HelloOffer,
    /// The client certificate and its key, if the module has one.
    pub certificate: Option<(&'a [CertificateDer<'static>], &'a PrivateKeyDer<'static>)>,
    /// Verifies the chain.
    pub recorder: Arc<Recorder>,
}

/// Why a handshake failed.
pub(super) enum LegacyError {
    /// The library rejects a setting.
    Library(ErrorStack),
    /// The name cannot be sent in TLS.
    BadName,
    /// The library cannot use the client certificate or its key.
    Certificate(ErrorStack),
    /// The library did not request chain verification.
    NotJudged,
    /// The handshake itself failed.
    Handshake(openssl::ssl::Error),
}

impl From<ErrorStack> for LegacyError {
    fn from(error: ErrorStack) -> Self {
        Self::Library(error)
    }
}

impl LegacyHandshake<'_> {
    /// Performs the handshake over an open connection.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        layer: S,
    ) -> Result<(LegacyStream<S>, TlsFacts), LegacyError> {
        let ssl = self.prepared()?;
        let mut stream = SslStream::new(ssl, layer)?;
        Pin::new(&mut stream).connect().await.map_err(LegacyError::Handshake)?;
        if self.recorder.seen().chain.is_empty() {
            return Err(LegacyError::NotJudged);
        }
        let facts = facts(stream.ssl(), &self.recorder);
        Ok((LegacyStream(Box::new(stream)), facts))
    }

    fn prepared(&self) -> Result<Ssl, LegacyError> {
        let name = server_name(self.name).ok_or(LegacyError::BadName)?;
        let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
        // Go's rules apply, not the library's security level, which excludes TLS 1.0.
        context.set_security_level(0);
        context.set_options(
            LEGACY_SERVER_CONNECT
                | SslOptions::NO_TICKET
                | SslOptions::NO_COMPRESSION
                | SslOptions::NO_RENEGOTIATION
                // Servers this old fail on empty records.
                | SslOptions::DONT_INSERT_EMPTY_FRAGMENTS,
        );
        context.set_min_proto_version(Some(version(self.offer.min)))?;
        context.set_max_proto_version(Some(version(self.offer.max)))?;
        let named = |tls13: bool| {
            let named = self.offer.suites.iter().filter_map(|suite| openssl_name(*suite));
            let named = named.filter(|name| name.starts_with("TLS_") == tls13);
            named.collect::<Vec<_>>().join(":")
        };
        // An empty list would be an error, and TLS 1.3 alone uses none of the older suites.
        if self.offer.min < Version::Tls13 {
            context.set_cipher_list(&named(false))?;
        }
        context.set_ciphersuites(&named(true))?;
        let groups: Vec<_> = self.offer.groups.iter().map(|group| group_name(*group)).collect();
        context.set_groups_list(&groups.join(":"))?;
        context.set_sigalgs_list(SIGNATURES)?;
        let mut ssl = Ssl::new(&context.build())?;
        if let ServerName::DnsName(name) = &name {
            ssl.set_hostname(name.as_ref().trim_end_matches('.'))?;
        }
        if !self.alpn.is_empty() {
            let one = |name: &Vec<u8>| {
                let length = u8::try_from(name.len()).ok()?;
                Some([&[length], name.as_slice()].concat())
            };
            let wire: Vec<u8> = self.alpn.iter().filter_map(one).flatten().collect();
            ssl.set_alpn_protos(&wire)?;
        }
        self.show_certificate(&mut ssl).map_err(LegacyError::Certificate)?;
        // The library calls this function for each certificate in the chain.
        let (recorder, judged) = (self.recorder.clone(), AtomicBool::new(false));
        ssl.set_verify_callback(SslVerifyMode::PEER, move |_, context| {
            if !judged.swap(true, Ordering::Relaxed) && !judge(&recorder, &name, context) {
                return false;
            }
            !matches!(recorder.seen().verdict, Some(Err(_)))
        });
        Ok(ssl)
    }

    /// Sets the client certificate. The library sends it on request, after the server's certificate was accepted.
    fn show_certificate(&self, ssl: &mut Ssl) -> Result<(), ErrorStack> {
        let Some((chain, key)) = self.certificate else {
            return Ok(());
        };
        let mut chain = chain.iter();
        if let Some(leaf) = chain.next() {
            ssl.set_certificate(X509::from_der(leaf)?.as_ref())?;
        }
        for between in chain {
            ssl.add_chain_cert(X509::from_der(between)?)?;
        }
        ssl.set_private_key(PKey::private_key_from_der(key.secret_der())?.as_ref())
    }
}

/// Verifies the chain like the first library's handshake. Returns `false` if there is no chain.
fn judge(recorder: &Recorder, name: &ServerName<'_>, context: &X509StoreContextRef) -> bool {
    let ssl = X509StoreContext::ssl_idx().ok().and_then(|at| context.ex_data(at));
    let shown = ssl.and_then(SslRef::peer_cert_chain).into_iter().flatten();
    let shown: Vec<CertificateDer<'_>> = shown.filter_map(|cert| Some(cert.to_der().ok()?.into())).collect();
    let Some((leaf, between)) = shown.split_first() else {
        return false;
    };
    recorder
        .verify_server_cert(leaf, between, name, &[], UnixTime::now())
        .is_ok()
}

const fn version(version: Version) -> SslVersion {
    match version {
        Version::Tls10 => SslVersion::TLS1,
        Version::Tls11 => SslVersion::TLS1_1,
        Version::Tls12 => SslVersion::TLS1_2,
        Version::Tls13 => SslVersion::TLS1_3,
    }
}

/// OpenSSL's names of the suites that Go offers.
fn openssl_name(suite: u16) -> Option<&'static str> {
    Some(match suite {
        0xC02B => "ECDHE-ECDSA-AES128-GCM-SHA256",
        0xC02F => "ECDHE-RSA-AES128-GCM-SHA256",
        0xC02C => "ECDHE-ECDSA-AES256-GCM-SHA384",
        0xC030 => "ECDHE-RSA-AES256-GCM-SHA384",
        0xCCA9 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        0xCCA8 => "ECDHE-RSA-CHACHA20-POLY1305",
        0xC009 => "ECDHE-ECDSA-AES128-SHA",
        0xC013 => "ECDHE-RSA-AES128-SHA",
        0xC00A => "ECDHE-ECDSA-AES256-SHA",
        0xC014 => "ECDHE-RSA-AES256-SHA",
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        _ => return None,
    })
}

fn facts(ssl: &SslRef, recorder: &Recorder) -> TlsFacts {
    TlsFacts {
        version: ssl.version2().and_then(|version| match version {
            SslVersion::TLS1 => Some("TLS 1.0"),
            SslVersion::TLS1_1 => Some("TLS 1.1"),
            SslVersion::TLS1_2 => Some("TLS 1.2"),
            SslVersion::TLS1_3 => Some("TLS 1.3"),
            _ => None,
        }),
        cipher: ssl
            .current_cipher()
            .and_then(openssl::ssl::SslCipherRef::standard_name)
            .map(str::to_owned),
        alpn: ssl
            .selected_alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned()),
        ..recorder.facts().unwrap_or_default()
    }
}

impl LegacyError {
    /// How the server refused the handshake, if it did.
    pub fn refusal(&self) -> Option<HelloResponse> {
        let Self::Handshake(error) = self else { return None };
        if let Some(alert) = alert_of(error) {
            return Some(HelloResponse::Alert(alert));
        }
        let closed = is_cut(error)
            || error
                .io_error()
                .is_some_and(|error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
        closed.then_some(HelloResponse::Closed)
    }

    /// The reason. `client_cert_asked`: whether the server requested a certificate. `began`: whether any byte of the
    /// server's handshake was received.
    pub fn reason(&self, client_cert_asked: bool, began: bool) -> Reason {
        let Self::Handshake(error) = self else {
            return match self {
                Self::BadName => Reason::LocalTargetInvalid,
                Self::Certificate(_) => Reason::LocalFileUnreadable,
                _ => Reason::LocalTlsUnsupported,
            };
        };
        if let Some(alert) = alert_of(error) {
            return reason_of_alert(alert.into(), client_cert_asked);
        }
        let reset = matches!(
            error.io_error().map(io::Error::kind),
            Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
        );
        match (began, reset, is_cut(error)) {
            // This is not a TLS failure, because the server sent no TLS data.
            (false, true, _) => Reason::TcpReset,
            (false, _, true) => Reason::TcpClosed,
            (true, true, _) | (true, _, true) => Reason::TlsClosed,
            _ => Reason::TlsProtocolError,
        }
    }

    /// The error as text.
    pub fn words(&self) -> String {
        match self {
            Self::Library(error) => format!("the second TLS library cannot be used: {error}"),
            Self::BadName => "the name is not a valid TLS server name".to_owned(),
            Self::Certificate(error) => format!("the client certificate or key of tls_config cannot be used: {error}"),
            Self::NotJudged => "the second TLS library did not report the server's certificate".to_owned(),
            Self::Handshake(error) => match self.refusal() {
                Some(answer) => format!("the server responded with {}", answer.words()),
                None => error.to_string(),
            },
        }
    }
}

fn alert_of(error: &openssl::ssl::Error) -> Option<u8> {
    let mut codes = error
        .ssl_error()?
        .errors()
        .iter()
        .map(openssl::error::Error::reason_code);
    codes.find_map(|code| u8::try_from(code - ALERT_OFFSET).ok())
}

/// Whether the connection ended without a TLS `close_notify`.
fn is_cut(error: &openssl::ssl::Error) -> bool {
    let by_library = error.ssl_error().is_some_and(|stack| {
        let mut codes = stack.errors().iter().map(openssl::error::Error::reason_code);
        codes.any(|code| code == UNEXPECTED_EOF)
    });
    by_library
        || error
            .io_error()
            .is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof)
}

/// The connection above TLS.
#[derive(Debug)]
pub(super) struct LegacyStream<S>(Box<SslStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for LegacyStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf).map_err(|error| {
            // The connection ended without a `close_notify`. This is `UnexpectedEof`, as in rustls.
            let cut = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref())
                .is_some_and(is_cut);
            if cut {
                return ErrorKind::UnexpectedEof.into();
            }
            let alert = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref())
                .and_then(alert_of);
            match alert {
                Some(alert) => io::Error::new(ErrorKind::InvalidData, rustls::Error::AlertReceived(alert.into())),
                None => error,
            }
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LegacyStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
