//! One finding as JSON: what a person needs to believe the verdict. Values of headers are shown by an allow-list.

use crate::history::Entry;
use crate::ledger::Lap;
use crate::reason::Reason;
use crate::report::{Certificate, Leg, Reply, Report, Stamps, TlsFacts};
use crate::secret::MASK;
use crate::verdict::Verdict;
use http::HeaderName;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The response fields whose values are shown: they tell who answered and what was decided, and hold no secrets.
const SHOWN_HEADERS: [&str; 32] = [
    "accept-ranges",
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "cache-status",
    "cf-cache-status",
    "cf-ray",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expires",
    "last-modified",
    "proxy-status",
    "retry-after",
    "server",
    "server-timing",
    "strict-transport-security",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "x-cache",
    "x-cache-hits",
    "x-powered-by",
    "x-served-by",
    "x-squid-error",
    "x-varnish",
    "x-vercel-error",
];

/// Bytes of an answer's first word that are shown.
const FIRST_WORD: usize = 32;

/// The evidence of a finding. Times are seconds; a lap's `begun` counts from the start of the probe.
#[must_use]
pub fn json(entry: &Entry) -> Value {
    let finding = &entry.finding;
    json!({
        "id": entry.id.to_string(),
        "module": finding.module.name,
        "target": finding.aim.target.to_string(),
        "hostname": finding.aim.hostname,
        "success": finding.report.succeeded(),
        "verdict": finding.verdict.as_ref().map(verdict),
        "front": report(&finding.report),
    })
}

fn verdict(verdict: &Verdict) -> Value {
    json!({
        "link": verdict.link.as_str(),
        "reason": verdict.reason.as_str(),
        "reasons": verdict.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(),
        "phase": verdict.stage.phase(),
        "side": null,
        "answered_by": verdict.answered_by,
        "certainty": verdict.certainty.as_str(),
        "rule": verdict.rule,
        "masked": false,
        "sentence": verdict.sentence,
    })
}

fn report(report: &Report) -> Value {
    let unattributed = report.outside_laps();
    json!({
        "began": rfc3339(report.began),
        "duration_seconds": seconds(report.took),
        "timeout_seconds": seconds(report.timeout),
        "unattributed_seconds": seconds(unattributed),
        "fault": report.fault.as_ref().map(|fault| json!({
            "phase": fault.stage.phase(),
            "reason": fault.reason.as_str(),
            "detail": fault.detail,
        })),
        "legs": report.legs.iter().map(leg).collect::<Vec<_>>(),
    })
}

fn leg(leg: &Leg) -> Value {
    json!({
        "url": leg.url,
        "addresses": leg.addresses,
        "peer": leg.peer,
        "local": leg.local,
        "laps": leg.ledger.laps().iter().map(lap).collect::<Vec<_>>(),
        "tls": leg.tls.as_ref().map(tls),
        "socket": leg.socket.map(|socket| json!({
            "rtt_seconds": seconds(socket.rtt),
            "retransmits": socket.retransmits,
        })),
        "bytes_written": leg.wire.written,
        "bytes_read": leg.wire.read,
        "below_tls": stamps(leg.wire.below_tls),
        "above_tls": stamps(leg.wire.above_tls),
        "first_bytes": first_bytes(leg),
        "reply": leg.reply.as_ref().map(reply),
    })
}

fn stamps(stamps: Stamps) -> Value {
    json!({
        "first_write_seconds": stamps.first_write.map(seconds),
        "last_write_seconds": stamps.last_write.map(seconds),
        "first_read_seconds": stamps.first_read.map(seconds),
        "last_read_seconds": stamps.last_read.map(seconds),
    })
}

fn lap(lap: &Lap) -> Value {
    json!({
        "phase": lap.stage().phase(),
        "begun_seconds": seconds(lap.begun()),
        "duration_seconds": seconds(lap.took()),
        "failed": lap.failed().map(Reason::as_str),
    })
}

fn tls(facts: &TlsFacts) -> Value {
    json!({
        "version": facts.version,
        "cipher": facts.cipher,
        "alpn": facts.alpn,
        "verified_until": facts.verified_until,
        "chain": facts.chain.iter().map(certificate).collect::<Vec<_>>(),
    })
}

fn certificate(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "dns_names": certificate.dns_names,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
    })
}

fn reply(reply: &Reply) -> Value {
    let headers: Vec<Value> = reply
        .headers
        .iter()
        .map(|(name, value)| {
            let value = if is_shown(name) {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            } else {
                MASK.to_owned()
            };
            json!({ "name": name.as_str(), "value": value })
        })
        .collect();
    json!({
        "status": reply.status,
        "reason_phrase": reply.reason_phrase,
        "version": reply.version,
        "headers": headers,
        "content_length": reply.declared_length,
        "body_length": reply.body_length,
    })
}

fn is_shown(name: &HeaderName) -> bool {
    SHOWN_HEADERS.contains(&name.as_str())
}

/// The first word that came, where it is the evidence: an answer that was no HTTP, or no TLS. What follows it may be an
/// echo of our request or fields with secrets; an answer that could be read is shown by its fields instead.
fn first_bytes(leg: &Leg) -> Option<String> {
    let came = &leg.wire.excerpt;
    let word = came.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let shown = &word[..word.len().min(FIRST_WORD)];
    (leg.reply.is_none() && !came.is_empty()).then(|| shown.escape_ascii().to_string())
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// UTC to the millisecond. A clock before 1970 shows as 1970.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        since.subsec_millis()
    )
}

/// Days since 1970-01-01 as a date of the Gregorian calendar.
const fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01 in eras of 400 years, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{SHOWN_HEADERS, rfc3339};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_are_right_around_leap_days() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(at)), text);
        }
    }

    #[test]
    fn no_shown_header_carries_credentials() {
        assert!(SHOWN_HEADERS.is_sorted());
        for secret in ["set-cookie", "authorization", "location", "www-authenticate"] {
            assert!(!SHOWN_HEADERS.contains(&secret));
        }
    }
}
