//! After a refused handshake, finds out what the server would choose ([`super::tls_inspection`]), and repeats the
//! handshake with the second TLS library if `blackbox_exporter` would connect.

#[cfg(feature = "legacy-tls")]
mod with_openssl;
#[cfg(not(feature = "legacy-tls"))]
mod without_openssl;

use super::dial::{DialError, Dialer, Dialled};
use super::secure_error::SecureError;
use super::socket::{Socket, SocketStream};
use super::stall_detector::in_time;
use super::tls::{Tls, TlsVersion};
use super::tls_inspection::{
    Decision, HelloOffer, HelloResponse, Randomness, Reader, alert_name, decide, everything, of_blackbox_exporter,
};
use super::trace::Trace;
use super::trust::Recorder;
use super::wire::Wire;
use super::{Check, StageError as _};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::TlsInspection;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Maximum duration of an inspection. An inspection also takes at most half of the probe's remaining time.
const LONGEST: Duration = Duration::from_secs(3);

/// Inputs of a second handshake.
pub(super) struct SecondHandshake<'a> {
    tls: &'a Tls,
    name: &'a str,
    alpn: Vec<Vec<u8>>,
    #[cfg_attr(
        not(feature = "legacy-tls"),
        allow(dead_code, reason = "used only by the second TLS library")
    )]
    recorder: Arc<Recorder>,
    dialer: Dialer,
    until: Instant,
}

impl<'a> SecondHandshake<'a> {
    pub fn new(check: &Check, tls: &'a Tls, name: &'a str, alpn: Vec<Vec<u8>>, recorder: Arc<Recorder>) -> Self {
        Self {
            tls,
            name,
            alpn,
            recorder,
            dialer: check.context.dialer.clone(),
            until: check.deadline(),
        }
    }

    /// What `blackbox_exporter` offers for this module.
    fn offer(&self) -> HelloOffer {
        let (min, max) = self.tls.versions();
        of_blackbox_exporter(min, max, self.alpn == [b"h2".to_vec()])
    }

    /// Whether the first TLS library can try the handshake. It cannot if the module allows only versions below TLS 1.2.
    /// If the module allows some of them, the first library tries only if the connection can be dialled again.
    pub fn is_for_the_first_library(&self, dialled: Option<&Dialled>) -> bool {
        let (min, max) = self.tls.versions();
        let has_its_own = max >= TlsVersion::Tls12 && min <= max;
        has_its_own && (min >= TlsVersion::Tls12 || dialled.is_some() || cfg!(not(feature = "legacy-tls")))
    }

    /// Performs the handshake with the second library because the first one cannot.
    pub async fn instead(&self, wire: &mut Wire, dialled: Option<&Dialled>) -> Result<(), SecureError> {
        let (min, max) = self.tls.versions();
        if max < min {
            let detail = format!(
                "No TLS version is enabled: max_version is {}, and min_version has its default, {}. Set min_version \
                 as well",
                key_word(max),
                key_word(min),
            );
            return Err(told(Reason::LocalTlsUnsupported, detail));
        }
        self.with_second_library(wire, dialled).await
    }

    /// Runs after the first library's handshake has failed: finds the cause, and repeats the handshake if that helps.
    pub async fn after(
        &self,
        wire: &mut Wire,
        dialled: Option<Dialled>,
        failed: SecureError,
    ) -> Result<(), SecureError> {
        if !failed.may_be_about_versions(&wire.trace) {
            return Err(failed);
        }
        let Some(dialled) = dialled else {
            let detail = format!(
                "{} The exporter did not check what else the server would choose, because the connection was \
                 negotiated before (STARTTLS, or a proxy) and is not repeated",
                failed.detail()
            );
            return Err(told(failed.reason(), detail));
        };
        // The inspection is not part of the phase.
        wire.times.failed = Some(Instant::now());
        let decided = self.inspect(&dialled, None).await;
        if let Ok(Decision::Connects(chosen)) = &decided {
            Self::note(wire, failed.detail(), Some(chosen.words()), Some(true));
            return self.repeat(wire, &dialled, *chosen, &failed).await;
        }
        Err(self.verdict(wire, decided, failed))
    }

    /// The verdict on a refused handshake, based on the server's responses.
    fn verdict(&self, wire: &mut Wire, decided: Result<Decision, DialError>, failed: SecureError) -> SecureError {
        let because = failed.detail();
        let (answer, connects, verdict) = match decided {
            Err(error) => {
                let detail = format!(
                    "{} An additional connection to find out what the server would choose failed: {error}",
                    failed.detail()
                );
                (None, None, told(error.own_reason().unwrap_or(failed.reason()), detail))
            }
            Ok(Decision::Mismatch(answer)) => {
                let detail = format!("{} {}", failed.detail(), self.mismatch(&answer));
                let reason = Reason::TlsVersionOrCipherMismatch;
                (Some(answer.words()), Some(false), told(reason, detail))
            }
            Ok(Decision::RefusesAll(alert)) => {
                let name = alert_name(alert);
                let detail = format!(
                    "{} The server refuses every common version and cipher suite with the alert {name}: it may have no \
                     certificate for this name",
                    failed.detail()
                );
                let reason = failed.other_reason();
                (
                    Some(HelloResponse::Alert(alert).words()),
                    Some(false),
                    told(reason, detail),
                )
            }
            Ok(Decision::OtherCause(chosen) | Decision::Connects(chosen)) => {
                let detail = format!(
                    "{} In an additional connection the server chose {}, which the exporter supports, so \
                     the version and the cipher suite are not the cause",
                    failed.detail(),
                    chosen.words()
                );
                (Some(chosen.words()), None, told(failed.other_reason(), detail))
            }
            Ok(Decision::Unknown(HelloResponse::Closed)) => (Some(HelloResponse::Closed.words()), None, failed),
            Ok(Decision::Unknown(answer)) => {
                let detail = format!(
                    "{} The result of an additional connection is {}",
                    failed.detail(),
                    answer.words()
                );
                (Some(answer.words()), None, told(failed.reason(), detail))
            }
            Ok(Decision::AskAgain) => (None, None, failed),
        };
        Self::note(wire, because, answer, connects);
        verdict
    }

