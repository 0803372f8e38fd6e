//! The gauges of `blackbox_exporter` that several probers share.

use crate::limits::label;
use crate::metrics::{
    DNS_LOOKUP_TIME, EXPECT_INFO, FAILED_DUE_TO_BYTES, FAILED_DUE_TO_REGEX, IP_ADDR_HASH, IP_PROTOCOL, MetricPage,
    SSL_EARLIEST_CERT_EXPIRY, SSL_LAST_CHAIN_EXPIRY, SSL_LAST_CHAIN_INFO, TLS_CIPHER_INFO, TLS_VERSION_INFO, Value,
};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::report::{Exchange, Mismatch, ProtocolFacts, Report};
use glassbox_verdict::stage_log::StageTiming;
use std::net::IpAddr;
use std::time::Duration;

/// The zero value of Go's `time.Time`, in seconds. `blackbox_exporter` exports it if no chain was verified.
const NEVER: f64 = -62_135_596_800.0;

/// The resolution of the target's own name. As in `blackbox_exporter`, only the first exchange counts.
pub fn address(first: &Exchange, page: &mut MetricPage) {
    page.set(&DNS_LOOKUP_TIME, first.time_in(Stage::Resolve).as_secs_f64());
    let (protocol, hash) = match first.chosen {
        None => (0.0, 0),
        Some(IpAddr::V4(ip)) => (4.0, fnv1a(&ip.octets())),
        Some(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
            Some(mapped) => (4.0, fnv1a(&mapped.octets())),
            None => (6.0, fnv1a(&ip.octets())),
        },
    };
    page.set(&IP_PROTOCOL, protocol);
    page.set(&IP_ADDR_HASH, f64::from(hash));
}

/// 32-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// TLS facts. The certificates are exported even if they were rejected.
pub fn tls(exchange: &Exchange, page: &mut MetricPage) {
    certificates(exchange, page);
    let Some(facts) = &exchange.tls else { return };
    if let Some(cipher) = &facts.cipher {
        page.push(
            &TLS_CIPHER_INFO,
            [("cipher", cipher.clone().into())],
            Value::Number(1.0),
        );
    }
}

/// TLS facts without the cipher suite, which `blackbox_exporter` exports only for http.
pub fn certificates(exchange: &Exchange, page: &mut MetricPage) {
    let Some(facts) = &exchange.tls else { return };
    if let Some(leaf) = facts.chain.first() {
        let earliest = facts.chain.iter().map(|cert| cert.not_after).min();
        page.set(&SSL_EARLIEST_CERT_EXPIRY, earliest.map_or(NEVER, seconds));
        // A rejected certificate has no verified chain that could expire.
        let chain = facts.verified_until.map(seconds);
        if let Some(chain) = chain.or(exchange.finished(Stage::Secure).then_some(NEVER)) {
            page.set(&SSL_LAST_CHAIN_EXPIRY, chain);
        }
        let text = |value: &str| label(value).into();
        page.push(
            &SSL_LAST_CHAIN_INFO,
            [
                ("fingerprint_sha256", text(&leaf.fingerprint_sha256)),
                ("issuer", text(&leaf.issuer)),
                ("serialnumber", text(&leaf.serial)),
                ("subject", text(&leaf.subject)),
                ("subjectalternative", text(&leaf.dns_names.join(","))),
            ],
            Value::Number(1.0),
        );
    }
    if let Some(version) = facts.version {
        page.push(&TLS_VERSION_INFO, [("version", version.into())], Value::Number(1.0));
    }
}

/// The outcome of the dialogue; nothing if the probe ended before it.
pub fn dialogue(report: &Report, page: &mut MetricPage) {
    let Some(ProtocolFacts::Dialogue(dialogue)) = report.last_exchange().and_then(|exchange| exchange.spoken.as_ref())
    else {
        return;
    };
    let failed_by = |mismatch| f64::from(u8::from(dialogue.mismatch == Some(mismatch)));
    page.set(&FAILED_DUE_TO_REGEX, failed_by(Mismatch::Regexp));
    page.set(&FAILED_DUE_TO_BYTES, failed_by(Mismatch::Bytes));
    for labels in &dialogue.labels {
        let labels = labels
            .iter()
            .map(|(name, value)| (name.clone().into(), label(value).into()));
        page.push_with(&EXPECT_INFO, labels.collect(), Value::Number(1.0));
    }
}

/// A count as a metric value.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    reason = "metric values are floats; counts stay below 2^53"
)]
pub const fn count(things: usize) -> f64 {
    things as f64
}

/// The total time of all stages. It equals the sum of the exported phases if every phase is exported.
#[must_use]
pub fn attributed(report: &Report) -> Duration {
    report.timings().map(StageTiming::took).sum()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "metric values are floats; dates stay below 2^53"
)]
const fn seconds(at: i64) -> f64 {
    at as f64
}

#[cfg(test)]
mod tests {
    use super::fnv1a;

    #[test]
    fn the_address_hash_is_the_peers() {
        assert_eq!(fnv1a(&[127, 0, 0, 1]), 3_668_918_509);
        assert_eq!(fnv1a(&std::net::Ipv6Addr::LOCALHOST.octets()), 1_751_717_746);
    }
}
