//! Composes an icmp module from its keys.

use super::address;
use super::file::IcmpFile;
use super::issue::{ConfigIssue, at};
use crate::check::Resolver;
use crate::probers::icmp::{DEFAULT_PAYLOAD, IcmpProber};
use std::sync::Arc;

/// The hop limit where the module does not say: the peer's.
const HOP_LIMIT: u8 = 64;

/// Bytes of the largest payload: a packet's length has two bytes, and 28 are headers.
const LARGEST_PAYLOAD: usize = 65_507;

/// Checks every key and gives what runs.
pub(super) fn build(file: &IcmpFile, resolver: Arc<Resolver>, path: &str) -> Result<IcmpProber, ConfigIssue> {
    Ok(IcmpProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        source: address::source(file.source_ip_address.as_ref(), path)?,
        payload: payload(file, path)?,
        dont_fragment: file.dont_fragment.unwrap_or(false),
        hop_limit: hop_limit(file, path)?,
    })
}

/// So many bytes, beginning with the peer's words; the words alone where it is 0 or not written.
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
                "{} is no size of a payload; write a number up to {LARGEST_PAYLOAD}",
                written.value
            );
            Err(at(written, path, "payload_size", words))
        }
    }
}

/// 0 leaves it to the system.
fn hop_limit(file: &IcmpFile, path: &str) -> Result<Option<u8>, ConfigIssue> {
    let Some(written) = &file.ttl else {
        return Ok(Some(HOP_LIMIT));
    };
    match u8::try_from(written.value) {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => {
            let words = format!("\"ttl\" cannot be {}; write a number from 0 to 255", written.value);
            Err(at(written, path, "ttl", words))
        }
    }
}
