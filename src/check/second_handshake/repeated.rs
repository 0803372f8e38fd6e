//! With the second TLS library.

use super::{SecondHandshake, told};
use crate::check::Failure as _;
use crate::check::dial::Dialled;
use crate::check::inspection::{Answer, Chosen};
use crate::check::legacy::Handshake;
use crate::check::secure::{SecureError, certificates_of};
use crate::check::tape::Tape;
use crate::check::wire::{Layer, Wire};
use crate::report::TlsFacts;
use std::sync::Arc;
use std::time::Instant;

impl SecondHandshake<'_> {
    pub(super) async fn with_second_library(
        &self,
        wire: &mut Wire,
        dialled: Option<&Dialled>,
    ) -> Result<(), SecureError> {
        let layer = wire.take_layer().ok_or(SecureError::NotConnected)?;
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

    /// Dials again and shakes hands with the second library. The exchange goes on over that connection.
    pub(super) async fn repeat(
        &self,
        wire: &mut Wire,
        dialled: &Dialled,
        chosen: Chosen,
        failed: &SecureError,
    ) -> Result<(), SecureError> {
        let tape = Arc::new(Tape::default());
        let again = self.dial(dialled, &tape).await;
        let (socket, local) = again.map_err(|error| {
            let detail = format!(
                "{} The server chose {}; the connection for a second handshake failed: {error}",
                failed.detail(),
                chosen.words()
            );
            told(error.own_reason().unwrap_or(failed.reason()), detail)
        })?;
        if let Some(inspection) = &mut wire.leg.inspection {
            inspection.repeated = true;
        }
        wire.tape = tape;
        wire.leg.local = local;
        self.shake_hands(wire, Layer::Plain(socket), chosen.client_cert_asked)
            .await
    }

    async fn shake_hands(&self, wire: &mut Wire, layer: Layer, client_cert_asked: bool) -> Result<(), SecureError> {
        wire.times.began = Some(Instant::now());
        wire.times.failed = None;
        let tape = wire.tape.clone();
        let connect_delay = tape.connect_delay();
        let layer = layer.for_tls(&tape);
        let credentials = self.tls.credentials();
        let handshake = Handshake {
            name: self.name,
            alpn: &self.alpn,
            offer: self.offer(),
            certificate: credentials.as_ref().and_then(|credentials| credentials.certificate()),
            recorder: self.recorder.clone(),
        };
        let shaken = handshake.run(layer).await;
        let (stream, facts) = match shaken {
            Ok(shaken) => shaken,
            Err(failed) => {
                wire.leg.tls = certificates_of(&self.recorder);
                let refused = self.recorder.seen().verdict.take();
                return Err(match refused {
                    Some(Err(refusal)) => SecureError::Refused(refusal),
                    _ => SecureError::Told {
                        reason: failed.reason(client_cert_asked, tape.began_like_tls().is_some()),
                        detail: format!("The TLS handshake failed: {}", failed.words()),
                        refused_with: failed.refusal(),
                    },
                });
            }
        };
        wire.times.ended = Instant::now().checked_sub(tape.handshake_delay(connect_delay));
        tape.secured(client_cert_asked);
        wire.leg.tls = Some(TlsFacts {
            client_cert_asked,
            ..facts
        });
        wire.layer = Some(Layer::Legacy(stream));
        Ok(())
    }

    async fn explained(
        &self,
        wire: &mut Wire,
        dialled: &Dialled,
        failed: SecureError,
        refusal: Option<Answer>,
    ) -> SecureError {
        wire.times.failed = Some(Instant::now());
        let decided = self.inspect(dialled, refusal).await;
        self.verdict(wire, decided, failed)
    }
}
