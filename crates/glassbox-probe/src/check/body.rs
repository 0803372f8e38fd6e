//! Processes a body piece by piece: decodes it, counts it, keeps what assertions need, and enforces the limits.

mod decoders;

use super::blocking::{BlockingError, FairnessKey, WorkClock, compute};
use super::memory_limit::{Charge, NoMemory, ProbeMemory};
use crate::limits::JUDGED_BODY;
use bytes::Bytes;
use decoders::{BrotliDecoder, DEFLATE, ZstdDecoder};
use flate2::write::{DeflateDecoder, MultiGzDecoder};
use glassbox_verdict::reason::Reason;
use std::io::{self, Write};
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The parts of a body that a prober needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyPlan {
    /// Whether to read the body.
    pub read: bool,
    /// The coding to decode with, regardless of `Content-Encoding` (as `blackbox_exporter` does).
    pub coding: Coding,
    /// Maximum number of decoded bytes to keep; more is [`Reason::ContentBodyTooLarge`].
    pub keep: Option<u64>,
    /// Maximum number of decoded bytes; more is [`Reason::HttpResponseTooLarge`].
    pub limit: Option<u64>,
    /// Whether to keep the first [`crate::limits::JUDGED_BODY`] bytes for the attribution.
    pub judge: bool,
}

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Unchanged.
    #[default]
    Identity,
    /// `gzip`.
    Gzip,
    /// `deflate` without the zlib wrapper, as `blackbox_exporter` reads it.
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// The reason why a body was rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("The body cannot be decoded: {0}.")]
    BadCoding(io::Error),
    #[error("The body exceeds the body_size_limit of {0} bytes.")]
    TooLarge(u64),
    #[error("The body exceeds the matching limit of {0} bytes.")]
    TooLargeToMatch(u64),
    #[error("The probe's deadline expired while the body was being decoded.")]
    OutOfTime,
    #[error("Cannot store the body: {0}.")]
    NoMemory(NoMemory),
    /// No byte of the body was decoded yet, so the body is not at fault.
    #[error("The exporter cannot create a decoder for the body: {0}.")]
    NoDecoder(io::Error),
    #[error("The exporter had no free thread or too little CPU time to decode the body in time.")]
    NotDecoded,
}

impl BodyError {
    pub const fn reason(&self) -> Reason {
        match self {
            Self::BadCoding(_) => Reason::HttpResponseBadCoding,
            Self::TooLarge(_) => Reason::HttpResponseTooLarge,
            Self::TooLargeToMatch(_) => Reason::ContentBodyTooLarge,
            Self::OutOfTime => Reason::HttpTimedOutMidBody,
            Self::NoMemory(_) | Self::NoDecoder(_) | Self::NotDecoded => Reason::LocalOverloaded,
        }
    }
}

/// The last step of the decoding chain: counts and keeps bytes and enforces the limits.
struct Sink {
    plan: BodyPlan,
    length: u64,
    kept: Vec<u8>,
    /// Memory used by `kept`.
    charge: Charge,
    start: Vec<u8>,
    /// A few bytes can decode to a large amount of data, so the sink checks its clock and whether its result is still
    /// needed.
    deadline: Instant,
    wanted: Weak<()>,
    /// While a separate thread decodes: the clock that measures its CPU time, to tell a slow body from an overloaded
    /// exporter.
    clock: Option<WorkClock>,
    over: Option<BodyError>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_stopped = self.clock.as_ref().is_some_and(WorkClock::is_over);
        if is_stopped || Instant::now() >= self.deadline || self.wanted.strong_count() == 0 {
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
            if let Err(no_memory) = self.make_room(bytes.len(), limit) {
                self.over = Some(BodyError::NoMemory(no_memory));
                return Err(io::Error::other(no_memory));
            }
            self.kept.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// Reserves room for more bytes, up to the maximum to keep. The buffer grows fourfold, and its last growth extends
    /// it to the maximum. During the copy, the old buffer stays in memory. Its size is up to a third of the new one.
    fn make_room(&mut self, more: usize, limit: u64) -> Result<(), NoMemory> {
        let needed = self.kept.len() + more;
        if needed > self.kept.capacity() {
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            let fourfold = self.kept.capacity().saturating_mul(4);
            let room = if fourfold > most / 4 { most } else { fourfold };
            let room = room.max(needed);
            self.charge.set(room + self.kept.capacity())?;
            self.kept.reserve_exact(room - self.kept.len());
            self.charge.set(self.kept.capacity())?;
        }
        Ok(())
    }
}

/// A body that was kept, and the memory it uses.
#[derive(Debug)]
pub struct KeptBody {
    bytes: Vec<u8>,
    _charge: Option<Charge>,
}

impl Deref for KeptBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for KeptBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, _charge: None }
    }
}

