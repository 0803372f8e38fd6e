//! Numeric hosts that some programs parse as an IPv4 address: `0xA9FEA9FE`, `0251.0376.0251.0376`, `169.254.43518`
//! (`inet_aton(3)`).

use std::net::{IpAddr, Ipv4Addr};

/// Parses a host like `inet_aton(3)`, browsers and many proxies, optionally with a trailing dot and full-width digits.
/// Returns `None` if none of these would parse it as an address. Like Go, the exporter itself treats a numeric host as
/// a name. The policy needs the address because a proxy or a name server may parse the host differently.
#[must_use]
pub fn numeric_address(host: &str) -> Option<IpAddr> {
    let mapped;
    let host = if host.is_ascii() {
        host
    } else {
        mapped = idna::domain_to_ascii(host).ok()?;
        &mapped
    };
    let host = host.trim_end_matches('.');
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return Some(address);
    }
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, high) = parts.split_last()?;
    // The last part covers the remaining bytes of the address.
    let bits = 32 - 8 * u32::try_from(high.len()).ok().filter(|count| *count < 4)?;
    if u64::from(*last) >= 1 << bits || high.iter().any(|part| *part > 0xff) {
        return None;
    }
    let high = high.iter().zip([24, 16, 8]).map(|(part, shift)| part << shift);
    Some(Ipv4Addr::from(high.fold(*last, |address, part| address | part)).into())
}

/// Parses a number: hexadecimal after `0x`, octal after `0`, otherwise decimal.
fn number(part: &str) -> Option<u32> {
    let lower = part.to_ascii_lowercase();
    let (digits, radix) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(""), _) | (None, Some("")) => ("0", 16),
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => (&*lower, 10),
    };
    // `from_str_radix` would accept a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::numeric_address;

    #[test]
    fn what_others_take_for_an_address_is_known() {
        for host in [
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "0xA9FEA9FE",
            "0Xa9.0xFE.0xA9.0xFE",
            "0251.0376.0251.0376",
            "025177524776",
            "169.254.43518",
            "169.16689662",
            "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
            "１６９.254.169。254",
        ] {
            assert_eq!(numeric_address(host), Some([169, 254, 169, 254].into()), "{host}");
        }
        assert_eq!(numeric_address("0"), Some([0, 0, 0, 0].into()));
        assert_eq!(numeric_address("0x"), Some([0, 0, 0, 0].into()));
        assert!(numeric_address("::ffff:169.254.169.254").is_some());
    }

    #[test]
    fn names_are_names() {
        for host in [
            "",
            ".",
            "a",
            "a.1",
            "1.a",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "4294967296",
            "08",
            "0xg",
            "+1",
            "1..2",
            "1.2.65536",
            "0x1_0",
            "bücher",
        ] {
            assert_eq!(numeric_address(host), None, "{host}");
        }
    }
}
