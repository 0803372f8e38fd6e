//! The layers of a connection: the socket, TLS over another layer, and the recording of what passes above TLS.

use super::http2::HeaderBlocks;
use super::memory_limit::Buffered;
use super::socket::Socket;
use super::trace::Trace;
use crate::limits::Limits;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// The connection of the exchange: the socket, or TLS over another layer.
#[derive(Debug)]
pub(super) enum Layer {
    Plain(Socket),
    Tls(Box<TlsStream<Layer>>),
    /// TLS to a proxy, which carries the TLS connection to the target.
    Within(Box<TlsWithinTls>),
    #[cfg(feature = "legacy-tls")]
    Legacy(super::legacy_tls::LegacyStream<Layer>),
}

impl Layer {
    /// The same layer, prepared to carry TLS: the trace then records how the received data starts.
    pub fn for_tls(self, trace: &Arc<Trace>) -> Self {
        let plain = matches!(self, Self::Plain(_));
        trace.speak_tls(!plain);
        if plain {
            return self;
        }
        Self::Within(Box::new(TlsWithinTls {
            layer: self,
            trace: trace.clone(),
        }))
    }

    /// The reason why TLS ended, if it was received but not read: a server may send an alert before a write fails. The
    /// decrypted data stays unread.
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
    /// Reads up to one TLS record. `TlsStream::poll_read` reads more, and the first record would then have the arrival
    /// time of the last.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self::Tls(session) = &mut *self else {
            return self.stream().poll_read(cx, buf);
        };
        let mut session = Pin::new(session.as_mut());
        let chunk = ready!(session.as_mut().poll_fill_buf(cx))?;
        let count = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk[..count]);
        session.consume(count);
        Poll::Ready(Ok(()))
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

/// TLS to a proxy that carries TLS to the target. Records what is read from it, as the socket does for plain TCP.
#[derive(Debug)]
pub(super) struct TlsWithinTls {
    layer: Layer,
    trace: Arc<Trace>,
}

impl AsyncRead for TlsWithinTls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.layer).poll_read(cx, buf))?;
        self.trace.read_within(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsWithinTls {
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

/// Reads the data that a layer has available.
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

/// The connection above TLS. Records the last byte of the request and the first byte of the response.
#[derive(Debug)]
pub(super) struct TracedStream {
    layer: Layer,
    trace: Arc<Trace>,
    /// Maximum number of interim responses before the final HTTP/2 response.
    most_interims: usize,
    /// Memory that the reader may hold for received data.
    buffered: Option<Buffered>,
    /// HTTP/2 header blocks on their way to the library.
    blocks: Option<Box<HeaderBlocks>>,
}

impl TracedStream {
    pub const fn new(layer: Layer, trace: Arc<Trace>) -> Self {
        Self {
            layer,
            trace,
            most_interims: usize::MAX,
            buffered: None,
            blocks: None,
        }
    }

    /// The same, with accounting for the data that a library holds.
    pub fn read_by(self, buffered: Buffered) -> Self {
        Self {
            buffered: Some(buffered),
            ..self
        }
    }

    /// The same for HTTP/2. It allows one additional interim response, because trailers look like one.
    pub fn of_http2(self, limits: &Limits, is_head: bool) -> Self {
        let blocks = HeaderBlocks::up_to(limits.response_head);
        Self {
            most_interims: limits.interim_responses.saturating_add(1),
            blocks: Some(Box::new(if is_head { blocks.answering_head() } else { blocks })),
            ..self
        }
    }

    /// Reads for the HTTP/2 library. `blocks` renames the fields that the library would reject.
    fn poll_blocks(
        &mut self,
        blocks: &mut HeaderBlocks,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if blocks.give(buf) {
                return Poll::Ready(Ok(()));
            }
            if let Some(refused) = blocks.refused() {
                let words = refused.words();
                let words = words.trim_end_matches('.').to_owned();
                return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, words)));
            }
            let before = buf.filled().len();
            ready!(self.poll_below(cx, buf))?;
            let came = &buf.filled()[before..];
            if came.is_empty() {
                blocks.end();
                blocks.give(buf);
                return Poll::Ready(Ok(()));
            }
            let straight = blocks.take(came);
            self.trace.deviates(blocks.found());
            buf.set_filled(before + straight);
            if straight > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_below(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match ready!(Pin::new(&mut self.layer).poll_read(cx, buf)) {
            // A TCP close without close_notify is a normal end if the last record is complete. Popular sites do
            // this, and Go accepts it. A cut within a record is a truncation, even if nothing else frames the body.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.trace.at_record_boundary() => {
                self.trace.lacks_close_notify();
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.trace.tls_failed(&error);
                Poll::Ready(Err(error))
            }
            Ok(()) => {
                self.trace.answer_read(&buf.filled()[before..]);
                let count = buf.filled().len() - before;
                if let Some(Err(no_memory)) = self.buffered.as_mut().map(|buffered| buffered.more(count)) {
                    self.trace.out_of_memory();
                    return Poll::Ready(Err(io::Error::new(ErrorKind::OutOfMemory, no_memory)));
                }
                if self.trace.interims() > self.most_interims {
                    // The parser would otherwise read on as long as more interim responses arrive.
                    return Poll::Ready(Err(ErrorKind::InvalidData.into()));
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn could_not_write(&mut self, cx: &mut Context<'_>) {
        if let Some(fault) = self.layer.unread_fault(cx) {
            self.trace.tls_failed(&fault);
        }
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Records that the memory limit does not allow more received data.
    pub fn out_of_memory(&self) {
        self.trace.out_of_memory();
    }

    /// The underlying connection.
    pub fn into_layer(self) -> Layer {
        self.layer
    }
}

impl AsyncRead for TracedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut blocks) = self.blocks.take() else {
            return self.poll_below(cx, buf);
        };
        let read = self.poll_blocks(&mut blocks, cx, buf);
        self.blocks = Some(blocks);
        read
    }
}

impl AsyncWrite for TracedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.layer).poll_write(cx, buf));
        let written = written.inspect_err(|_| self.could_not_write(cx))?;
        self.trace.request_wrote(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.layer).poll_flush(cx));
        flushed.inspect_err(|_| self.could_not_write(cx))?;
        self.trace.request_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.layer).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{Layer, Trace};
    use crate::check::socket::{Socket, SocketStream};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    /// A server for `localhost`, and a client that trusts it.
    fn both_ends() -> (TlsAcceptor, TlsConnector) {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from(issued.cert.der().to_vec());
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (
            TlsAcceptor::from(Arc::new(server)),
            TlsConnector::from(Arc::new(client)),
        )
    }

    /// The head and the body have both arrived. A read of both would give the head the body's arrival time.
    #[tokio::test]
    async fn a_read_takes_one_tls_record() {
        let (acceptor, connector) = both_ends();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            for record in [b"head", b"body"] {
                stream.write_all(record).await.unwrap();
                stream.flush().await.unwrap();
            }
            stream
        });
        let stream = Arc::new(TcpStream::connect(address).await.unwrap());
        let socket = Socket::new(SocketStream::Tcp(stream), Arc::new(Trace::default()), Instant::now());
        let name = "localhost".try_into().unwrap();
        let session = connector.connect(name, Layer::Plain(socket)).await.unwrap();
        let _server = server.await.unwrap();
        let mut layer = Layer::Tls(Box::new(session));
        let mut read = [0; 64];
        for record in [b"head", b"body"] {
            let count = layer.read(&mut read).await.unwrap();
            assert_eq!(&read[..count], record);
        }
    }
}