/// Collects the pieces of one body.
pub(super) struct Collector {
    decoder: Decoder,
    /// Memory used by the decoder.
    charge: Charge,
    untouched: bool,
}

/// Time before the probe's deadline at which a body that is not decoded yet is abandoned.
const BEFORE_THE_END: Duration = Duration::from_millis(5);

/// A token held by the reader of the body. Decoding ends when it is dropped.
#[derive(Debug)]
pub(super) struct CancelGuard(Arc<()>);

impl CancelGuard {
    pub fn new() -> Self {
        Self(Arc::default())
    }
}

enum Decoder {
    Identity(Sink),
    Gzip(MultiGzDecoder<Sink>),
    Deflate(DeflateDecoder<Sink>),
    Brotli(Box<BrotliDecoder>),
    Zstd(Box<ZstdDecoder>),
}

impl Collector {
    /// Creates the decoder of a plan.
    ///
    /// # Errors
    /// When the memory limit is reached or the decoder cannot be created.
    pub fn new(
        plan: BodyPlan,
        deadline: Instant,
        wanted: &CancelGuard,
        memory: &ProbeMemory,
    ) -> Result<Self, BodyError> {
        let sink = Sink {
            plan,
            length: 0,
            kept: Vec::new(),
            charge: memory.charge(),
            start: Vec::new(),
            deadline,
            wanted: Arc::downgrade(&wanted.0),
            clock: None,
            over: None,
        };
        let decoder = match plan.coding {
            Coding::Identity => Decoder::Identity(sink),
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(sink)),
            Coding::Deflate => Decoder::Deflate(DeflateDecoder::new(sink)),
            Coding::Brotli => Decoder::Brotli(Box::new(BrotliDecoder::new(sink))),
            Coding::Zstd => Decoder::Zstd(Box::new(ZstdDecoder::new(sink).map_err(BodyError::NoDecoder)?)),
        };
        let mut collector = Self {
            decoder,
            charge: memory.charge(),
            untouched: true,
        };
        collector.account()?;
        Ok(collector)
    }

    /// Processes a received piece. Encoded data is decoded outside the runtime, because a few bytes can decode to a
    /// large amount of data, and other probes must not wait for it.
    ///
    /// # Errors
    /// When no decoding thread is free or decoding takes too long. An error in the piece is returned with the
    /// collector.
    pub async fn decode_blocking(
        mut self,
        bytes: Bytes,
        host: FairnessKey,
    ) -> Result<(Self, Result<(), BodyError>), BodyError> {
        if matches!(self.decoder, Decoder::Identity(_)) {
            let taken = self.take(&bytes);
            return Ok((self, taken));
        }
        // Decoding ends before its stage does. Otherwise, a slow body would be reported as an overloaded exporter.
        let until = self.sink().deadline;
        let until = until.checked_sub(BEFORE_THE_END).unwrap_or(until);
        let decoding = compute(host, until, move |clock| {
            self.sink_mut().clock = Some(clock.clone());
            let taken = self.take(&bytes);
            self.sink_mut().clock = None;
            Ok((self, taken))
        });
        decoding.await.map_err(|late| match late {
            BlockingError::Slow => BodyError::OutOfTime,
            BlockingError::NotBegun | BlockingError::Starved => BodyError::NotDecoded,
        })
    }

    /// Processes a received piece.
    fn take(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.untouched = false;
        let taken = match &mut self.decoder {
            Decoder::Identity(sink) => sink.write_all(bytes),
            Decoder::Gzip(decoder) => decoder.write_all(bytes),
            Decoder::Deflate(decoder) => decoder.write_all(bytes),
            Decoder::Brotli(decoder) => decoder.write_all(bytes),
            Decoder::Zstd(decoder) => decoder.write_all(bytes),
        };
        if taken.is_err() && matches!(self.decoder, Decoder::Gzip(_) | Decoder::Deflate(_)) {
            // As in Go, the output before an error counts. These two decoders still hold some output; afterwards they
            // fail again.
            let _again = self.finish_decoder();
        }
        self.judge(taken)?;
        self.account()
    }

    /// Accounts for the memory that the decoder uses now.
    fn account(&mut self) -> Result<(), BodyError> {
        let holds = match &self.decoder {
            Decoder::Identity(_) => 0,
            Decoder::Gzip(_) | Decoder::Deflate(_) => DEFLATE,
            Decoder::Brotli(decoder) => decoder.holds(),
            Decoder::Zstd(decoder) => decoder.holds(),
        };
        self.charge.set(holds).map_err(BodyError::NoMemory)
    }

    /// Bytes decoded so far.
    pub fn length(&self) -> u64 {
        self.sink().length
    }

    /// The start of the decoded body, if the plan needs it for the attribution.
    pub fn start(&self) -> &[u8] {
        &self.sink().start
    }

    /// Ends the input and decodes the rest.
    ///
    /// # Errors
    /// When the body is incomplete or exceeds a limit.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        let finished = self.finish_decoder();
        self.judge(finished)
    }

    fn finish_decoder(&mut self) -> io::Result<()> {
        match &mut self.decoder {
            // A response without a body (to HEAD, or 204) has no coding either.
            _ if self.untouched => Ok(()),
            Decoder::Identity(_) => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Deflate(decoder) => decoder.try_finish(),
            Decoder::Brotli(decoder) => decoder.finish(),
            Decoder::Zstd(decoder) => decoder.finish(),
        }
    }

    /// The kept bytes.
    pub fn into_kept(mut self) -> KeptBody {
        let sink = self.sink_mut();
        let nothing = sink.charge.memory().charge();
        KeptBody {
            bytes: std::mem::take(&mut sink.kept),
            _charge: Some(std::mem::replace(&mut sink.charge, nothing)),
        }
    }

    fn sink(&self) -> &Sink {
        match &self.decoder {
            Decoder::Identity(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Deflate(decoder) => decoder.get_ref(),
            Decoder::Brotli(decoder) => decoder.sink(),
            Decoder::Zstd(decoder) => &decoder.sink,
        }
    }

    fn sink_mut(&mut self) -> &mut Sink {
        match &mut self.decoder {
            Decoder::Identity(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Deflate(decoder) => decoder.get_mut(),
            Decoder::Brotli(decoder) => decoder.sink_mut(),
            Decoder::Zstd(decoder) => &mut decoder.sink,
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

#[cfg(test)]
mod tests {
    use super::super::memory_limit::{MemoryPool, ProbeMemory};
    use super::{BodyError, BodyPlan, CancelGuard, Coding, Collector};
    use crate::check::blocking::FairnessKey;
    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use std::io::{self, Write};
    use std::sync::Arc;
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
        take_within(plan, bytes, &ProbeMemory::default())
    }

    fn take_within(plan: BodyPlan, bytes: &[u8], memory: &ProbeMemory) -> Result<(Vec<u8>, u64), BodyError> {
        let wanted = CancelGuard::new();
        let mut collector = Collector::new(plan, Instant::now() + Duration::from_mins(1), &wanted, memory)?;
        for piece in bytes.chunks(5) {
            collector.take(piece)?;
        }
        collector.finish()?;
        let length = collector.length();
        Ok((collector.into_kept().to_vec(), length))
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
    fn a_lack_of_memory_for_a_decoder_is_a_local_error() {
        let none = BodyError::NoDecoder(io::ErrorKind::OutOfMemory.into());
        assert!(none.reason().is_local_error(), "{none}");
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
    fn decoding_ends_at_the_deadline_or_if_its_result_is_no_longer_needed() {
        let mut bomb = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
        bomb.write_all(&vec![0; 5_000_000]).unwrap();
        let bomb = bomb.into_inner();
        let later = Instant::now() + Duration::from_mins(1);
        for (deadline, is_wanted) in [(Instant::now(), true), (later, false)] {
            let wanted = CancelGuard::new();
            let mut collector = Collector::new(
                plan(Coding::Brotli, None, None),
                deadline,
                &wanted,
                &ProbeMemory::default(),
            )
            .unwrap();
            let _wanted = Some(wanted).filter(|_| is_wanted);
            let error = collector.take(&bomb).unwrap_err();
            assert!(matches!(error, BodyError::OutOfTime));
            assert_eq!(collector.length(), 0);
        }
    }

    /// The exporter is not at fault, although another thread decodes.
    #[tokio::test]
    async fn a_body_that_takes_all_of_the_time_is_the_fault_of_its_sender() {
        let bomb = Bytes::from(gzip(&vec![0; 5_000_000]).repeat(2000));
        for _attempt in 0..20 {
            let wanted = CancelGuard::new();
            let deadline = Instant::now() + Duration::from_millis(200);
            let collector = Collector::new(
                plan(Coding::Gzip, None, None),
                deadline,
                &wanted,
                &ProbeMemory::default(),
            );
            let decoded = collector
                .unwrap()
                .decode_blocking(bomb.clone(), FairnessKey::default())
                .await;
            match decoded.and_then(|(_, taken)| taken) {
                Err(BodyError::OutOfTime) => return,
                // This host was too busy to tell.
                Err(BodyError::NotDecoded) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("the thread had too little CPU time in every attempt");
    }

    #[test]
    fn what_a_decoder_and_its_result_hold_is_counted_and_bounded() {
        const LENGTH: usize = 3_000_000;
        let text: Vec<u8> = (0..LENGTH).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 1, 22);
        brotli.write_all(&text).unwrap();
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zstd.window_log(22).unwrap();
        zstd.write_all(&text).unwrap();
        for (coding, bytes, window) in [
            (Coding::Gzip, gzip(&text), 32 * 1024),
            (Coding::Brotli, brotli.into_inner(), 4 << 20),
            (Coding::Zstd, zstd.finish().unwrap(), 4 << 20),
        ] {
            let pool = Arc::new(MemoryPool::default());
            let memory = ProbeMemory::new(pool.clone(), usize::MAX);
            let wanted = CancelGuard::new();
            let deadline = Instant::now() + Duration::from_mins(1);
            let whole = plan(coding, Some(LENGTH as u64), None);
            let mut collector = Collector::new(whole, deadline, &wanted, &memory).unwrap();
            collector.take(&bytes).unwrap();
            let held = pool.held();
            let most = 2 * window + 2 * LENGTH + (1 << 20);
            assert!((window + LENGTH..most).contains(&held), "{coding:?} {held}");
            collector.finish().unwrap();
            let kept = collector.into_kept();
            assert!(
                (LENGTH..2 * LENGTH).contains(&pool.held()),
                "{coding:?} {}",
                pool.held()
            );
            assert_eq!(&*kept, text, "{coding:?}");
            drop(kept);
            assert_eq!(pool.held(), 0, "{coding:?}");
            // With less memory, the error is local to the exporter.
            let little = ProbeMemory::new(pool.clone(), LENGTH);
            let refused = take_within(whole, &bytes, &little).unwrap_err();
            assert!(matches!(refused, BodyError::NoMemory(_)), "{coding:?} {refused}");
            assert_eq!(pool.held(), 0, "{coding:?}");
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
