//! Secure: the TLS handshake and the certificate verification, before any request byte.

use super::layer::Layer;
use super::local_fault::shortage;
use super::second_handshake::SecondHandshake;
use super::secure_error::SecureError;
use super::tls::{Tls, TlsNotReady, server_name};
use super::transport::Transport;
use super::trust::Recorder;
use super::{Check, ProbeFailed};
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
                    wire.facts.tls = recorder.facts();
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
        ..recorder.facts().unwrap_or_default()
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
