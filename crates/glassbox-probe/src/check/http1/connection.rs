//! The connection of one HTTP/1 request: writes the request while it reads, and holds unconsumed received bytes.
//!
//! A server may respond before it has received the whole request, and may then close the connection: for example with
//! 413 (Content Too Large). Writing the whole request first would lose that response, or block forever if neither side
//! reads. Therefore each read first takes what has arrived, and writes a part of the request only if nothing has. Go
//! writes and reads in two goroutines, with the same result.
//!
//! A failed write does not end the exchange at once, because the response may be on its way. The error is kept, and
//! what the next reads return decides:
//!
//! | failed write | data arrives | nothing has arrived yet | the stream ends |
//! |---|---|---|---|
//! | broken pipe | the response | wait | the connection was closed |
//! | reset | the response | wait | the error of the write, since the kernel reports a reset only once |
//! | another error | the response | the error of the write | the error of the write |

use super::chunks::Chunks;
use super::framing::{BodyFraming as BodyFacts, Framing, body_of};
use super::head::{Head, HeadError, HeadLimits, HeadReader};
use crate::check::layer::TracedStream;
use crate::check::memory_limit::Charge;
use crate::check::response_error::{Http1Error, WireError};
use crate::check::trace::Trace;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use glassbox_verdict::report::{Deviation, Deviations};
use hyper::body::{Body, Frame};
use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite as _, ReadBuf};
use tokio::task::coop::poll_proceed;

/// Bytes that are read before a buffer is allocated.
const FIRST: usize = 256;

/// Initial buffer size. Most responses are shorter.
const LEAST_ROOM: usize = 4096;

/// Maximum bytes of one read. It doubles while reads are full.
const MOST_ROOM: usize = 64 * 1024;

/// Number of chunks per read after which the task yields to other probes, because a server may send single bytes.
const MANY_CHUNKS: usize = 64;

/// A connection that a request is being written to.
#[derive(Debug)]
pub struct Http1Connection {
    traced: TracedStream,
    /// The part of the request that was not written yet.
    unsent: Bytes,
    /// Whether the request was written, or writing failed.
    is_sent: bool,
    /// The error of a failed write. A response that the server sent before has priority.
    failed: Option<io::Error>,
}

impl Http1Connection {
    pub const fn new(traced: TracedStream, request: Bytes) -> Self {
        Self {
            traced,
            unsent: request,
            is_sent: false,
            failed: None,
        }
    }

    /// The underlying connection.
    pub fn into_traced(self) -> TracedStream {
        self.traced
    }

    /// Waits until the response starts, possibly before the end of the request. A waiting connection has no buffer.
    /// The buffer's memory is accounted to `charge`.
    pub async fn first_bytes(mut self, mut charge: Charge) -> Result<Incoming, Http1Error> {
        let first = poll_fn(|cx| {
            let mut first = [0; FIRST];
            let mut first = ReadBuf::new(&mut first);
            ready!(Pin::new(&mut self).poll_read(cx, &mut first))?;
            charge.set(LEAST_ROOM)?;
            let mut buffer = BytesMut::with_capacity(LEAST_ROOM);
            buffer.extend_from_slice(first.filled());
            Poll::Ready(Ok::<_, Http1Error>(buffer))
        });
        let buffer = first.await?;
        Ok(Incoming {
            connection: self,
            buffer,
            charge,
            room: LEAST_ROOM,
            heads: 0,
        })
    }

    fn keep_sending(&mut self, cx: &mut Context<'_>) {
        if !self.is_sent
            && let Poll::Ready(sent) = self.poll_send(cx)
        {
            self.is_sent = true;
            self.unsent = Bytes::new();
            self.failed = sent.err();
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent.has_remaining() {
            match ready!(Pin::new(&mut self.traced).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.unsent.advance(written),
            }
        }
        Pin::new(&mut self.traced).poll_flush(cx)
    }

    /// Closes TLS properly if that is possible without waiting.
    fn close(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.traced).poll_shutdown(cx);
    }
}

