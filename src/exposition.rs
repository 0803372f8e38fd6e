//! The output formats for findings and series: scrapes, pages and terminal output.

pub mod chain_view;
pub mod check_summary;
pub mod debug_page;
mod durations;
pub mod evidence;
pub mod evidence_documents;
pub mod evidence_page;
pub mod gone_page;
pub mod har;
pub mod incident_report;
pub mod openmetrics;
pub mod page_head;
pub mod probe_metrics;
pub mod prometheus_text;
pub mod protobuf;
pub mod repeat_query;
mod reproduce;
pub mod target_table;
pub mod target_timeline;
mod text_escaping;
pub mod waterfall;

use crate::negotiation::Format;
use glassbox_probe::metrics::Family;
use std::io::{self, Write};

/// Writes families in a format.
///
/// # Errors
/// When writing to `out` fails.
pub fn write<'a>(
    families: impl IntoIterator<Item = &'a Family>,
    format: Format,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Text => prometheus_text::write(families, out),
        Format::OpenMetrics => openmetrics::write(families, out),
        Format::Protobuf => protobuf::write(families, out),
    }
}

/// A character from a remote host, made safe for plain text: characters that control a terminal, start a line or change
/// the text direction are replaced.
fn plain(c: char) -> char {
    let steers =
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if steers { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::negotiation::Format;
    use glassbox_probe::metrics::{FAILURES, Level, MetricPage, Value};
    use std::io::{self, Write};

    /// Counts written bytes and discards them.
    #[derive(Default)]
    struct Sink {
        bytes: usize,
        largest: usize,
    }

    impl Write for Sink {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.bytes += piece.len();
            self.largest = self.largest.max(piece.len());
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_large_page_is_written_piece_by_piece() {
        let mut page = MetricPage::new(Level::Standard);
        for key in 0..10_000 {
            page.push(&FAILURES, [("link", format!("key {key}").into())], Value::Number(1.0));
        }
        let families = page.sorted();
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            let mut sink = Sink::default();
            write(&families, format, &mut sink).unwrap();
            assert!(sink.bytes > 250_000, "{format:?}: {}", sink.bytes);
            assert!(sink.largest <= 16 * 1024, "{format:?}: {} at once", sink.largest);
        }
    }
}
