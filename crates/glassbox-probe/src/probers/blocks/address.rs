//! The address family and the source address of connections.

use crate::check::AddressFamily;
use crate::file::{ConfigIssue, Spanned, at};
use std::net::IpAddr;

/// The preferred address family. As in `blackbox_exporter`, every value except `ip6` and the empty string means `ip4`.
pub(crate) fn family(preferred: Option<&Spanned<String>>, fallback: Option<bool>) -> AddressFamily {
    let prefers_ip4 = preferred.is_some_and(|family| !matches!(family.value.as_str(), "ip6" | ""));
    AddressFamily {
        prefers_ip4,
        fallback: fallback.unwrap_or(true),
    }
}

/// The local address of the connections.
pub(crate) fn source(written: Option<&Spanned<String>>, path: &str) -> Result<Option<IpAddr>, ConfigIssue> {
    let Some(written) = written.filter(|written| !written.value.is_empty()) else {
        return Ok(None);
    };
    let address = written.value.parse().map_err(|_| {
        let words = format!(
            "invalid IP address {:?}: expected an address such as 192.0.2.7",
            written.value
        );
        at(written, path, "source_ip_address", words)
    })?;
    Ok(Some(address))
}
