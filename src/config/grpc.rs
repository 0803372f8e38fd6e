//! Builds a grpc module's settings.

use super::address;
use super::file::{GrpcFile, Spanned};
use super::issue::ConfigIssue;
use super::read::at;
use super::tls;
use super::tree::below;
use ::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use glassbox_probe::check::Resolver;
use glassbox_probe::probers::grpc::GrpcProber;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Validates the keys and builds the prober. As in `blackbox_exporter`, a module without the block does not fall back
/// to the other address family.
pub(super) fn build(file: Option<&GrpcFile>, resolver: Arc<Resolver>, path: &str) -> Result<GrpcProber, ConfigIssue> {
    let fallback = file.map_or(Some(false), |file| file.ip_protocol_fallback);
    let defaults = GrpcFile::default();
    let file = file.unwrap_or(&defaults);
    Ok(GrpcProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), fallback),
        resolver,
        service: file.service.clone().unwrap_or_default(),
        secured: file.tls.unwrap_or(false),
        tls: tls::build(file.tls_config.as_ref(), tls::AlpnOffer::OnlyHttp2, path)?,
        metadata: metadata(file.metadata.as_ref(), path)?,
    })
}

/// Prefix of the metadata names that are reserved for gRPC.
const RESERVED_PREFIX: &str = "grpc-";

fn metadata(
    written: Option<&BTreeMap<String, Vec<Spanned<glassbox_probe::secret::Secret>>>>,
    path: &str,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigIssue> {
    let path = below(path, "metadata");
    let mut metadata = Vec::new();
    for (name, values) in written.into_iter().flatten() {
        for value in values {
            let refuse = |words: &str| at(value, &path, name, words);
            let lower = name.to_ascii_lowercase();
            if lower.starts_with(RESERVED_PREFIX) {
                return Err(refuse(
                    "invalid metadata name: the prefix grpc- is reserved for the protocol",
                ));
            }
            let field = HeaderName::from_bytes(lower.as_bytes())
                .map_err(|_| refuse("invalid metadata name: expected letters, digits, -, _ and ."))?;
            let text = value.value.reveal();
            // Names with the suffix -bin have binary values (gRPC over HTTP/2, "Custom-Metadata").
            let encoded = if lower.ends_with("-bin") {
                HeaderValue::try_from(BASE64.encode(text))
            } else {
                HeaderValue::from_str(text)
            };
            let mut encoded = encoded
                .map_err(|_| refuse("invalid metadata value: control characters require a name that ends with -bin"))?;
            encoded.set_sensitive(true);
            metadata.push((field, encoded));
        }
    }
    Ok(metadata)
}
