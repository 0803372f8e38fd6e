//! Writes an HTTP response with metrics, in the format and content coding that the client prefers.

use crate::exposition;
use crate::negotiation::Format;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use glassbox_probe::metrics::Family;
use glassbox_probe::weights::accepts;
use std::io::{self, BufWriter, Write as _};

/// Encodes the families in the preferred format. If the client accepts gzip, the encoder writes directly into the
/// compressor.
pub(super) fn answer(families: &[&Family], headers: &HeaderMap) -> Response {
    let format = Format::best(&field(headers, &ACCEPT));
    let zip = accepts(&field(headers, &ACCEPT_ENCODING).to_ascii_lowercase(), "gzip");
    let written = if zip {
        zipped(families, format)
    } else {
        let mut plain = Vec::with_capacity(families.len() * 320);
        exposition::write(families.iter().copied(), format, &mut plain).map(|()| plain)
    };
    let Ok(body) = written else {
        return super::error(StatusCode::INTERNAL_SERVER_ERROR, "Failed to encode the metrics.");
    };
    let mut response = ([(CONTENT_TYPE, format.content_type())], body).into_response();
    let fields = response.headers_mut();
    fields.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if zip {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn zipped(families: &[&Family], format: Format) -> io::Result<Vec<u8>> {
    let zip = GzEncoder::new(Vec::with_capacity(4096), Compression::fast());
    let mut out = BufWriter::new(zip);
    exposition::write(families.iter().copied(), format, &mut out)?;
    out.flush()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
}

/// All values of a header, joined with commas.
fn field(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.collect::<Vec<_>>().join(",")
}
