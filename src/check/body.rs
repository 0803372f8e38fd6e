//! Takes a body piece by piece: decodes it, counts it, keeps what is to be matched, holds the limits.

use crate::limits::JUDGED_BODY;
use crate::reason::Reason;
use brotli_decompressor::{BrotliDecoderParameter, DecompressorWriter as BrotliDecoder};
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder};
use std::io::{self, Write};
use std::sync::{Arc, Weak};
use std::time::Instant;
use zstd::stream::write::Decoder as ZstdDecoder;

/// What a prober wants of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyPlan {
    /// Read it at all.
    pub read: bool,
    /// Decode it so, whatever its `Content-Encoding` says (as the peer does).
    pub coding: Coding,
    /// Keep up to so many decoded bytes; more is [`Reason::ContentBodyTooLarge`].
    pub keep: Option<u64>,
    /// Allow so many decoded bytes; more is [`Reason::HttpResponseTooLarge`].
    pub limit: Option<u64>,
    /// Keep the first [`crate::limits::JUDGED_BODY`] bytes for the judgment.
    pub judge: bool,
}

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// As it came.
    #[default]
    Identity,
    /// `gzip`.
    Gzip,
    /// `deflate`, without the zlib wrapper, as the peer reads it.
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("The body does not decode: {0}.")]
    BadCoding(io::Error),
    #[error("The body is over body_size_limit, {0} bytes.")]
    TooLarge(u64),
    #[error("The body is over the {0} bytes that may be matched.")]
    TooLargeToMatch(u64),
    #[error("The probe's time was over while the body was decoded.")]
    OutOfTime,
}

impl BodyError {
    pub const fn reason(&self) -> Reason {
        match self {
            Self::BadCoding(_) => Reason::HttpResponseBadCoding,
            Self::TooLarge(_) => Reason::HttpResponseTooLarge,
            Self::TooLargeToMatch(_) => Reason::ContentBodyTooLarge,
            Self::OutOfTime => Reason::HttpTimedOutMidBody,
        }
    }
}

