//! Parses the date of `Expires` in the two formats that Go accepts: `Mon, 02 Jan 2006 15:04:05 MST` and `Mon,
//! 02-Jan-2006 15:04:05 MST`.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::{Date, Month, Time, UtcDateTime};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// The zero value of Go's `time.Time`, 0001-01-01 00:00:00 UTC. An `Expires` with this value is ignored.
const ZERO_TIME: i64 = -62_135_596_800;

/// The point in time. All years before 1970 count as expired. As in Go, the weekday is not compared with the date.
pub(super) fn read(text: &str) -> Option<SystemTime> {
    let (weekday, rest) = text.split_once(", ")?;
    DAYS.contains(&weekday.to_ascii_lowercase().as_str()).then_some(())?;
    let separator = if rest.get(2..3)? == "-" { '-' } else { ' ' };
    let mut parts = rest.splitn(3, separator);
    let day = number(parts.next()?, 2)?;
    let month = parts.next()?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|known| *known == month)?;
    let month = Month::January.nth_next(u8::try_from(month).ok()?);
    let mut parts = parts.next()?.splitn(3, ' ');
    let year = number(parts.next()?, 4)?;
    let mut clock = parts.next()?.splitn(3, ':');
    let (hour, minute) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let second = clock.next()?;
    let (second, fraction) = second.split_at_checked(2)?;
    let second = number(second, 2)?;
    let is_fraction =
        |text: &str| text.len() > 1 && text.starts_with(['.', ',']) && text[1..].bytes().all(|b| b.is_ascii_digit());
    (fraction.is_empty() || is_fraction(fraction)).then_some(())?;
    let offset = offset(parts.next()?)?;
    let date = Date::from_calendar_date(year, month, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    let seconds = UtcDateTime::new(date, time).unix_timestamp() - offset;
    if seconds == ZERO_TIME {
        return None;
    }
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn number<N: FromStr>(text: &str, digits: usize) -> Option<N> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Seconds east of Greenwich. Unknown abbreviations count as 0, as in Go. `GMT+3` and `+03` are three hours.
fn offset(zone: &str) -> Option<i64> {
    let letters = zone.bytes().take_while(u8::is_ascii_uppercase).count();
    let (name, rest) = zone.split_at(letters);
    let hours = |text: &str| {
        let number: i64 = text.parse().ok()?;
        (text.starts_with(['+', '-']) && text.len() > 1 && (-23..=23).contains(&number)).then_some(number * 3600)
    };
    match (name, rest) {
        ("GMT", "") => Some(0),
        ("GMT" | "", rest) => hours(rest),
        (_, "") if (3..=5).contains(&letters) => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_are_read_as_go_reads_them() {
        let at = |text: &str| read(text).map(|end| end.duration_since(UNIX_EPOCH).unwrap().as_secs());
        for (text, seconds) in [
            ("Mon, 02 Jan 2006 15:04:05 GMT", 1_136_214_245),
            ("Mon, 02-Jan-2006 15:04:05 GMT", 1_136_214_245),
            ("sun, 29 FEB 2096 23:59:59 UTC", 3_981_398_399),
            ("Sun, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
            ("Thu, 01 Jan 1970 00:00:00.5 GMT", 0),
            ("Thu, 01 Jan 0000 00:00:00 GMT", 0),
            ("Mon, 01 Jan 0001 00:00:01 GMT", 0),
            ("Thu, 01 Jan 1970 03:00:00 GMT+3", 0),
            ("Thu, 01 Jan 1970 00:00:00 +0000", 0),
        ] {
            assert_eq!(at(text), Some(seconds), "{text}");
        }
        for wrong in [
            "",
            "0",
            "Mon, 02-Jan-06 15:04:05 GMT",
            "Thu, 1 Jan 1970 00:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:00",
            "Thursday, 01-Jan-70 00:00:00 GMT",
            "Thu Jan  1 00:00:00 1970",
            "Thu, 31 Feb 1970 00:00:00 GMT",
            "Thu, 29 Feb 2100 00:00:00 GMT",
            "Thu, 01 Jan 1970 24:00:00 GMT",
            "Mon, 01 Jan 0001 00:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:00 +0100",
            "Thu, 01 Jan 1970 00:00:00 gmt",
            "Thü, 01 Jan 1970 00:00:00 GMT",
            "Thu, ü1 Jan 1970 00:00:00 GMT",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(read("Mon, 02 Jan 9999 15:04:05 GMT").unwrap() > UNIX_EPOCH + Duration::from_hours(24 * 365 * 8000));
    }
}