impl AsyncRead for Http1Connection {
    /// Reads, and continues to write the request while there is nothing to read.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let came = Pin::new(&mut self.traced).poll_read(cx, buf);
        if came.is_pending() {
            self.keep_sending(cx);
        }
        let is_over = match &came {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => buf.filled().len() == before,
            Poll::Ready(Err(error)) => error.kind() == ErrorKind::UnexpectedEof,
        };
        let says_more = |error: &mut io::Error| match error.kind() {
            // The kernel reports the error once. A later read would return a normal end of stream.
            ErrorKind::ConnectionReset => is_over,
            // The server accepts no more data and may have responded.
            ErrorKind::BrokenPipe => false,
            _ => is_over || came.is_pending(),
        };
        match self.failed.take_if(says_more) {
            Some(failed) => Poll::Ready(Err(failed)),
            None => came,
        }
    }
}

/// The received data, starting with the first byte of the response.
#[derive(Debug)]
pub struct Incoming {
    connection: Http1Connection,
    /// Received bytes that are not consumed yet.
    buffer: BytesMut,
    /// Memory used by the buffer.
    charge: Charge,
    /// Maximum bytes of the next read.
    room: usize,
    /// Bytes of the heads that were read.
    heads: usize,
}

impl Incoming {
    pub fn trace(&self) -> &Trace {
        self.connection.traced.trace()
    }

    /// Reads more data. Returns the number of bytes; 0 is the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Http1Error>> {
        // A server that sends much data must not delay other probes.
        let budget = ready!(poll_proceed(cx));
        let Self {
            connection,
            buffer,
            charge,
            room,
            ..
        } = self;
        if buffer.capacity() - buffer.len() < *room / 2 {
            buffer.reserve(*room);
            // The pieces that were taken from the buffer are already processed, so its capacity is all that is in use.
            charge.set(buffer.capacity())?;
        }
        let free = (*room).min(buffer.capacity() - buffer.len());
        let mut into = buffer.limit(free);
        let count = ready!(pin!(connection.read_buf(&mut into)).poll(cx))?;
        budget.made_progress();
        if count == free {
            *room = (*room * 2).min(MOST_ROOM);
        }
        Poll::Ready(Ok(count))
    }

    /// Reads one head and determines the framing of its body.
    pub async fn head(&mut self, limits: HeadLimits, is_head: bool) -> Result<(Head, BodyFacts), Http1Error> {
        let mut reader = HeadReader::new(limits);
        loop {
            let advanced = reader.advance(&self.buffer);
            let (taken, has_ended) = match advanced {
                Ok(advanced) => advanced,
                Err(error) => return Err(self.invalid(reader.end().1, error)),
            };
            self.buffer.advance(taken);
            self.heads += taken;
            if has_ended {
                break;
            }
            if poll_fn(|cx| self.poll_more(cx)).await? == 0 {
                return Err(Http1Error::Closed);
            }
        }
        let (head, mut deviations) = reader.end();
        match body_of(&head, is_head, &mut deviations) {
            Ok(body) => {
                self.trace().deviates(deviations);
                self.trace().heads_ended(self.heads);
                Ok((head, body))
            }
            Err(error) => Err(self.invalid(deviations, error)),
        }
    }

    fn invalid(&self, mut deviations: Deviations, error: HeadError) -> Http1Error {
        if let HeadError::Invalid(found) = &error {
            deviations.note(found.clone());
        }
        self.trace().deviates(deviations);
        error.into()
    }

    /// The body that follows. Content in a 205 response is a deviation.
    pub(super) fn body(self, framing: Framing, is_reset: bool) -> IncomingBody {
        let left = match framing {
            Framing::None => BodyRemaining::Nothing(Deviation::UnexpectedBody),
            Framing::Length(0) => BodyRemaining::Nothing(Deviation::ExcessBytes),
            Framing::Length(length) => BodyRemaining::Bytes(length),
            Framing::Chunked => BodyRemaining::Chunks(Chunks::default()),
            Framing::Close => BodyRemaining::All,
        };
        IncomingBody {
            incoming: self,
            left,
            is_reset,
            is_pausing: false,
        }
    }

    fn note(&self, deviation: Deviation) {
        let mut deviations = Deviations::default();
        deviations.note(deviation);
        self.trace().deviates(deviations);
    }

    /// The connection for another protocol, and the bytes that arrived together with the head.
    pub fn switched(self) -> (TracedStream, Vec<u8>) {
        (self.connection.into_traced(), self.buffer.to_vec())
    }

    /// Records bytes that follow the end of the response, and closes the connection.
    fn end(&mut self, cx: &mut Context<'_>, excess: Deviation) {
        let trace = self.trace();
        let mut deviations = Deviations::default();
        match self.buffer[..] {
            [] => {}
            // Old servers send an additional line end, and clients ignore it.
            [b'\r', b'\n'] | [b'\n'] => deviations.note(Deviation::CrlfAfterBody),
            _ => deviations.note(excess),
        }
        trace.deviates(deviations);
        self.connection.close(cx);
    }
}

