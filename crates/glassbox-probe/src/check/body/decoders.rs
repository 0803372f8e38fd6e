//! The decoders of bodies. Each reports the memory it uses, because a target selects the window size of its decoder.

use super::Sink;
use brotli_decompressor::writer::DecompressorWriterCustomAlloc;
use brotli_decompressor::{Allocator, BrotliDecoderParameter, SliceWrapper as _, StandardAlloc};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// Memory used by a gzip or deflate decoder: its window of 32 KiB (RFC 1951 section 2) and its tables.
pub(super) const DEFLATE: usize = 48 * 1024;

/// Size of the output buffer, in bytes.
const PIECE: usize = 16 * 1024;

/// Maximum window size of a Zstandard decoder, as a power of two: 8 MiB, as recommended by RFC 8878 section 3.1.1.1.2.
const ZSTD_WINDOW: u32 = 23;

/// A Zstandard decoder for consecutive frames.
pub(super) struct ZstdDecoder {
    context: DCtx<'static>,
    pub sink: Sink,
    piece: Vec<u8>,
    /// The last frame has ended.
    is_whole: bool,
}

impl ZstdDecoder {
    /// Creates a decoder.
    ///
    /// # Errors
    /// When the library cannot allocate or configure its context.
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
            // A full output buffer may not be all that is available.
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

    /// Memory that the decoder uses, in bytes.
    pub fn holds(&self) -> usize {
        self.context.sizeof() + PIECE
    }
}

fn error(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

type Buffer = <StandardAlloc as Allocator<u8>>::AllocatedMemory;

/// A Brotli decoder. Its window is limited to 16 MiB (RFC 7932).
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
        // The library also supports its own format with windows of up to 1 GiB, which `br` does not allow. The library
        // rejects such a window only after it has decoded some data.
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

    /// Memory that the decoder uses, in bytes.
    pub fn holds(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Counts the memory that a decoder allocates and frees.
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