    fn mismatch(&self, answer: &HelloResponse) -> String {
        let (min, max) = self.tls.versions();
        let range = format!("{} to {}", key_word(min), key_word(max));
        match answer {
            HelloResponse::Chosen(chosen) => format!(
                "With an offer of every common version and cipher suite, the server chose {}. It refuses the offer of \
                 this module ({range}), so it would also refuse blackbox_exporter 0.28",
                chosen.words()
            ),
            other => format!(
                "The server refuses every common version and cipher suite from TLS 1.0 to 1.3 with {}",
                other.words()
            ),
        }
    }

    fn note(wire: &mut Wire, because: String, answer: Option<String>, connects: Option<bool>) {
        wire.facts.inspection = Some(Box::new(TlsInspection {
            answer,
            blackbox_connects: connects,
            repeated: false,
            because,
        }));
    }

    /// Finds out what the server would choose. `second`: its response to the offer of `blackbox_exporter`, if that was
    /// already sent.
    async fn inspect(&self, dialled: &Dialled, second: Option<HelloResponse>) -> Result<Decision, DialError> {
        let now = Instant::now();
        let until = now + (self.until.saturating_duration_since(now) / 2).min(LONGEST);
        let offer = self.offer();
        let all = self.ask(dialled, &everything(), until).await?;
        match decide(&offer, &all, second.as_ref()) {
            Decision::AskAgain => {
                let Ok(second) = self.ask(dialled, &offer, until).await else {
                    return Ok(Decision::Unknown(all));
                };
                Ok(decide(&offer, &all, Some(&second)))
            }
            decided => Ok(decided),
        }
    }

    /// Sends one hello on a separate connection and reads the response.
    async fn ask(&self, dialled: &Dialled, offer: &HelloOffer, until: Instant) -> Result<HelloResponse, DialError> {
        let mut random = Randomness([0; 96]);
        getrandom::fill(&mut random.0).map_err(io::Error::other)?;
        let alpn: Vec<&[u8]> = self.alpn.iter().map(Vec::as_slice).collect();
        let hello = offer.client_hello(self.name, &alpn, &random);
        let mut reader = Reader::default();
        let asking = async {
            let trace = Arc::new(Trace::default());
            let (mut socket, _) = self.dial(dialled, &trace).await?;
            // If the write fails, there may still be a response or a closed connection to read.
            let _ = socket.write_all(&hello).await;
            let mut bytes = vec![0; 4096];
            loop {
                // A reset after the choice does not change the choice. A reset before it counts as a closed connection.
                let read = socket.read(&mut bytes).await.unwrap_or(0);
                if read == 0 {
                    return Ok(reader.end());
                }
                if let Some(answer) = reader.feed(&bytes[..read]) {
                    return Ok(answer);
                }
            }
        };
        let asked: Option<Result<HelloResponse, DialError>> = in_time(until, pin!(asking)).await;
        let silent = || io::Error::new(io::ErrorKind::TimedOut, "no response in time").into();
        asked.unwrap_or_else(|| Err(silent()))
    }

    /// Dials again. Distinguishes a resource shortage of this host from a target failure.
    async fn dial(
        &self,
        dialled: &Dialled,
        trace: &Arc<Trace>,
    ) -> Result<(Socket, Option<std::net::SocketAddr>), DialError> {
        let begun = Instant::now();
        let (pipe, local) = match dialled {
            Dialled::Tcp(from, to) => {
                let stream = self.dialer.tcp(*from, *to)?.connect().await?;
                let local = stream.local_addr().ok();
                (SocketStream::Tcp(Arc::new(stream)), local)
            }
            Dialled::Unix(path) => {
                let (stream, _) = self.dialer.unix(path, self.until).await?;
                (SocketStream::Unix(stream), None)
            }
        };
        trace.connected(None);
        Ok((Socket::new(pipe, trace.clone(), begun), local))
    }
}

fn told(reason: Reason, detail: String) -> SecureError {
    SecureError::Told {
        reason,
        detail,
        refused_with: None,
    }
}

/// The version's name in the configuration file.
const fn key_word(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls10 => "TLS10",
        TlsVersion::Tls11 => "TLS11",
        TlsVersion::Tls12 => "TLS12",
        TlsVersion::Tls13 => "TLS13",
    }
}