/// A body while it is received.
#[derive(Debug)]
pub(super) struct IncomingBody {
    incoming: Incoming,
    left: BodyRemaining,
    /// Whether the response is a 205, which must not have content, and no content was received so far.
    is_reset: bool,
    /// Whether decoding took so long that the task must yield before the next part.
    is_pausing: bool,
}

/// What is left of a body.
#[derive(Debug)]
enum BodyRemaining {
    /// This number of bytes.
    Bytes(u64),
    /// All bytes up to the end of the connection.
    All,
    Chunks(Chunks),
    /// Nothing. Further bytes are recorded as this deviation.
    Nothing(Deviation),
    Ended,
}

/// The part of a body that is in the buffer.
enum Buffered {
    /// The next part.
    Frame(Frame<Bytes>),
    /// The body has ended.
    End,
    /// No part yet: more data must be read.
    Nothing,
}

impl IncomingBody {
    /// Takes the next part of the body, or its end, from the buffer.
    fn buffered(&mut self, cx: &mut Context<'_>) -> Result<Buffered, Http1Error> {
        let Self {
            incoming,
            left,
            is_reset,
            is_pausing,
        } = self;
        let piece = match left {
            BodyRemaining::Ended => return Ok(Buffered::End),
            BodyRemaining::Nothing(excess) => {
                incoming.end(cx, *excess);
                *left = BodyRemaining::Ended;
                return Ok(Buffered::End);
            }
            BodyRemaining::Bytes(count) => {
                let known = incoming.buffer.len().min(usize::try_from(*count).unwrap_or(usize::MAX));
                *count -= known as u64;
                let is_last = *count == 0;
                let piece = incoming.buffer.split_to(known).freeze();
                if is_last {
                    *left = BodyRemaining::Nothing(Deviation::ExcessBytes);
                }
                piece
            }
            BodyRemaining::All => incoming.buffer.split().freeze(),
            BodyRemaining::Chunks(chunks) => {
                let decoded = match chunks.decode(&mut incoming.buffer) {
                    Ok(decoded) => decoded,
                    Err(error) => return Err(incoming.invalid(chunks.end().1, error)),
                };
                if decoded.chunks > MANY_CHUNKS {
                    *is_pausing = true;
                    incoming.room = LEAST_ROOM;
                }
                incoming.buffer.advance(decoded.start);
                let piece = incoming.buffer.split_to(decoded.end - decoded.start).freeze();
                incoming.buffer.advance(decoded.taken - decoded.end);
                if piece.is_empty() && chunks.has_ended() {
                    let (trailers, deviations) = chunks.end();
                    incoming.trace().deviates(deviations);
                    *left = BodyRemaining::Nothing(Deviation::ExcessBytes);
                    return Ok(Buffered::Frame(Frame::trailers(trailers)));
                }
                piece
            }
        };
        if piece.is_empty() {
            return Ok(Buffered::Nothing);
        }
        if std::mem::take(is_reset) {
            incoming.note(Deviation::ResetContent);
        }
        Ok(Buffered::Frame(Frame::data(piece)))
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        if std::mem::take(&mut self.is_pausing) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match self.buffered(cx)? {
                Buffered::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Buffered::End => return Poll::Ready(None),
                Buffered::Nothing => {}
            }
            let count = ready!(self.incoming.poll_more(cx))?;
            if count == 0 {
                match self.left {
                    BodyRemaining::All => {
                        if self.incoming.trace().ended_without_close_notify() {
                            self.incoming.note(Deviation::NoCloseNotify);
                        }
                        self.left = BodyRemaining::Nothing(Deviation::ExcessBytes);
                    }
                    _ => return Poll::Ready(Some(Err(Http1Error::Closed.into()))),
                }
            }
        }
    }
}
