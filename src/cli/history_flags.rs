//! The flags of the evidence: how much is kept, in memory and on disk.

use super::numbers;
use crate::history::store::{StoreLimits, StoreSettings};
use clap::Args;
use glassbox_probe::file::units;
use std::path::PathBuf;
use std::time::Duration;

/// Smallest `--history.size`: the log of the database uses half of it.
const SMALLEST: u64 = 16 << 20;

/// Allowed `--history.retention`, in seconds: from one hour to ten years.
const RETENTION: std::ops::RangeInclusive<u64> = 3600..=10 * 366 * 86_400;

#[derive(Debug, Args)]
pub(super) struct HistoryFlags {
    /// Maximum number of findings to keep as evidence in memory. Failed probes are kept longest.
    #[arg(long = "history.limit", value_name = "COUNT", default_value = "1000", value_parser = numbers::count)]
    pub limit: usize,

    /// Directory in which to keep evidence on disk, so that it survives a restart: failures, the first success after a
    /// failure, and one success per target and hour [default: evidence is only in memory].
    #[arg(long = "history.path", value_name = "DIR")]
    path: Option<PathBuf>,

    /// Maximum size of the evidence on disk. At least 16MiB.
    #[arg(long = "history.size", value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    size: u64,

    /// Maximum age of the evidence on disk. From 1h to 10 years.
    #[arg(long = "history.retention", value_name = "DURATION", default_value = "14d", value_parser = retention)]
    retention: Duration,
}

impl HistoryFlags {
    /// Returns the settings of the store; `None` if evidence is only in memory.
    pub fn store(&self) -> Option<StoreSettings> {
        let path = self.path.clone().filter(|path| !path.as_os_str().is_empty())?;
        Some(StoreSettings {
            path,
            limits: StoreLimits {
                size: self.size,
                retention: self.retention,
            },
        })
    }
}

fn size(written: &str) -> Result<u64, String> {
    let size = units::size(written).filter(|size| *size >= SMALLEST);
    size.ok_or_else(|| {
        format!("invalid size {written:?}: expected a size with a unit of at least 16MiB, such as 256MiB")
    })
}

/// Parses a duration in Go's notation, or a number of days (`14d`) or weeks (`2w`) as in Prometheus.
fn retention(written: &str) -> Result<Duration, String> {
    let whole = |unit: &str, seconds: u64| {
        let number = written.strip_suffix(unit)?;
        let is_plain = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        let number = number.parse::<u64>().ok().filter(|_| is_plain)?;
        number.checked_mul(seconds).map(Duration::from_secs)
    };
    let parsed = whole("d", 86_400).or_else(|| whole("w", 7 * 86_400));
    let parsed = parsed.or_else(|| units::duration(written));
    let allowed = parsed.filter(|retention| RETENTION.contains(&retention.as_secs()));
    allowed.ok_or_else(|| format!("invalid duration {written:?}: expected from 1h to 10 years, such as 14d or 36h"))
}

#[cfg(test)]
mod tests {
    use super::{retention, size};

    #[test]
    fn sizes_have_a_minimum() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1.5GB"), Ok(3 << 29));
        for wrong in ["", "256", "15MiB", "-1GB", "0", "x"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn retentions_are_days_weeks_or_durations_of_go() {
        for (written, hours) in [("14d", 336), ("2w", 336), ("1h", 1), ("36h", 36), ("90m", 1)] {
            assert_eq!(
                retention(written).map(|time| time.as_secs() / 3600),
                Ok(hours),
                "{written}"
            );
        }
        for wrong in [
            "",
            "d",
            "+1d",
            "0d",
            "59m",
            "-14d",
            "14",
            "99999999999999999999d",
            "11000d",
            "1.5d",
        ] {
            assert!(retention(wrong).is_err(), "{wrong}");
        }
    }
}
