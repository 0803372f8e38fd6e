//! Host and port, as they are written together in targets, URLs and `Host` fields.

/// Splits host and port. Removes the brackets of an IPv6 address.
#[must_use]
pub fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => ("", None),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        Some(_) => ("", None),
        None => (text, None),
    }
}

/// Returns the host of a displayed URL of any scheme, without brackets; empty for a path.
#[must_use]
pub fn shown_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?', '…']).next().unwrap_or_default();
    split(place.rsplit_once('@').map_or(place, |(_, place)| place)).0
}

/// Removes the zone of an IPv6 address (RFC 4007 section 11). The policy ignores zones.
#[must_use]
pub fn without_zone(host: &str) -> &str {
    match host.split_once('%') {
        Some((address, _)) if address.contains(':') => address,
        _ => host,
    }
}

/// Removes an optional port from a host, as in `Host` (RFC 9110 section 7.2).
#[must_use]
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                host
            } else {
                authority
            }
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shown_url_tells_its_host() {
        for (url, host) in [
            ("http://a.test/x", "a.test"),
            ("HTTP://A.test:80", "A.test"),
            ("dns+tcp://[fe80::1%lo]:53", "fe80::1%lo"),
            ("icmp://192.0.2.1", "192.0.2.1"),
            ("http://0xa9fea9fe/?…", "0xa9fea9fe"),
            ("unix:///run/app.sock", ""),
            ("", ""),
        ] {
            assert_eq!(super::shown_host(url), host, "{url}");
        }
    }
}
