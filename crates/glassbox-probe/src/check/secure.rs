//! Secure: the TLS handshake and the certificate verification, before any request byte.

use super::certificates::describe;
use super::local_fault::shortage;
use super::second_handshake::SecondHandshake;
use super::tls::{Tls, TlsNotReady, may_be_about_versions, reason_of_tls, server_name};
use super::tls_inspection::HelloResponse;
use super::trace::Trace;
use super::transport::{OutOfOrder, Transport};
use super::trust::{Recorder, Refusal};
use super::wire::{Layer, Wire};
use super::{Check, ProbeFailed, StageError};
use futures_util::FutureExt as _;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::TlsFacts;
use rustls::{ClientConnection, ProtocolVersion};
use std::future::Future;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsConnector;

impl Check {
    /// Performs the TLS handshake for `name` on the open connection. Records the data that the peer sent, even if it is
    /// refused. If `http1` is set, HTTP/2 is not offered.
    ///
    /// # Errors
    /// Fails if the handshake fails or the certificate is not accepted.
    pub async fn secure(&mut self, tls: &Tls, name: &str, http1: bool) -> Result<(), ProbeFailed> {
        let (config, recorder) = self.prepared(tls.for_one_probe(http1)).await?;
        let second = SecondHandshake::new(self, tls, name, config.alpn_protocols.clone(), recorder.clone());
        self.stage(Stage::Secure, async |wire| {
            wire.times.began = Some(Instant::now());
            let server = server_name(name).ok_or_else(|| SecureError::BadName(name.to_owned()))?;
            wire.facts.tls_name = Some(name.to_owned());
            // After bytes in plain text (STARTTLS, a proxy's tunnel), a new connection would not be equivalent.
            let untouched = wire.trace.last_write().is_none() && wire.trace.last_read().is_none();
            let dialled = wire.dialled.take().filter(|_| untouched);
            // Rarely used state is boxed to keep the state of a waiting probe small.
            if !second.is_for_the_first_library(dialled.as_ref()) {
                return Box::pin(second.instead(wire, dialled.as_ref())).await;
            }
            let layer = wire.transport.take().into_stream()?;
            let trace = wire.trace.clone();
            let connect_delay = trace.answered_late();
            let layer = layer.for_tls(&trace);
            let connect = TlsConnector::from(Arc::new(config)).connect(server, layer);
            let session = match connect.into_fallible().await {
                Ok(session) => session,
                Err((error, layer)) => {
                    let error = with_unread_alert(error, layer);
                    wire.facts.tls = certificates_of(&recorder);
                    // A refused certificate ends the probe with its own reason, even if the handshake fails afterwards.
                    if let Some(Err(refusal)) = recorder.seen().verdict.take() {
                        return Err(SecureError::Refused(refusal));
                    }
                    let failed = SecureError::Handshake {
                        began_like_tls: wire.trace.began_like_tls(),
                        client_cert_asked: recorder.seen().client_cert_asked,
                        error,
                    };
                    return Box::pin(second.after(wire, dialled, failed)).await;
                }
            };
            // The time that received data spent waiting to be read is attributed to the exporter, not to the peer.
            wire.times.ended = Instant::now().checked_sub(trace.handshake_delay(connect_delay));
            wire.facts.tls = Some(facts(session.get_ref().1, &recorder));
            trace.secured(recorder.seen().client_cert_asked);
            if let Some(Err(refusal)) = recorder.seen().verdict.take() {
                return Err(SecureError::Refused(refusal));
            }
            wire.transport = Transport::Stream(Layer::Tls(Box::new(session)));
            Ok::<_, SecureError>(())
        })
        .await
    }

    /// TLS for one handshake. A failure or a timeout here gives no information about the peer.
    pub(super) async fn prepared<T>(
        &mut self,
        tls: impl Future<Output = Result<T, TlsNotReady>>,
    ) -> Result<T, ProbeFailed> {
        match tokio::time::timeout_at(self.deadline().into(), tls).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(TlsNotReady::File(words))) => Err(self.fail(Reason::LocalFileUnreadable, words)),
            Ok(Err(TlsNotReady::System(error))) => {
                let reason = shortage(&error).unwrap_or(Reason::LocalFileUnreadable);
                Err(self.fail(
                    reason,
                    format!("The system's trusted certificates cannot be read: {error}."),
                ))
            }
            Err(_elapsed) => {
                let words = "The system's trusted certificates were not read before the deadline.";
                Err(self.fail(Reason::LocalOverloaded, words))
            }
        }
    }
}

