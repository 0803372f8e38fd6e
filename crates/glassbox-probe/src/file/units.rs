//! Durations and sizes in Go's notation.
//!
//! `humantime` parses another notation: it accepts days and months, which Go rejects, and it rejects signs.

use super::issue::ConfigIssue;
use super::read::{Spanned, at};
use crate::budget::RequestRate;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A module's timeout. As in `blackbox_exporter`, an absent, zero or negative value means no timeout.
///
/// # Errors
/// If it is not a duration, or out of range.
pub fn timeout(written: Option<&Spanned<String>>, path: &str) -> Result<Option<Duration>, ConfigIssue> {
    threshold(written, path, "timeout")
}

/// Allowed probe intervals. With a shorter interval, probes would overlap. With a longer interval, a lease would expire
/// before the next probe.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(5);

/// The interval of the probes between scrapes. An absent or zero value disables these probes.
///
/// # Errors
/// If it is not a duration, or out of range.
pub fn interval(written: Option<&Spanned<String>>, path: &str) -> Result<Option<Duration>, ConfigIssue> {
    let interval = threshold(written, path, "interval")?;
    match (written, interval) {
        (Some(written), Some(interval)) if !INTERVALS.contains(&interval) => Err(at(
            written,
            path,
            "interval",
            format!(
                "invalid interval {:?}: expected a duration from 100ms to 5m",
                written.value
            ),
        )),
        _ => Ok(interval),
    }
}

/// A maximum duration. An absent, zero or negative value means no maximum.
///
/// # Errors
/// If it is not a duration, or out of range.
pub fn threshold(written: Option<&Spanned<String>>, path: &str, key: &str) -> Result<Option<Duration>, ConfigIssue> {
    let Some(written) = written else {
        return Ok(None);
    };
    match duration(&written.value) {
        Some(timeout) if timeout.is_zero() => Ok(None),
        Some(timeout) => Ok(Some(timeout)),
        None => Err(at(
            written,
            path,
            key,
            format!(
                "invalid duration {:?}: expected a number with a unit, such as 5s, 500ms or 1m30s",
                written.value
            ),
        )),
    }
}

/// Parses a rate, such as `30/m`. Returns `usual` if the key is absent.
///
/// # Errors
/// If it is not a rate.
pub fn rate(
    written: Option<&Spanned<String>>,
    path: &str,
    key: &str,
    usual: RequestRate,
) -> Result<RequestRate, ConfigIssue> {
    let Some(written) = written else {
        return Ok(usual);
    };
    requests_per(&written.value).ok_or_else(|| {
        let words = format!(
            "invalid rate {:?}: expected a number of requests up to {MOST_REQUESTS} per s, m or h, such as {usual}",
            written.value
        );
        at(written, path, key, words)
    })
}

/// Maximum number of requests in a period.
const MOST_REQUESTS: u32 = 1_000_000;

fn requests_per(text: &str) -> Option<RequestRate> {
    let (number, unit) = text.split_once('/')?;
    let (_, per) = RequestRate::UNITS.iter().find(|(name, _)| *name == unit)?;
    let is_plain = number.bytes().all(|digit| digit.is_ascii_digit());
    let requests = number
        .parse()
        .ok()
        .filter(|requests| is_plain && *requests <= MOST_REQUESTS)?;
    Some(RequestRate { requests, per: *per })
}

/// Parses the notation of Go's `time.ParseDuration`: `1h30m`, `1.5s`, `300ms`, `0`. As in `blackbox_exporter`, a
/// negative duration is zero.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    Duration::try_from_secs_f64(sum(text, &UNITS)?.max(0.0)).ok()
}

/// Parses a size in the notation of `blackbox_exporter`: a number with a unit in powers of 1024 (`10B`, `1KB`,
/// `1.5MB`). A zero or negative size means no limit.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 13] = [
        ("B", 1.0),
        ("KB", 1024.0),
        ("KiB", 1024.0),
        ("MB", 1_048_576.0),
        ("MiB", 1_048_576.0),
        ("GB", 1_073_741_824.0),
        ("GiB", 1_073_741_824.0),
        ("TB", 1_099_511_627_776.0),
        ("TiB", 1_099_511_627_776.0),
        ("PB", 1_125_899_906_842_624.0),
        ("PiB", 1_125_899_906_842_624.0),
        ("EB", 1_152_921_504_606_846_976.0),
        ("EiB", 1_152_921_504_606_846_976.0),
    ];
    let bytes = sum(text, &UNITS)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates: a negative size becomes 0, which means no limit"
    )]
    bytes.is_finite().then_some(bytes as u64)
}

/// Adds up numbers with units, such as `1h30m`. Only `0` may have no unit.
fn sum(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c| !is_digit(c))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(is_digit).unwrap_or(rest.len());
        let (_, factor) = units.iter().find(|(unit, _)| *unit == &rest[..end])?;
        total += number * factor;
        rest = &rest[end..];
    }
    Some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::{duration, requests_per, size};
    use std::time::Duration;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [
            ("5s", 5000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("300ms", 300),
            ("0", 0),
            ("1h0s", 3_600_000),
            (".5s", 500),
            ("-1s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "5", "1d", "s", "5 s", "-", "1.2.3s", "5S"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        for text in ["30/m", "0/s", "1000000/h"] {
            assert_eq!(requests_per(text).unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "30",
            "30/",
            "/m",
            "30/d",
            "-1/m",
            "+1/m",
            "1.5/m",
            "30 / m",
            "1000001/s",
            "99999999999/s",
        ] {
            assert_eq!(requests_per(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_the_peers() {
        for (text, bytes) in [
            ("10B", 10),
            ("1KB", 1024),
            ("1.5MB", 1_572_864),
            ("0", 0),
            ("1KiB", 1024),
            ("1MB512KB", 1_572_864),
            ("1PiB", 1 << 50),
            ("-1B", 0),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "10", "1m", "KB", "-", "1kb", "1 KB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
