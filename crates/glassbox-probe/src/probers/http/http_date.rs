//! Dates in header fields (RFC 9110 section 5.6.7), parsed as leniently as Go's `http.ParseTime`: the weekday is not
//! compared with the date, names are case-insensitive, several spaces count as one, an hour may have one digit, seconds
//! may have a fraction, and the zone of the obsolete RFC 850 format is parsed but treated as UTC.
//!
//! `time` checks the date and converts it, but does not parse the text: its parser rejects most of these deviations, and
//! so does `httpdate`.

use time::{Date, Month, Time, UtcDateTime};

/// The three formats, as parts and separators.
const FORMATS: [&[DatePart]; 3] = [
    // Sun, 06 Nov 1994 08:49:37 GMT
    &[
        DatePart::Name(&DAYS, 3),
        DatePart::Text(","),
        DatePart::Spaces,
        DatePart::Day(true),
        DatePart::Spaces,
        DatePart::Month,
        DatePart::Spaces,
        DatePart::Year,
        DatePart::Spaces,
        DatePart::Time,
        DatePart::Spaces,
        DatePart::Text("GMT"),
    ],
    // Sunday, 06-Nov-94 08:49:37 GMT
    &[
        DatePart::Name(&DAYS, usize::MAX),
        DatePart::Text(","),
        DatePart::Spaces,
        DatePart::Day(true),
        DatePart::Text("-"),
        DatePart::Month,
        DatePart::Text("-"),
        DatePart::ShortYear,
        DatePart::Spaces,
        DatePart::Time,
        DatePart::Spaces,
        DatePart::Zone,
    ],
    // Sun Nov  6 08:49:37 1994
    &[
        DatePart::Name(&DAYS, 3),
        DatePart::Spaces,
        DatePart::Month,
        DatePart::Spaces,
        DatePart::Day(false),
        DatePart::Spaces,
        DatePart::Time,
        DatePart::Spaces,
        DatePart::Year,
    ],
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[derive(Clone, Copy)]
enum DatePart {
    /// One of these names, truncated to a number of letters.
    Name(&'static [&'static str], usize),
    Text(&'static str),
    /// One or more spaces, or the end of the text.
    Spaces,
    /// The day; true if two digits are required.
    Day(bool),
    Month,
    Year,
    ShortYear,
    /// Hours, minutes and seconds.
    Time,
    Zone,
}

/// The parts that were read so far.
struct DateParts {
    year: i32,
    month: Month,
    day: u8,
    time: Time,
}

/// Seconds since 1970, negative for earlier dates; `None` if the text is in none of the three formats.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    FORMATS.iter().find_map(|format| parse_as(text, format))
}

fn parse_as(mut text: &str, format: &[DatePart]) -> Option<i64> {
    let mut parts = DateParts {
        year: 0,
        month: Month::January,
        day: 0,
        time: Time::MIDNIGHT,
    };
    for part in format {
        text = parts.take(*part, text)?;
    }
    let date = Date::from_calendar_date(parts.year, parts.month, parts.day).ok()?;
    text.is_empty()
        .then(|| UtcDateTime::new(date, parts.time).unix_timestamp())
}

impl DateParts {
    /// Parses one part at the start of the text and returns the rest.
    fn take<'a>(&mut self, part: DatePart, text: &'a str) -> Option<&'a str> {
        let rest = match part {
            DatePart::Name(names, letters) => name(names, letters, text)?.1,
            DatePart::Text(words) => text.strip_prefix(words)?,
            DatePart::Spaces if text.is_empty() || text.starts_with(' ') => text.trim_start_matches(' '),
            DatePart::Spaces => return None,
            DatePart::Day(two_digits) => {
                let (day, rest) = number(text, two_digits)?;
                self.day = day;
                rest
            }
            DatePart::Month => {
                let (month, rest) = name(&MONTHS, 3, text)?;
                self.month = Month::January.nth_next(u8::try_from(month).ok()?);
                rest
            }
            DatePart::Year => {
                let (year, rest) = text.split_at_checked(4)?;
                self.year = year
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| year.parse().ok())??;
                rest
            }
            DatePart::ShortYear => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i32 = year.parse().ok()?;
                self.year = year + if year >= 69 { 1900 } else { 2000 };
                rest
            }
            DatePart::Time => return self.take_time(text),
            DatePart::Zone => &text[zone(text)?..],
        };
        Some(rest)
    }

    fn take_time<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let (hours, rest) = number(text, false)?;
        let (minutes, rest) = number(rest.strip_prefix(':')?, true)?;
        let (seconds, rest) = number(rest.strip_prefix(':')?, true)?;
        self.time = Time::from_hms(hours, minutes, seconds).ok()?;
        let fraction = rest.strip_prefix(['.', ',']);
        let fraction = fraction.filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
        Some(fraction.map_or(rest, |digits| digits.trim_start_matches(|c: char| c.is_ascii_digit())))
    }
}

