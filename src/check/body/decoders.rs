//! The decoders of bodies. Each tells the bytes that it holds: a target chooses how far its decoder has to look back.

use super::Sink;
use brotli_decompressor::writer::DecompressorWriterCustomAlloc;
use brotli_decompressor::{Allocator, BrotliDecoderParameter, SliceWrapper as _, StandardAlloc};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// Bytes that a gzip or deflate decoder holds: its window of 32 KiB (RFC 1951 section 2), and its tables.
pub(super) const DEFLATE: usize = 48 * 1024;

/// Bytes that are decoded at once.
const PIECE: usize = 16 * 1024;

/// What a Zstandard decoder may look back, as a power of two: 8 MiB, which RFC 8878 section 3.1.1.1.2 recommends to support.
const ZSTD_WINDOW: u32 = 23;

/// A decoder of Zstandard, frame after frame.
pub(super) struct ZstdDecoder {
    context: DCtx<'static>,
    pub sink: Sink,
    piece: Vec<u8>,
    /// The last frame has ended.
    is_whole: bool,
}

impl ZstdDecoder {
    /// # Errors
    /// When there is no memory for it.
    pub fn new(sink: Sink) -> io::Result<Self> {
        let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context
            .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW))
            .map_err(error)?;
        Ok(Self {
            context,
            sink,
            piece: vec![0; PIECE],
            is_whole: false,
        })
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(&mut self.piece[..]);
            let hint = self.context.decompress_stream(&mut output, &mut input).map_err(error)?;
            self.is_whole = hint == 0;
            let decoded = output.pos();
            self.sink.write_all(&self.piece[..decoded])?;
            // A full piece may not be all that it has.
            if input.pos() == bytes.len() && decoded < PIECE {
                return Ok(());
            }
        }
    }

    pub fn finish(&self) -> io::Result<()> {
        if self.is_whole {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "incomplete frame"))
        }
    }

    /// Bytes that it holds.
    pub fn holds(&self) -> usize {
        self.context.sizeof() + PIECE
    }
}

fn error(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

type Buffer = <StandardAlloc as Allocator<u8>>::AllocatedMemory;

/// A decoder of Brotli. Its window is 16 MiB at most, as RFC 7932 has it.
pub(super) struct BrotliDecoder {
    decoder: DecompressorWriterCustomAlloc<Sink, Buffer, Counting, Counting, Counting>,
    held: Arc<AtomicUsize>,
}

impl BrotliDecoder {
    pub fn new(sink: Sink) -> Self {
        let held = Arc::new(AtomicUsize::new(0));
        let mut counting = Counting(held.clone());
        let buffer = Allocator::<u8>::alloc_cell(&mut counting, PIECE);
        let (bytes, words) = (Counting(held.clone()), Counting(held.clone()));
        let mut decoder = DecompressorWriterCustomAlloc::new(sink, buffer, bytes, words, counting);
        // The library's own format of larger windows, up to 1 GiB, is no `br`. It is refused only once something was decoded.
        let _set = decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
        Self { decoder, held }
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.decoder.write_all(bytes)
    }

    pub fn finish(&mut self) -> io::Result<()> {
        self.decoder.close()
    }

    pub fn sink(&self) -> &Sink {
        self.decoder.get_ref()
    }

    pub fn sink_mut(&mut self) -> &mut Sink {
        self.decoder.get_mut()
    }

    /// Bytes that it holds.
    pub fn holds(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Counts what a decoder allocates and frees.
struct Counting(Arc<AtomicUsize>);

impl<T: Clone + Default> Allocator<T> for Counting {
    type AllocatedMemory = <StandardAlloc as Allocator<T>>::AllocatedMemory;

    fn alloc_cell(&mut self, count: usize) -> Self::AllocatedMemory {
        self.0.fetch_add(count * size_of::<T>(), Ordering::Relaxed);
        StandardAlloc::default().alloc_cell(count)
    }

    fn free_cell(&mut self, cell: Self::AllocatedMemory) {
        self.0.fetch_sub(size_of_val(cell.slice()), Ordering::Relaxed);
    }
}
