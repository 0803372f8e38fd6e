//! The transport of one exchange: a single value that the stages hand on.
//!
//! Each stage needs the state that an earlier stage left, and leaves its own:
//!
//! | stage | needs | leaves |
//! |---|---|---|
//! | `connect`, `connect_unix` | | `Stream` |
//! | `tunnel` | `Stream` | `Stream` |
//! | `secure` | `Stream`, or `Dialogue` (STARTTLS) | `Stream` |
//! | `secure_quic` | | `Quic` |
//! | `send` | `Stream`, `Dialogue` or `Quic` | `Pending` |
//! | `wait` | `Pending` | `Pending` |
//! | `receive` | `Pending` | `Pending`, or `Dialogue` after a switch to another protocol |
//! | `write`, `await_data`, `hear` | `Stream` or `Dialogue` | `Dialogue` |
//! | `send_datagram` | | `Datagrams` |
//! | `await_datagram` | `Datagrams` | `Datagrams` |
//! | `send_echo` | | `Echo` |
//! | `await_echo` | `Echo` | `Echo` |
//!
//! The probers call the stages in a valid order, whatever the target does. A stage that finds another state is therefore
//! a defect of the exporter, and its error, [`OutOfOrder`], is a local error.

mod datagrams;
mod dialogue;
mod echo;
mod quic;

pub(super) use datagrams::{Datagrams, LARGEST};
pub(super) use dialogue::DialogueConnection;
pub(super) use echo::{EchoSocket, EchoSocketKind};
pub(super) use quic::{BackgroundTasks, Leftovers, Quic, QuicSocket};

use super::layer::Layer;
use super::pending_response::PendingResponse;
use glassbox_verdict::reason::Reason;

/// The transport of an exchange, in the state that the last stage left.
#[derive(Debug, Default)]
pub(super) enum Transport {
    /// Nothing is open: no stage has connected, or a stage failed and closed the connection.
    #[default]
    Closed,
    /// An open connection.
    Stream(Layer),
    /// A connection with a dialogue, and the received bytes that the dialogue has not consumed.
    Dialogue(DialogueConnection),
    /// A QUIC connection.
    Quic(Quic),
    /// A connection with a request on it, and the pending response.
    Pending(PendingResponse),
    /// A socket on which a datagram was sent.
    Datagrams(Datagrams),
    /// A socket on which an echo request was sent.
    Echo(EchoSocket),
}

impl Transport {
    /// Takes the transport for a stage that replaces it.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The connection as a stream of bytes. Bytes that were read but not consumed are dropped: TLS after STARTTLS starts
    /// from scratch.
    pub fn into_stream(self) -> Result<Layer, OutOfOrder> {
        match self {
            Self::Stream(layer) => Ok(layer),
            Self::Dialogue(dialogue) => Ok(dialogue.into_layer()),
            other => Err(other.instead_of("a connection")),
        }
    }

    /// The open connection, for a stage that leaves it open.
    pub fn stream(&mut self) -> Result<&mut Layer, OutOfOrder> {
        match self {
            Self::Stream(layer) => Ok(layer),
            other => Err(other.instead_of("a connection without a dialogue")),
        }
    }

    /// The dialogue, which `begin` starts on a connection that has none yet.
    pub fn dialogue(
        &mut self,
        begin: impl FnOnce(Layer) -> DialogueConnection,
    ) -> Result<&mut DialogueConnection, OutOfOrder> {
        if matches!(self, Self::Stream(_)) {
            *self = Self::Dialogue(begin(self.take().into_stream()?));
        }
        match self {
            Self::Dialogue(dialogue) => Ok(dialogue),
            other => Err(other.instead_of("a connection")),
        }
    }

    /// The pending response.
    pub fn pending(&mut self) -> Result<&mut PendingResponse, OutOfOrder> {
        match self {
            Self::Pending(pending) => Ok(pending),
            other => Err(other.instead_of("a request")),
        }
    }

    /// The socket on which a datagram was sent.
    pub fn datagrams(&self) -> Result<&Datagrams, OutOfOrder> {
        match self {
            Self::Datagrams(datagrams) => Ok(datagrams),
            other => Err(other.instead_of("a sent datagram")),
        }
    }

    /// The socket on which an echo request was sent.
    pub fn echo(&self) -> Result<&EchoSocket, OutOfOrder> {
        match self {
            Self::Echo(echo) => Ok(echo),
            other => Err(other.instead_of("a sent echo request")),
        }
    }

    const fn instead_of(&self, needed: &'static str) -> OutOfOrder {
        let found = match self {
            Self::Closed => "nothing",
            Self::Stream(_) => "a connection",
            Self::Dialogue(_) => "a dialogue",
            Self::Quic(_) => "a QUIC connection",
            Self::Pending(_) => "a request",
            Self::Datagrams(_) => "a sent datagram",
            Self::Echo(_) => "a sent echo request",
        };
        OutOfOrder { needed, found }
    }
}

