//! Repeats a refused TLS handshake with OpenSSL, the second TLS library (Cargo feature `legacy-tls`).

use super::{SecondHandshake, told};
use crate::check::StageError as _;
use crate::check::dial::Dialled;
use crate::check::layer::Layer;
use crate::check::legacy_tls::LegacyHandshake;
use crate::check::secure_error::SecureError;
use crate::check::tls_inspection::{HelloResponse, ServerChoice};
use crate::check::trace::Trace;
use crate::check::transport::Transport;
use crate::check::wire::Wire;
use glassbox_verdict::report::TlsFacts;
use std::sync::Arc;
use std::time::Instant;

impl SecondHandshake<'_> {
    pub(super) async fn with_second_library(
        &self,
        wire: &mut Wire,
        dialled: Option<&Dialled>,
    ) -> Result<(), SecureError> {
        let layer = wire.transport.take().into_stream()?;
        let failed = match self.shake_hands(wire, layer, false).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        match (&failed, dialled) {
            (
                SecureError::Told {
                    refused_with: Some(refusal),
                    ..
                },
                Some(dialled),
            ) => {
                let refusal = refusal.clone();
                Err(self.explained(wire, dialled, failed, Some(refusal)).await)
            }
            _ => Err(failed),
        }
    }

    /// Dials again and performs the handshake with the second library. The exchange continues over that connection.
    pub(super) async fn repeat(
        &self,
        wire: &mut Wire,
        dialled: &Dialled,
        chosen: ServerChoice,
        failed: &SecureError,
    ) -> Result<(), SecureError> {
        let trace = Arc::new(Trace::default());
        let again = self.dial(dialled, &trace).await;
        let (socket, local) = again.map_err(|error| {
            let detail = format!(
                "{} The server chose {}; opening a connection for a second handshake failed: {error}",
                failed.detail(),
                chosen.words()
            );
            told(error.own_reason().unwrap_or(failed.reason()), detail)
        })?;
        if let Some(inspection) = &mut wire.facts.inspection {
            inspection.repeated = true;
        }
        wire.trace = trace;
        wire.facts.local = local;
        self.shake_hands(wire, Layer::Plain(socket), chosen.client_cert_asked)
            .await
    }

    async fn shake_hands(&self, wire: &mut Wire, layer: Layer, client_cert_asked: bool) -> Result<(), SecureError> {
        wire.times.began = Some(Instant::now());
        wire.times.failed = None;
        let trace = wire.trace.clone();
        let connect_delay = trace.answered_late();
        let layer = layer.for_tls(&trace);
        let identity = self.tls.identity();
        let handshake = LegacyHandshake {
            name: self.name,
            alpn: &self.alpn,
            offer: self.offer(),
            certificate: identity.as_ref().and_then(|identity| identity.as_read()),
            recorder: self.recorder.clone(),
        };
        let shaken = handshake.run(layer).await;
        let (stream, facts) = match shaken {
            Ok(shaken) => shaken,
            Err(failed) => {
                wire.facts.tls = self.recorder.facts();
                let refused = self.recorder.seen().verdict.take();
                return Err(match refused {
                    Some(Err(refusal)) => SecureError::Refused(refusal),
                    _ => SecureError::Told {
                        reason: failed.reason(client_cert_asked, trace.began_like_tls().is_some()),
                        detail: format!("The TLS handshake failed: {}", failed.words()),
                        refused_with: failed.refusal(),
                    },
                });
            }
        };
        wire.times.ended = Instant::now().checked_sub(trace.handshake_delay(connect_delay));
        trace.secured(client_cert_asked);
        wire.facts.tls = Some(TlsFacts {
            client_cert_asked,
            ..facts
        });
        wire.transport = Transport::Stream(Layer::Legacy(stream));
        Ok(())
    }

    async fn explained(
        &self,
        wire: &mut Wire,
        dialled: &Dialled,
        failed: SecureError,
        refusal: Option<HelloResponse>,
    ) -> SecureError {
        wire.times.failed = Some(Instant::now());
        let decided = self.inspect(dialled, refusal).await;
        self.verdict(wire, decided, failed)
    }
}