/// The index of the name at the start of the text, and the rest.
fn name<'a>(names: &[&str], letters: usize, text: &'a str) -> Option<(usize, &'a str)> {
    names.iter().enumerate().find_map(|(number, name)| {
        let name = &name[..name.len().min(letters)];
        let (begin, rest) = text.split_at_checked(name.len())?;
        begin.eq_ignore_ascii_case(name).then_some((number, rest))
    })
}

/// A number of one or two digits, or of exactly two.
fn number(text: &str, two_digits: bool) -> Option<(u8, &str)> {
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok().filter(|_| digits == 2 || !two_digits)?, rest))
}

/// Length of a time zone in bytes: `UTC`, `CET`, `GMT+2`, `+03`.
fn zone(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if text.starts_with("UTC") {
        return Some(3);
    }
    if let Some(offset) = text.strip_prefix("GMT") {
        return Some(3 + offset_of(offset));
    }
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(['+', '-']) {
        return Some(offset_of(text)).filter(|length| *length > 0);
    }
    let capitals = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    match capitals {
        3 => Some(3),
        4 if text[..4].ends_with('T') || text.starts_with("WITA") => Some(4),
        5 if text[..5].ends_with('T') => Some(5),
        _ => None,
    }
}

/// Length of an offset of up to 23 hours in bytes; 0 if there is none.
fn offset_of(text: &str) -> usize {
    let Some(digits) = text.strip_prefix(['+', '-']) else {
        return 0;
    };
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    match digits[..count].parse::<u64>() {
        Ok(0..=23) => 1 + count,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// The results of Go's `http.ParseTime`, as seen in `blackbox_exporter` 0.28.
    #[test]
    fn dates_are_read_as_go_reads_them() {
        const AT: Option<i64> = Some(1_445_412_480);
        for (text, at) in [
            ("Wed, 21 Oct 2015 07:28:00 GMT", AT),
            ("Mon, 21 Oct 2015 07:28:00 GMT", AT),
            ("wed, 21 OCT 2015 7:28:00.5 GMT", AT),
            ("Wed, 21 Oct 2015  07:28:00,25 GMT", AT),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", AT),
            ("Monday, 21-Oct-15 07:28:00 EST", AT),
            ("Wednesday, 21-Oct-15 07:28:00 GMT+2", AT),
            ("Wednesday, 21-Oct-15 07:28:00 +03", AT),
            ("Wednesday, 21-Oct-15 07:28:00 ABCST", AT),
            ("Wed Oct 21 07:28:00 2015", AT),
            ("Wed  Oct  1 07:28:00.25 2015", Some(1_443_684_480)),
            ("Wed, 29 Feb 2016 07:28:00 GMT", Some(1_456_730_880)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1)),
            ("Mon, 01 Jan 0000 00:00:00 GMT", Some(-62_167_219_200)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Wednesday, 21-Oct-68 07:28:00 GMT", Some(3_118_030_080)),
            ("Wednesday, 21-Oct-69 07:28:00 GMT", Some(-6_193_920)),
            ("Wed, 1 Oct 2015 07:28:00 GMT", None),
            ("Wed, 21 Oct 2015 07:28:00 UTC", None),
            ("Wed, 21 Oct 2015 07:28:00 gmt", None),
            ("Wed, 21 Oct 2015 07:28:00. GMT", None),
            ("Wed, 21 Oct 2015 24:00:00 GMT", None),
            ("Wed, 21 Oct 2015 23:59:60 GMT", None),
            ("Wed, 31 Feb 2015 07:28:00 GMT", None),
            ("Wed,21 Oct 2015 07:28:00 GMT", None),
            ("Foo, 21 Oct 2015 07:28:00 GMT", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT x", None),
            ("Wednesday, 21-Oct-15 07:28:00 GMT+30", None),
            ("Wednesday, 21-Oct-15 07:28:00 ABCD", None),
            ("Wednesday, 21-Oct-15 07:28:00 +0300", None),
            ("", None),
            ("0", None),
        ] {
            assert_eq!(parse(text.as_bytes()), at, "{text}");
        }
        assert_eq!(parse(b"Wed, 21 Oct 2015 07:28:00 GMT\xe9"), None);
    }
}
