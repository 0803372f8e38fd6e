//! The keys of the grpc prober.

use super::GrpcProber;
use crate::block;
use crate::check::Resolver;
use crate::file::{ConfigIssue, Spanned, at, below};
use crate::probers::Prober;
use crate::probers::blocks::address;
use crate::probers::blocks::tls::{self, TlsFile};
use crate::probers::prober_file::{ProberFile, Warnings};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::sync::Arc;

block! {
    /// The keys of the grpc prober.
    GrpcFile {
        service: String,
        tls: bool,
        tls_config: Spanned<TlsFile>,
        ip_protocol_fallback: bool,
        preferred_ip_protocol: Spanned<String>,
        metadata: BTreeMap<String, Vec<Spanned<Secret>>>,
    } unserved {}
}

impl ProberFile for GrpcFile {
    const DEFAULTS: &'static str = include_str!("defaults.yml");

    fn build(
        written: Option<&Spanned<Self>>,
        resolver: Arc<Resolver>,
        path: &str,
    ) -> Result<Arc<dyn Prober>, ConfigIssue> {
        build(written.map(|written| &written.value), resolver, path).map(|prober| Arc::new(prober) as _)
    }

    fn warn(written: Option<&Spanned<Self>>, warnings: &mut Warnings<'_>) {
        let Some(Spanned { value: file, .. }) = written else {
            let words = "without this block ip_protocol_fallback is false, and only IPv6 is used, as in \
                         blackbox_exporter; write grpc: {} for the usual defaults";
            return warnings.key("grpc", words);
        };
        warnings.family("grpc", file.preferred_ip_protocol.as_ref());
        warnings.tls("grpc", file.tls_config.as_ref());
    }

    fn secret(&self) -> Option<&'static str> {
        let metadata = self.metadata.as_ref().filter(|metadata| !metadata.is_empty());
        metadata.map(|_| "grpc.metadata")
    }

    fn change_defaults_without_block(&mut self) {
        self.ip_protocol_fallback = Some(false);
    }
}

/// As in `blackbox_exporter`, a module without the block does not fall back
/// to the other address family.
fn build(file: Option<&GrpcFile>, resolver: Arc<Resolver>, path: &str) -> Result<GrpcProber, ConfigIssue> {
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
    written: Option<&BTreeMap<String, Vec<Spanned<Secret>>>>,
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
