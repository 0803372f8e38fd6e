//! QUIC (RFC 9000): the connection and its TLS handshake are one phase, measured as Secure.

use super::dial::DialError;
use super::quic_error::{reason_of_quic, words};
use super::refusal::Refusal;
use super::tls::{Tls, server_name};
use super::trace::Trace;
use super::transport::{BackgroundTasks, Leftovers, Quic, QuicSocket, Transport};
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::host_port::Host;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::TlsFacts;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig};
use quinn::{
    ClientConfig, ConnectError, Connection, ConnectionError, Endpoint, EndpointConfig, TransportConfig, VarInt,
};
use rustls::KeyLog;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of unsent request bytes. Data that the library holds back cannot be observed.
const UNSENT: u64 = 64 * 1024;

impl Check {
    /// Opens a QUIC connection to an address, for `name`. Records the data that the peer sent, even if it is refused.
    ///
    /// # Errors
    /// Fails if no response arrives, the handshake fails or the certificate is not accepted.
    pub async fn secure_quic(&mut self, tls: &Tls, name: &str, to: SocketAddr) -> Result<(), ProbeFailed> {
        let context = self.context.clone();
        // A denied target must not cause any file access.
        self.admit(to)?;
        let (mut config, recorder) = self.prepared(tls.for_quic()).await?;
        self.stage(Stage::Secure, async |wire| {
            wire.facts.peer = Some(to);
            if server_name(name).is_none() {
                return Err(QuicError::BadName(name.to_owned()));
            }
            wire.facts.tls_name = Some(name.to_owned());
            config.key_log = Arc::new(HandshakeWatch(wire.trace.clone()));
            let config = QuicClientConfig::try_from(config).map_err(|_| QuicError::NoCipher)?;
            let mut config = ClientConfig::new(Arc::new(config));
            config.transport_config(Arc::new(transport()));
            let helpers = BackgroundTasks::new(&wire.trace);
            // Declared first, so that it is dropped last, however the stage ends.
            let leftovers = Leftovers::of(helpers.clone());
            let socket = Arc::new(QuicSocket::open(&context, to, wire.trace.clone()).await?);
            let endpoint =
                Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket.clone(), helpers)?;
            wire.facts.local = endpoint.local_addr().ok();
            wire.times.began = Some(Instant::now());
            let connecting = endpoint
                .connect_with(config, to, Host::new(name).as_str())
                .map_err(QuicError::Unusable)?;
            let connected = tokio::select! {
                connected = connecting => connected,
                () = socket.fell_short.notified() => Err(ConnectionError::LocallyClosed),
            };
            let connection = match connected {
                Ok(connection) => connection,
                Err(error) => {
                    wire.facts.tls = recorder.facts();
                    let client_cert_asked = recorder.seen().client_cert_asked;
                    let handshake = QuicError::Handshake {
                        client_cert_asked,
                        heard: wire.trace.heard_quic_handshake(),
                        error,
                    };
                    return Err(socket.fault().map_or(handshake, QuicError::from));
                }
            };
            wire.times.ended = Instant::now().checked_sub(wire.trace.handshake_delay(Duration::ZERO));
            wire.facts.tls = Some(facts(&connection, recorder.facts()));
            wire.trace.secured(recorder.seen().client_cert_asked);
            let verdict = recorder.seen().verdict.take();
            wire.transport = Transport::Quic(Quic::new(connection, socket, endpoint, leftovers));
            match verdict {
                Some(Err(refusal)) => Err(QuicError::Refused(refusal)),
                _ => Ok::<_, QuicError>(()),
            }
        })
        .await
    }
}

/// Detects the arrival of a handshake message, because the library then calls `will_log`. No key is logged.
#[derive(Debug)]
struct HandshakeWatch(Arc<Trace>);

impl KeyLog for HandshakeWatch {
    fn log(&self, _: &str, _: &[u8], _: &[u8]) {}

