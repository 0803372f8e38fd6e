//! An HTTP/2 server that responds with raw frames, including frames that no library writes.

use super::peer::Peer;
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// `:status: 200` from the static table of HPACK.
pub const OK: &[u8] = b"\x88";

/// A frame of a stream.
fn frame(stream: u32, kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A string without Huffman coding (RFC 7541 section 5.2).
fn string(text: &[u8]) -> Vec<u8> {
    let mut string = Vec::new();
    if text.len() < 127 {
        string.push(u8::try_from(text.len()).unwrap());
    } else {
        let mut rest = text.len() - 127;
        string.push(127);
        while rest >= 128 {
            string.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        string.push(u8::try_from(rest).unwrap());
    }
    string.extend_from_slice(text);
    string
}

/// A literal field without indexing.
pub fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[0][..], &string(name.as_ref()), &string(value.as_ref())].concat()
}

/// A literal field that is added to the dynamic table.
pub fn indexed(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &string(name.as_bytes()), &string(value.as_bytes())].concat()
}

/// Several fields.
pub fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A header block in one frame, before DATA frames.
pub fn head(block: &[u8]) -> Vec<u8> {
    frame(1, HEADERS, END_HEADERS, block)
}

/// A header block in one frame that ends the response.
pub fn end(block: &[u8]) -> Vec<u8> {
    frame(1, HEADERS, END_HEADERS | END_STREAM, block)
}

/// A header block split into frames of `length` bytes.
pub fn pieces(block: &[u8], length: usize) -> Vec<u8> {
    let count = block.chunks(length).count();
    let piece = |(number, piece): (usize, &[u8])| {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        let flags = if number + 1 == count { END_HEADERS } else { 0 };
        frame(1, kind, flags, piece)
    };
    block.chunks(length).enumerate().flat_map(piece).collect()
}

/// A header block with a priority and padding.
pub fn padded(block: &[u8], padding: u8) -> Vec<u8> {
    let payload = [&[padding][..], b"\0\0\0\0\x10", block, &vec![0; padding.into()]].concat();
    frame(1, HEADERS, END_HEADERS | PADDED | PRIORITY, &payload)
}

/// A complete body that ends the response.
pub fn body(bytes: &[u8]) -> Vec<u8> {
    frame(1, DATA, END_STREAM, bytes)
}

/// A part of a body.
pub fn data(bytes: &[u8]) -> Vec<u8> {
    frame(1, DATA, 0, bytes)
}

/// A reset of the stream with `NO_ERROR`.
pub fn reset() -> Vec<u8> {
    frame(1, RST_STREAM, 0, &[0; 4])
}

/// How a response is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    AtOnce,
    ByteByByte,
    /// In one write, followed by the end of the connection.
    AndCloses,
}

/// Responds to each request with `answer`.
async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8], writes: Writes) -> io::Result<()> {
    stream.read_exact(&mut [0; PREFACE]).await?;
    stream.write_all(&frame(0, SETTINGS, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let echoed = if kind == PING { &payload[..] } else { &[] };
                stream.write_all(&frame(0, kind, ACK, echoed)).await?;
            }
            HEADERS | DATA if flags & END_STREAM != 0 && writes == Writes::ByteByByte => {
                for byte in answer {
                    stream.write_all(&[*byte]).await?;
                    stream.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
            HEADERS | DATA if flags & END_STREAM != 0 => {
                stream.write_all(answer).await?;
                if writes == Writes::AndCloses {
                    return stream.shutdown().await;
                }
            }
            _ => {}
        }
        stream.flush().await?;
    }
}

async fn over_tls(config: Arc<ServerConfig>, answer: Vec<u8>, writes: Writes) -> Peer {
    let answer = Arc::new(answer);
    Peer::with_tls(config, move |stream| {
        let answer = answer.clone();
        async move { drop(speak(stream, &answer, writes).await) }
    })
    .await
}

/// A server over TLS that responds to every request with these frames.
pub async fn secured(config: Arc<ServerConfig>, answer: Vec<u8>) -> Peer {
    over_tls(config, answer, Writes::AtOnce).await
}

/// The same, byte by byte.
pub async fn dripping(config: Arc<ServerConfig>, answer: Vec<u8>) -> Peer {
    over_tls(config, answer, Writes::ByteByByte).await
}

/// The same, and closes the connection after the first response.
pub async fn closing(config: Arc<ServerConfig>, answer: Vec<u8>) -> Peer {
    over_tls(config, answer, Writes::AndCloses).await
}

/// A server without TLS that responds to every request with these frames.
pub async fn plain(answer: Vec<u8>) -> Peer {
    let answer = Arc::new(answer);
    Peer::start(move |stream| {
        let answer = answer.clone();
        async move { drop(speak(stream, &answer, Writes::AtOnce).await) }
    })
    .await
}
