//! The keys of the icmp prober.

use super::{DEFAULT_PAYLOAD, IcmpProber};
use crate::block;
use crate::check::Resolver;
use crate::file::{ConfigIssue, Spanned, at};
use crate::probers::Prober;
use crate::probers::blocks::address;
use crate::probers::prober_file::{ProberFile, Warnings};
use std::sync::Arc;

block! {
    /// The keys of the icmp prober.
    IcmpFile {
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        source_ip_address: Spanned<String>,
        payload_size: Spanned<i64>,
        dont_fragment: bool,
        ttl: Spanned<i64>,
    } unserved {}
}

impl ProberFile for IcmpFile {
    const DEFAULTS: &'static str = include_str!("defaults.yml");

    fn build(
        written: Option<&Spanned<Self>>,
        resolver: Arc<Resolver>,
        path: &str,
    ) -> Result<Arc<dyn Prober>, ConfigIssue> {
        let file = written.map(|written| written.value.clone()).unwrap_or_default();
        build(&file, resolver, path).map(|prober| Arc::new(prober) as _)
    }

    fn warn(written: Option<&Spanned<Self>>, warnings: &mut Warnings<'_>) {
        let Some(Spanned { value: file, .. }) = written else {
            return;
        };
        warnings.family("icmp", file.preferred_ip_protocol.as_ref());
    }
}

/// Default hop limit, the same as in `blackbox_exporter`.
const HOP_LIMIT: u8 = 64;

/// Maximum payload in bytes. The length field of an IPv4 packet has 16 bits, and the headers have 28 bytes.
const LARGEST_PAYLOAD: usize = 65_507;

fn build(file: &IcmpFile, resolver: Arc<Resolver>, path: &str) -> Result<IcmpProber, ConfigIssue> {
    Ok(IcmpProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        source: address::source(file.source_ip_address.as_ref(), path)?,
        payload: payload(file, path)?,
        dont_fragment: file.dont_fragment.unwrap_or(false),
        hop_limit: hop_limit(file, path)?,
    })
}

/// The payload: the text that `blackbox_exporter` sends, cut or padded with zeros to the configured size. If the size
/// is absent or 0, the payload is this text.
fn payload(file: &IcmpFile, path: &str) -> Result<Vec<u8>, ConfigIssue> {
    let Some(written) = &file.payload_size else {
        return Ok(DEFAULT_PAYLOAD.to_vec());
    };
    match usize::try_from(written.value) {
        Ok(0) => Ok(DEFAULT_PAYLOAD.to_vec()),
        Ok(size) if size <= LARGEST_PAYLOAD => {
            let mut payload = DEFAULT_PAYLOAD.to_vec();
            payload.resize(size, 0);
            Ok(payload)
        }
        _ => {
            let words = format!(
                "invalid payload size {}: expected a number from 0 to {LARGEST_PAYLOAD}",
                written.value
            );
            Err(at(written, path, "payload_size", words))
        }
    }
}

/// The hop limit. 0 means the operating system's default.
fn hop_limit(file: &IcmpFile, path: &str) -> Result<Option<u8>, ConfigIssue> {
    let Some(written) = &file.ttl else {
        return Ok(Some(HOP_LIMIT));
    };
    match u8::try_from(written.value) {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => {
            let words = format!("\"ttl\" cannot be {}: expected a number from 0 to 255", written.value);
            Err(at(written, path, "ttl", words))
        }
    }
}
