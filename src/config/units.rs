//! Durations and sizes as Go writes them.

use super::file::At;
use super::problem::{Problem, at};
use std::time::Duration;

/// A module's timeout: absent or zero means none, as with the peer.
pub(super) fn timeout(written: Option<&At<String>>, path: &str) -> Result<Option<Duration>, Problem> {
    let Some(written) = written else {
        return Ok(None);
    };
    match duration(&written.value) {
        Some(timeout) if timeout.is_zero() => Ok(None),
        Some(timeout) => Ok(Some(timeout)),
        None => Err(at(
            written,
            path,
            "timeout",
            format!(
                "{:?} is no duration; write a number with a unit, such as 5s, 500ms or 1m30s",
                written.value
            ),
        )),
    }
}

/// Go's `time.ParseDuration` for what is not negative: `1h30m`, `1.5s`, `300ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
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
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?;
        seconds += number * factor;
        rest = &rest[end..];
        parts += 1;
    }
    (parts > 0).then_some(())?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The peer's sizes: bytes in powers of 1024, with a unit (`10B`, `1KB`, `1.5MB`); `0` is no limit.
pub(super) fn size(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 11] = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
        ("KB", 1024.0),
        ("MB", 1_048_576.0),
        ("GB", 1_073_741_824.0),
        ("TB", 1_099_511_627_776.0),
        ("PB", 1_125_899_906_842_624.0),
        ("EB", 1_152_921_504_606_846_976.0),
        ("B", 1.0),
    ];
    if text == "0" {
        return Some(0);
    }
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: f64 = text[..text.len() - unit.len()].trim_end().parse().ok()?;
    let bytes = number * factor;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a size; a float to integer cast saturates"
    )]
    (bytes.is_finite() && bytes >= 0.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::{duration, size};
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
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "5", "1d", "s", "5 s", "-1s", "1.2.3s", "5S"] {
            assert_eq!(duration(wrong), None, "{wrong}");
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
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "10", "1m", "KB", "-1B", "1kb"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