/// The end of the decoding chain: counts, keeps, refuses.
struct Sink {
    plan: BodyPlan,
    length: u64,
    kept: Vec<u8>,
    start: Vec<u8>,
    /// A few bytes can decode to very many: the sink looks at the clock, and whether anybody still waits for it.
    deadline: Instant,
    wanted: Weak<()>,
    over: Option<BodyError>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if Instant::now() >= self.deadline || self.wanted.strong_count() == 0 {
            self.over = Some(BodyError::OutOfTime);
            return Err(io::Error::other("out of time"));
        }
        let total = self.length + bytes.len() as u64;
        if let Some(limit) = self.plan.limit.filter(|limit| total > *limit) {
            self.length = limit;
            self.over = Some(BodyError::TooLarge(limit));
            return Err(io::Error::other("over body_size_limit"));
        }
        self.length = total;
        if self.plan.judge {
            let room = JUDGED_BODY.saturating_sub(self.start.len());
            self.start.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if let Some(limit) = self.plan.keep {
            if total > limit {
                self.over = Some(BodyError::TooLargeToMatch(limit));
                return Err(io::Error::other("over the matching limit"));
            }
            self.make_room(bytes.len(), limit);
            self.kept.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// Room for so many bytes more, of those that may be kept. It grows fourfold, and at its end to all of them: what was
    /// outgrown stays in memory for a moment, and is a third of the room at most.
    fn make_room(&mut self, more: usize, limit: u64) {
        let needed = self.kept.len() + more;
        if needed > self.kept.capacity() {
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            let fourfold = self.kept.capacity().saturating_mul(4);
            let room = if fourfold > most / 4 { most } else { fourfold };
            self.kept.reserve_exact(room.max(needed) - self.kept.len());
        }
    }
}

/// Takes the pieces of one body.
pub(super) struct Collector {
    decoder: Decoder,
    untouched: bool,
}

/// Whoever wants the body has this: without it, decoding ends.
#[derive(Debug)]
pub(super) struct Wanted(Arc<()>);

impl Wanted {
    pub fn new() -> Self {
        Self(Arc::default())
    }
}

enum Decoder {
    Identity(Sink),
    Gzip(MultiGzDecoder<Sink>),
    Deflate(DeflateDecoder<Sink>),
    Brotli(Box<BrotliDecoder<Sink>>),
    Zstd(Box<ZstdDecoder<'static, Sink>>),
}

impl Collector {
    /// The decoder of a plan.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(plan: BodyPlan, deadline: Instant, wanted: &Wanted) -> Result<Self, BodyError> {
        let sink = Sink {
            plan,
            length: 0,
            kept: Vec::new(),
            start: Vec::new(),
            deadline,
            wanted: Arc::downgrade(&wanted.0),
            over: None,
        };
        let decoder = match plan.coding {
            Coding::Identity => Decoder::Identity(sink),
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(sink)),
            Coding::Deflate => Decoder::Deflate(DeflateDecoder::new(sink)),
            Coding::Brotli => Decoder::Brotli(Box::new(brotli_decoder(sink))),
            Coding::Zstd => Decoder::Zstd(Box::new(zstd_decoder(sink)?)),
        };
        Ok(Self {
            decoder,
            untouched: true,
        })
    }

    /// Takes a piece as it came from the wire. What is coded is decoded off the runtime: a few bytes can be very many, and
    /// others must not wait for them.
    ///
    /// # Errors
    /// When the decoder fails by itself. What is wrong with the piece stands beside the collector.
    pub async fn take_aside(mut self, bytes: Bytes) -> Result<(Self, Result<(), BodyError>), BodyError> {
        if matches!(self.decoder, Decoder::Identity(_)) {
            let taken = self.take(&bytes);
            return Ok((self, taken));
        }
        let decoding = tokio::task::spawn_blocking(move || {
            let taken = self.take(&bytes);
            (self, taken)
        });
        decoding.await.map_err(|error| match error.try_into_panic() {
            // It is our own, and fails this probe as any other would.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => BodyError::BadCoding(io::Error::other(ended)),
        })
    }

    /// Takes a piece as it came from the wire.
    fn take(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.untouched = false;
        let taken = match &mut self.decoder {
            Decoder::Identity(sink) => sink.write_all(bytes),
            Decoder::Gzip(decoder) => decoder.write_all(bytes),
            Decoder::Deflate(decoder) => decoder.write_all(bytes),
            Decoder::Brotli(decoder) => decoder.write_all(bytes),
            Decoder::Zstd(decoder) => decoder.write_all(bytes),
        };
        self.judge(taken)
    }

    /// Bytes decoded so far.
    pub fn length(&self) -> u64 {
        self.sink().length
    }

    /// The begin of the decoded body, where the plan wants it judged.
    pub fn start(&self) -> &[u8] {
        &self.sink().start
    }

    /// The wire has no more: gives what was kept, and the decoded length.
    pub fn end(mut self) -> Result<(Vec<u8>, u64), BodyError> {
        let ended = match &mut self.decoder {
            // An answer without a body (to HEAD, or 204) has no coding either.
            _ if self.untouched => Ok(()),
            Decoder::Identity(_) => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Deflate(decoder) => decoder.try_finish(),
            Decoder::Brotli(decoder) => decoder.close(),
            Decoder::Zstd(decoder) => decoder.do_finish(),
        };
        self.judge(ended)?;
        let sink = self.sink_mut();
        Ok((std::mem::take(&mut sink.kept), sink.length))
    }

    fn sink(&self) -> &Sink {
        match &self.decoder {
            Decoder::Identity(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Deflate(decoder) => decoder.get_ref(),
            Decoder::Brotli(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn sink_mut(&mut self) -> &mut Sink {
        match &mut self.decoder {
            Decoder::Identity(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Deflate(decoder) => decoder.get_mut(),
            Decoder::Brotli(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn judge(&mut self, result: io::Result<()>) -> Result<(), BodyError> {
        match (self.sink_mut().over.take(), result) {
            (Some(over), _) => Err(over),
            (None, Err(error)) => Err(BodyError::BadCoding(error)),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// What a decoder may look back, as a power of two: 8 MiB, which RFC 8878 section 3.1.1.1.2 recommends to support.
const ZSTD_WINDOW: u32 = 23;

fn zstd_decoder(sink: Sink) -> Result<ZstdDecoder<'static, Sink>, BodyError> {
    let mut decoder = ZstdDecoder::new(sink).map_err(BodyError::BadCoding)?;
    decoder.window_log_max(ZSTD_WINDOW).map_err(BodyError::BadCoding)?;
    Ok(decoder)
}

/// A window of 16 MiB at most, as RFC 7932 has it. The library's own format of larger ones, up to 1 GiB, is no `br`.
fn brotli_decoder(sink: Sink) -> BrotliDecoder<Sink> {
    let mut decoder = BrotliDecoder::new(sink, 4096);
    // It is refused only once something was decoded.
    let _set = decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
    decoder
}

#[cfg(test)]
mod tests {
    use super::{BodyError, BodyPlan, Coding, Collector, Wanted};
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use std::io::Write;
    use std::time::{Duration, Instant};

    const TEXT: &[u8] = b"glass is clear, glass is clear, glass is clear";

    fn plan(coding: Coding, keep: Option<u64>, limit: Option<u64>) -> BodyPlan {
        BodyPlan {
            read: true,
            coding,
            keep,
            limit,
            judge: false,
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn take_all(plan: BodyPlan, bytes: &[u8]) -> Result<(Vec<u8>, u64), BodyError> {
        let wanted = Wanted::new();
        let mut collector = Collector::new(plan, Instant::now() + Duration::from_mins(1), &wanted)?;
        for piece in bytes.chunks(5) {
            collector.take(piece)?;
        }
        collector.end()
    }

    #[test]
    fn each_coding_gives_the_text_back() {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(TEXT).unwrap();
        let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
        brotli.write_all(TEXT).unwrap();
        for (coding, bytes) in [
            (Coding::Identity, TEXT.to_vec()),
            (Coding::Gzip, gzip(TEXT)),
            (Coding::Deflate, deflate.finish().unwrap()),
            (Coding::Brotli, brotli.into_inner()),
            (Coding::Zstd, zstd::encode_all(TEXT, 3).unwrap()),
        ] {
            let (kept, length) = take_all(plan(coding, Some(1000), None), &bytes).unwrap();
            assert_eq!(kept, TEXT, "{coding:?}");
            assert_eq!(length, TEXT.len() as u64);
        }
    }

    #[test]
    fn a_truncated_or_foreign_body_does_not_decode() {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            let foreign = take_all(plan(coding, None, None), b"\xff\xff plain text");
            assert!(matches!(foreign, Err(BodyError::BadCoding(_))), "{coding:?}");
        }
        for (coding, mut cut) in [
            (Coding::Gzip, gzip(TEXT)),
            (Coding::Zstd, zstd::encode_all(TEXT, 3).unwrap()),
        ] {
            cut.truncate(cut.len() - 6);
            let taken = take_all(plan(coding, None, None), &cut);
            assert!(matches!(taken, Err(BodyError::BadCoding(_))), "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_ends_at_the_limit_of_decoded_bytes() {
        let bomb = gzip(&vec![0; 5_000_000]);
        let error = take_all(plan(Coding::Gzip, Some(1_000_000), None), &bomb).unwrap_err();
        assert!(matches!(error, BodyError::TooLargeToMatch(1_000_000)));
        let error = take_all(plan(Coding::Gzip, None, Some(100)), &bomb).unwrap_err();
        assert!(matches!(error, BodyError::TooLarge(100)));
    }

    #[test]
    fn decoding_ends_with_the_probes_time_and_with_whoever_wanted_it() {
        let mut bomb = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
        bomb.write_all(&vec![0; 5_000_000]).unwrap();
        let bomb = bomb.into_inner();
        let later = Instant::now() + Duration::from_mins(1);
        for (deadline, is_wanted) in [(Instant::now(), true), (later, false)] {
            let wanted = Wanted::new();
            let mut collector = Collector::new(plan(Coding::Brotli, None, None), deadline, &wanted).unwrap();
            let _wanted = Some(wanted).filter(|_| is_wanted);
            let error = collector.take(&bomb).unwrap_err();
            assert!(matches!(error, BodyError::OutOfTime));
            assert_eq!(collector.length(), 0);
        }
    }

    #[test]
    fn a_window_that_brotli_does_not_have_is_refused() {
        let params = brotli::enc::BrotliEncoderParams {
            large_window: true,
            lgwin: 30,
            ..Default::default()
        };
        let mut large = brotli::CompressorWriter::with_params(Vec::new(), 4096, &params);
        large.write_all(TEXT).unwrap();
        let taken = take_all(plan(Coding::Brotli, Some(1000), None), &large.into_inner());
        assert!(matches!(taken, Err(BodyError::BadCoding(_))), "{taken:?}");
    }

    #[test]
    fn a_body_of_exactly_the_limit_is_taken() {
        let (kept, _) = take_all(plan(Coding::Identity, Some(10), Some(10)), b"0123456789").unwrap();
        assert_eq!(kept.len(), 10);
    }
}