/// A stage did not find the state that it needs. This does not indicate a fault of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "A stage needs {needed}, but an earlier stage left {found}. This is a defect of the exporter; please report it."
)]
pub(super) struct OutOfOrder {
    needed: &'static str,
    found: &'static str,
}

impl OutOfOrder {
    /// The reason of each failed stage with this error.
    pub const REASON: Reason = Reason::LocalInternalError;

    /// The response was read before.
    pub const RESPONSE_TAKEN: Self = Self {
        needed: "an unread response",
        found: "a response that was read",
    };

    /// No response was read.
    pub const NO_RESPONSE: Self = Self {
        needed: "a response that was read",
        found: "none",
    };
}

#[cfg(test)]
mod tests {
    use super::{OutOfOrder, Transport};
    use crate::check::pending_response::PendingResponse;
    use crate::check::response_error::{Http1Error, WireError};
    use crate::check::{
        BodyPlan, Check, DialogueRead, HttpRequest, Ping, ProbeContext, ProbeFailed, RequestMode, Tls, Tunnel,
    };
    use crate::target::Scheme;
    use bytes::Bytes;
    use glassbox_verdict::host_port::HostPort;
    use glassbox_verdict::reason::Reason;
    use glassbox_verdict::report::Fault;
    use http::{HeaderMap, HeaderValue, Method};
    use std::net::Ipv4Addr;
    use std::time::Duration;

    /// The failure of the last of these stages, which are all of one exchange.
    async fn fault(stages: impl AsyncFnOnce(&mut Check) -> Result<(), ProbeFailed>) -> Fault {
        let mut check = Check::new(&ProbeContext::default(), Duration::from_mins(1));
        check.begin_exchange("test://target".to_owned(), false);
        stages(&mut check).await.unwrap_err();
        check.finish().fault.unwrap()
    }

    fn request() -> HttpRequest {
        HttpRequest {
            method: Method::GET,
            scheme: Scheme::Http,
            target: Bytes::from_static(b"/"),
            authority: HeaderValue::from_static("app.example"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            mode: RequestMode::Normal,
        }
    }

    fn ping() -> Ping {
        Ping {
            from: None,
            payload: Vec::new(),
            dont_fragment: false,
            hop_limit: None,
            sequence: 1,
        }
    }

    #[tokio::test]
    async fn a_stage_without_its_transport_is_a_local_error() {
        let faults = [
            fault(async |check| {
                check
                    .tunnel(&Tunnel::Socks5(None), &HostPort::new("app.example", 80))
                    .await
            })
            .await,
            fault(async |check| check.secure(&Tls::without_verification(), "app.example", false).await).await,
            fault(async |check| check.send(request()).await).await,
            fault(async |check| check.wait().await).await,
            fault(async |check| check.receive(|_| BodyPlan::default()).await.map(drop)).await,
            fault(async |check| check.write(b"x").await).await,
            fault(async |check| check.await_data().await).await,
            fault(async |check| check.hear(|_, _| DialogueRead::Whole(0, ())).await).await,
            fault(async |check| check.await_datagram(|_| Some(())).await).await,
            fault(async |check| check.await_echo(&ping()).await).await,
        ];
        for fault in faults {
            assert_eq!(fault.reason, Reason::LocalInternalError, "{fault:?}");
            assert!(fault.reason.is_local_error());
            assert!(fault.detail.contains("an earlier stage left nothing"), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_stage_with_another_transport_is_a_local_error() {
        let server = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = server.local_addr().unwrap();
        let fault = fault(async |check| {
            check.send_datagram(None, to, b"question").await?;
            check.wait().await
        })
        .await;
        assert_eq!(fault.reason, Reason::LocalInternalError);
        assert_eq!(
            fault.detail,
            "A stage needs a request, but an earlier stage left a sent datagram. This is a defect of the exporter; \
             please report it."
        );
    }

    #[tokio::test]
    async fn a_response_is_read_once_and_its_failure_is_the_targets() {
        let closed = async { Err(WireError::from(Http1Error::Closed)) };
        let mut reasons = Vec::new();
        fault(async |check| {
            check.wire.transport = Transport::Pending(PendingResponse::alone(closed));
            for _ in 0..2 {
                check.receive(|_| BodyPlan::default()).await.unwrap_err();
                reasons.extend(check.fault.as_ref().map(|fault| fault.reason));
            }
            Err(check.fail_without_reply())
        })
        .await;
        assert_eq!(reasons, [Reason::HttpClosedBeforeResponse, OutOfOrder::REASON]);
    }

    #[tokio::test]
    async fn a_missing_response_is_a_local_error() {
        let fault = fault(async |check| Err(check.fail_without_reply())).await;
        assert_eq!(fault.reason, Reason::LocalInternalError);
    }
}