fn facts(session: &ClientConnection, recorder: &Recorder) -> TlsFacts {
    TlsFacts {
        version: session.protocol_version().map(|version| match version {
            ProtocolVersion::TLSv1_2 => "TLS 1.2",
            ProtocolVersion::TLSv1_3 => "TLS 1.3",
            _ => "unknown",
        }),
        cipher: session.negotiated_cipher_suite().map(|suite| {
            // rustls has the name TLS13_AES_128_GCM_SHA256, IANA and Go have TLS_AES_128_GCM_SHA256.
            format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
        }),
        alpn: session
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned()),
        ..certificates_of(recorder).unwrap_or_default()
    }
}

/// If a write fails, the peer may have sent an alert before, but the library then does not read it.
fn with_unread_alert(error: Error, mut layer: Layer) -> Error {
    const ALERT: u8 = 21;
    let mut record = [0; 7];
    let closed = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    let came = closed.then(|| layer.read_exact(&mut record).now_or_never());
    match (came, record) {
        (Some(Some(Ok(_))), [ALERT, 3, _, 0, 2, _, code]) => {
            Error::new(ErrorKind::InvalidData, rustls::Error::AlertReceived(code.into()))
        }
        _ => error,
    }
}

/// The certificates of the handshake, if any were received.
pub(super) fn certificates_of(recorder: &Recorder) -> Option<TlsFacts> {
    let seen = recorder.seen();
    if seen.chain.is_empty() {
        return None;
    }
    Some(TlsFacts {
        chain: seen.chain.iter().map(|der| describe(der)).collect(),
        client_cert_asked: seen.client_cert_asked,
        verified_until: seen.verdict.as_ref().and_then(|verdict| verdict.as_ref().ok().copied()),
        note: seen.note.clone(),
        ..TlsFacts::default()
    })
}

pub(super) enum SecureError {
    OutOfOrder(OutOfOrder),
    BadName(String),
    Handshake {
        /// Whether the first bytes look like TLS. `None` if no byte was received.
        began_like_tls: Option<bool>,
        client_cert_asked: bool,
        error: Error,
    },
    Refused(Refusal),
    /// Result of an inspection or of the second TLS library.
    Told {
        reason: Reason,
        detail: String,
        /// The server's response that ended the second library's handshake.
        #[cfg_attr(
            not(feature = "legacy-tls"),
            allow(dead_code, reason = "used only by the second TLS library")
        )]
        refused_with: Option<HelloResponse>,
    },
}

impl From<OutOfOrder> for SecureError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl SecureError {
    /// Whether the handshake may have failed because the two sides share no version, suite or group: an alert or a
    /// closed connection before the server's choice, or a choice that was not offered.
    pub fn may_be_about_versions(&self, trace: &Trace) -> bool {
        let Self::Handshake {
            began_like_tls,
            client_cert_asked: false,
            error,
        } = self
        else {
            return false;
        };
        match began_like_tls {
            Some(false) => false,
            Some(true) => may_be_about_versions(error, trace.began_with_alert()),
            None => matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
        }
    }

    /// The reason if versions and suites are known not to be the cause.
    pub fn other_reason(&self) -> Reason {
        match self.reason() {
            Reason::TlsVersionOrCipherMismatch => Reason::TlsAlert,
            other => other,
        }
    }
}

impl StageError for SecureError {
    fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder(_) => OutOfOrder::REASON,
            Self::BadName(_) => Reason::LocalTargetInvalid,
            Self::Refused(refusal) => refusal.reason,
            Self::Told { reason, .. } => *reason,
            Self::Handshake {
                began_like_tls: Some(false),
                ..
            } => Reason::TlsNotSupported,
            Self::Handshake {
                client_cert_asked,
                error,
                began_like_tls,
            } => reason_of_tls(error, *client_cert_asked).unwrap_or(match (began_like_tls, error.kind()) {
                // This is not a TLS failure, because the server sent no TLS data.
                (None, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Reason::TcpReset,
                (None, ErrorKind::UnexpectedEof) => Reason::TcpClosed,
                (None, _) => Reason::TcpFailed,
                (_, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => Reason::TlsClosed,
                _ => Reason::TlsProtocolError,
            }),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::OutOfOrder(error) => error.to_string(),
            Self::BadName(name) => format!("{name:?} is not a valid TLS server name; set tls_config.server_name."),
            Self::Refused(refusal) => format!("The certificate was refused: {}.", refusal.words),
            Self::Handshake {
                began_like_tls: None,
                error,
                ..
            } => format!("The connection ended before any TLS byte was received: {error}."),
            Self::Told { detail, .. } => format!("{detail}."),
            Self::Handshake { error, .. } => format!("The TLS handshake failed: {error}."),
        }
    }

    fn timed_out(wire: &Wire) -> Reason {
        let heard = wire.trace.began_like_tls().is_some();
        if heard {
            Reason::TlsTimedOut
        } else {
            Reason::TcpNoResponse
        }
    }
}
