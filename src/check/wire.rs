//! What one exchange runs over: the facts so far, the connection, the pending answer.

use super::datagram::Datagrams;
use super::dial::Dialled;
use super::dialogue::Line;
use super::echo::EchoSocket;
use super::exchange::Exchange;
use super::quic::Quic;
use super::socket::Socket;
use super::tape::Tape;
use crate::report::{Leg, WireFacts};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// Times of stages that are those of events on the wire, not those at which we got to run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// What the present stage really began with.
    pub began: Option<Instant>,
    /// The event that ended it.
    pub ended: Option<Instant>,
    /// Where the stage failed before the check got to know why.
    pub failed: Option<Instant>,
    /// The next stage begins then.
    pub next: Option<Instant>,
}

impl Times {
    /// The event that ends this stage begins the next.
    pub const fn hand_over(&mut self, at: Option<Instant>) {
        (self.ended, self.next) = (at, at);
    }
}

/// The wire of one exchange.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// The facts of the leg, without its laps.
    pub leg: Leg,
    /// What the wire knows better of the stages' times than we.
    pub times: Times,
    /// Where the connection was dialled: it can be dialled again.
    pub dialled: Option<Dialled>,
    /// The connection, until the exchange takes it.
    pub layer: Option<Layer>,
    /// The connection as a line to speak on, once something was said or heard there.
    pub line: Option<Line>,
    /// Where datagrams are exchanged instead.
    pub datagrams: Option<Datagrams>,
    /// The QUIC connection, until the exchange takes it.
    pub quic: Option<Quic>,
    /// Where an echo request was sent.
    pub echo: Option<EchoSocket>,
    /// The request and its pending answer.
    pub exchange: Option<Exchange>,
    /// Nothing is sent once the connection is open.
    pub is_silent: bool,
    /// What the connection saw.
    pub tape: Arc<Tape>,
}

impl Wire {
    pub fn new(url: String, wants_tls: bool) -> Self {
        Self {
            leg: Leg {
                url,
                wants_tls,
                ..Leg::default()
            },
            ..Self::default()
        }
    }

    /// Takes the connection. What was read and not heard before is not for who comes now: TLS after STARTTLS begins anew.
    pub fn take_layer(&mut self) -> Option<Layer> {
        self.layer.take().or_else(|| self.line.take().map(Line::into_layer))
    }

    /// Closes the connection and gives the facts; `begun` is when the probe began.
    pub fn close(self, begun: Instant) -> Leg {
        let Self {
            mut leg,
            layer,
            line,
            quic,
            exchange,
            tape,
            ..
        } = self;
        drop((layer, line, quic, exchange));
        let seen = tape.read_out();
        leg.socket = seen.socket;
        let clocks = seen.clocks();
        leg.wire = WireFacts {
            written: seen.written,
            read: seen.read,
            excerpt: seen.excerpt,
            below_tls: seen.below.since(begun),
            above_tls: seen.above.since(begun),
            clocks,
        };
        leg
    }
}

/// The connection as the exchange sees it: the socket, or TLS over another layer.
#[derive(Debug)]
pub(super) enum Layer {
    Plain(Socket),
    Tls(Box<TlsStream<Layer>>),
    /// The TLS of a proxy, before TLS begins within it.
    Within(Box<Within>),
    #[cfg(feature = "legacy-tls")]
    Legacy(super::legacy::LegacyStream),
}

impl Layer {
    /// The same layer, ready to carry TLS: the tape then tells how what comes begins.
    pub fn for_tls(self, tape: &Arc<Tape>) -> Self {
        let plain = matches!(self, Self::Plain(_));
        tape.speak_tls(!plain);
        if plain {
            return self;
        }
        Self::Within(Box::new(Within {
            layer: self,
            tape: tape.clone(),
        }))
    }

    /// Why TLS ended, if that has come and was not read: of what can no longer be written, a server may have told the reason
    /// before, by an alert. What else came stays unread.
    fn unread_fault(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let Self::Tls(session) = self else { return None };
        let (layer, tls) = session.get_mut();
        let mut source = Now { layer, cx };
        while matches!(tls.read_tls(&mut source), Ok(1..)) {
            if let Err(fault) = tls.process_new_packets() {
                return Some(io::Error::new(ErrorKind::InvalidData, fault));
            }
        }
        None
    }

    fn stream(&mut self) -> Pin<&mut (dyn Stream + '_)> {
        match self {
            Self::Plain(socket) => Pin::new(socket),
            Self::Tls(session) => Pin::new(session.as_mut()),
            Self::Within(within) => Pin::new(within.as_mut()),
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(session) => Pin::new(session),
        }
    }
}

impl AsyncRead for Layer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Layer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

/// The TLS of a proxy, which carries the TLS of the target: notes what is read from it, as the socket does for plain TCP.
#[derive(Debug)]
pub(super) struct Within {
    layer: Layer,
    tape: Arc<Tape>,
}

impl AsyncRead for Within {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.layer).poll_read(cx, buf))?;
        self.tape.read_within(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Within {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.layer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.layer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.layer).poll_shutdown(cx)
    }
}

/// Reads what a layer has now.
struct Now<'a, 'b> {
    layer: &'a mut Layer,
    cx: &'a mut Context<'b>,
}

impl io::Read for Now<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut *self.layer).poll_read(self.cx, &mut into) {
            Poll::Ready(read) => read.map(|()| into.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

/// Both directions of a connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The connection above TLS: notes the last byte of the request and the first of the answer.
#[derive(Debug)]
pub(super) struct Meter {
    layer: Layer,
    tape: Arc<Tape>,
    /// Interim answers that may come before the final one.
    most_interims: usize,
}

impl Meter {
    pub const fn new(layer: Layer, tape: Arc<Tape>) -> Self {
        Self {
            layer,
            tape,
            most_interims: usize::MAX,
        }
    }

    /// The same where HTTP is spoken. One interim answer more is let through, since the trailers of HTTP/2 look like one.
    pub fn of_http(self, most_interims: usize) -> Self {
        Self {
            most_interims: most_interims.saturating_add(1),
            ..self
        }
    }

    fn could_not_write(&mut self, cx: &mut Context<'_>) {
        if let Some(fault) = self.layer.unread_fault(cx) {
            self.tape.tls_failed(&fault);
        }
    }

    /// The connection below.
    pub fn into_layer(self) -> Layer {
        self.layer
    }
}

impl AsyncRead for Meter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match ready!(Pin::new(&mut self.layer).poll_read(cx, buf)) {
            // A TCP close without close_notify is an end like any other, if the last record is whole: popular sites do
            // it, and Go takes it so. A cut within a record is a cut, also where nothing else frames the body.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.tape.at_record_boundary() => {
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.tape.tls_failed(&error);
                Poll::Ready(Err(error))
            }
            Ok(()) => {
                self.tape.answer_read(&buf.filled()[before..]);
                if self.tape.interims() > self.most_interims {
                    // Who parses them would read on for as long as more of them come.
                    return Poll::Ready(Err(ErrorKind::InvalidData.into()));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Meter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.layer).poll_write(cx, buf));
        let written = written.inspect_err(|_| self.could_not_write(cx))?;
        self.tape.request_wrote(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.layer).poll_flush(cx));
        flushed.inspect_err(|_| self.could_not_write(cx))?;
        self.tape.request_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.layer).poll_shutdown(cx)
    }
}