    fn will_log(&self, _: &str) -> bool {
        self.0.quic_handshake_came();
        false
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    // The probe's deadline applies instead of this timeout.
    transport.max_idle_timeout(None);
    transport.send_window(UNSENT);
    // The server may only open the streams that HTTP/3 requires.
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.datagram_receive_buffer_size(None);
    transport
}

fn facts(connection: &Connection, certificates: Option<TlsFacts>) -> TlsFacts {
    let agreed = connection.handshake_data();
    let agreed = agreed.and_then(|data| data.downcast::<HandshakeData>().ok());
    TlsFacts {
        // RFC 9001 section 4.2: QUIC uses TLS 1.3 or later. The library does not report the cipher suite.
        version: Some("TLS 1.3"),
        alpn: agreed
            .and_then(|data| data.protocol)
            .map(|name| String::from_utf8_lossy(&name).into_owned()),
        ..certificates.unwrap_or_default()
    }
}

enum QuicError {
    BadName(String),
    NoCipher,
    /// The library refuses to dial.
    Unusable(ConnectError),
    Dial(DialError),
    Handshake {
        client_cert_asked: bool,
        /// Whether a handshake message was received.
        heard: bool,
        error: ConnectionError,
    },
    Refused(Refusal),
}

impl From<io::Error> for QuicError {
    fn from(error: io::Error) -> Self {
        Self::Dial(error.into())
    }
}

impl From<DialError> for QuicError {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl StageError for QuicError {
    fn reason(&self) -> Reason {
        match self {
            Self::BadName(_) | Self::Unusable(ConnectError::InvalidRemoteAddress(_)) => Reason::LocalTargetInvalid,
            // The library was used in an invalid way, and nothing was sent.
            Self::NoCipher | Self::Unusable(_) => Reason::LocalInternalError,
            Self::Refused(refusal) => refusal.reason,
            Self::Dial(error) => error.own_reason().unwrap_or(match error.kind() {
                ErrorKind::ConnectionRefused => Reason::QuicRefused,
                ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::InvalidInput => Reason::TcpAddressUnreachable,
                _ => Reason::QuicFailed,
            }),
            Self::Handshake {
                client_cert_asked,
                heard,
                error,
            } => reason_of_quic(error, *client_cert_asked).unwrap_or(match (heard, error) {
                // This is not a TLS failure, because the server sent no TLS data.
                (false, _) => Reason::QuicFailed,
                (true, ConnectionError::TransportError(_)) => Reason::TlsProtocolError,
                (true, _) => Reason::TlsClosed,
            }),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::BadName(name) => format!("{name:?} is not a valid TLS server name; set tls_config.server_name."),
            Self::NoCipher => "QUIC needs TLS_AES_128_GCM_SHA256.".to_owned(),
            Self::Unusable(error) => format!("QUIC: {error}."),
            Self::Refused(refusal) => format!("The certificate was refused: {}.", refusal.message),
            Self::Dial(error) if error.kind() == ErrorKind::ConnectionRefused => {
                "The host reports that nothing is listening on this UDP port.".to_owned()
            }
            Self::Dial(error) => format!("The datagram exchange failed: {error}."),
            Self::Handshake {
                heard: false, error, ..
            } => {
                format!(
                    "The connection ended before any handshake message was received: {}.",
                    words(error)
                )
            }
            Self::Handshake { error, .. } => format!("The QUIC handshake failed: {}.", words(error)),
        }
    }

    fn timed_out(wire: &Wire) -> Reason {
        match (wire.trace.heard_quic_handshake(), wire.trace.last_read()) {
            (true, _) => Reason::TlsTimedOut,
            // The server responds, but does not start a handshake.
            (false, Some(_)) => Reason::QuicFailed,
            (false, None) => Reason::QuicTimedOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::QuicError;
    use crate::check::StageError as _;
    use glassbox_verdict::reason::Reason;
    use quinn::ConnectError;

    #[test]
    fn a_library_that_refuses_to_dial_is_a_local_error() {
        let unusable = |error| QuicError::Unusable(error).reason();
        assert_eq!(QuicError::NoCipher.reason(), Reason::LocalInternalError);
        assert_eq!(unusable(ConnectError::EndpointStopping), Reason::LocalInternalError);
        // Port 0, or the address 0.0.0.0.
        let address = ([127, 0, 0, 1], 0).into();
        assert_eq!(
            unusable(ConnectError::InvalidRemoteAddress(address)),
            Reason::LocalTargetInvalid
        );
    }
}
