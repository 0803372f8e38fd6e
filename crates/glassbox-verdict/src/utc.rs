//! Human-readable timestamps in UTC (RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::UtcDateTime;

/// Formats a time in UTC with millisecond precision. A time after 9999 is shown as the end of 9999, since RFC 3339 has
/// only years with four digits.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let whole = |distance: Duration| i128::try_from(distance.as_nanos()).unwrap_or(i128::MAX);
    let nanoseconds = match at.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    };
    let at = UtcDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(UtcDateTime::MAX);
    // Not the library's own formatter for RFC 3339: it omits trailing zeros, so columns would not align.
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, millisecond) = at.as_hms_milli();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// Formats a time for a table: `2026-01-01 00:00:00`.
#[must_use]
pub fn to_the_second(at: SystemTime) -> String {
    let mut text = rfc3339(at).replace('T', " ");
    text.truncate("2026-01-01 00:00:00".len());
    text
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, to_the_second};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_are_right_around_leap_days() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_007, "2024-03-01T00:00:00.007Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(at)), text);
        }
    }

    #[test]
    fn times_out_of_range_are_shown_as_their_ends() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(rfc3339(before), "1969-12-31T23:59:59.000Z");
        let last = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        assert_eq!(rfc3339(last), "9999-12-31T23:59:59.000Z");
        let after = last + Duration::from_secs(1);
        assert_eq!(rfc3339(after), "9999-12-31T23:59:59.999Z");
        assert_eq!(to_the_second(after), "9999-12-31 23:59:59");
    }
}
