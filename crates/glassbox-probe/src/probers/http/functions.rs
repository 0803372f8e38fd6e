//! CEL functions with the behaviour of cel-go. The library parses some values differently and reports calls of
//! undeclared functions only during the evaluation.

use cel::common::ast::CallExpr;
use cel::extractors::Arguments;
use cel::{Context, ExecutionError, Value};
use chrono::{DateTime, FixedOffset, TimeDelta};

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `size(x)`.
    Global,
    /// `x.size()`.
    Member,
}

/// The declared functions: name, and each call form with its number of arguments.
const FUNCTIONS: [(&str, &[(Form, usize)]); 25] = [
    ("bool", GLOBAL),
    ("bytes", GLOBAL),
    ("contains", &[(Form::Member, 1)]),
    ("double", GLOBAL),
    ("duration", GLOBAL),
    ("dyn", GLOBAL),
    ("endsWith", &[(Form::Member, 1)]),
    ("getDate", GETTER),
    ("getDayOfMonth", GETTER),
    ("getDayOfWeek", GETTER),
    ("getDayOfYear", GETTER),
    ("getFullYear", GETTER),
    ("getHours", GETTER),
    ("getMilliseconds", GETTER),
    ("getMinutes", GETTER),
    ("getMonth", GETTER),
    ("getSeconds", GETTER),
    ("int", GLOBAL),
    ("matches", &[(Form::Global, 2), (Form::Member, 1)]),
    ("size", &[(Form::Global, 1), (Form::Member, 0)]),
    ("startsWith", &[(Form::Member, 1)]),
    ("string", GLOBAL),
    ("timestamp", GLOBAL),
    ("type", GLOBAL),
    ("uint", GLOBAL),
];

const GLOBAL: &[(Form, usize)] = &[(Form::Global, 1)];

/// In UTC, or in the time zone of the argument.
const GETTER: &[(Form, usize)] = &[(Form::Member, 0), (Form::Member, 1)];

/// Whether a function is declared for this call form. Operators have names that cannot be written in an expression.
pub(super) fn is_declared(call: &CallExpr) -> bool {
    let form = if call.target.is_some() {
        Form::Member
    } else {
        Form::Global
    };
    let is_operator = !call.func_name.starts_with(|first: char| first.is_ascii_alphabetic());
    is_operator
        || FUNCTIONS
            .iter()
            .any(|(name, forms)| *name == call.func_name && forms.contains(&(form, call.args.len())))
}

/// Redirects a call to the implementation in this module, if there is one.
pub(super) fn redirect(call: &mut CallExpr) {
    if call.target.is_none() && matches!(&*call.func_name, "timestamp" | "duration") {
        call.func_name.insert(0, '@');
    }
}

/// Adds the implementations that calls are redirected to.
pub(super) fn add_to(context: &mut Context<'_, '_>) {
    // The library does not define functions with these names.
    let _added = context.add_function("@timestamp", timestamp);
    let _added = context.add_function("@duration", duration);
}

fn timestamp(Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let made = match args.first() {
        Some(Value::Timestamp(time)) => Some(*time),
        Some(Value::Int(seconds)) => DateTime::from_timestamp(*seconds, 0).map(|time| time.fixed_offset()),
        Some(Value::String(text)) => read_timestamp(text),
        _ => None,
    };
    // The range of google.protobuf.Timestamp.
    let made = made.filter(|time| (-62_135_596_800..=253_402_300_799).contains(&time.timestamp()));
    // Without a time zone argument, the getters use UTC.
    let made = made.map(|time| Value::Timestamp(time.to_utc().fixed_offset()));
    made.ok_or_else(|| ExecutionError::function_error("timestamp", "expected an RFC 3339 time or a number of seconds"))
}

/// Parses RFC 3339 like Go: ASCII only, upper case, without leap seconds.
fn read_timestamp(text: &str) -> Option<DateTime<FixedOffset>> {
    let bytes = text.as_bytes();
    let is_strict = bytes.get(10) == Some(&b'T') && bytes.get(17) != Some(&b'6') && !text.contains('z');
    (is_strict && text.is_ascii())
        .then(|| DateTime::parse_from_rfc3339(text).ok())
        .flatten()
}

fn duration(Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let made = match args.first() {
        Some(Value::Duration(duration)) => Some(*duration),
        Some(Value::String(text)) => read_duration(text).map(TimeDelta::nanoseconds),
        _ => None,
    };
    let made = made.map(Value::Duration);
    made.ok_or_else(|| ExecutionError::function_error("duration", "expected a Go duration"))
}

/// The units. `ms` comes before `m`, since the first match counts.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a duration like Go's `time.ParseDuration`, in nanoseconds.
fn read_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        let (unit, after) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((*unit, after.strip_prefix(name)?)))?;
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total += i128::from(whole) * unit + part(fraction, unit);
        // Values up to 2^63 are valid here, since a negative duration may have one more nanosecond.
        if total > 1 << 63 {
            return None;
        }
        rest = after;
    }
    i64::try_from(sign * total).ok()
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// A decimal fraction of a unit, in floating point like Go: `leadingFraction` ignores digits beyond 63 bits.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the rounding is the same as in Go"
)]
fn part(fraction: &str, unit: i128) -> i128 {
    let mut scale = 1.0;
    let mut value = 0_i128;
    for digit in fraction.bytes() {
        let next = value * 10 + i128::from(digit - b'0');
        if next > 1 << 63 {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as i128
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, read_duration, read_timestamp};

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("+1ns", 1),
            ("-.5s", -500_000_000),
            ("5.s", 5_000_000_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s1us1ms", 1_002_000),
            ("0.1h", 360_000_000_000),
            ("1.0000000001s", 1_000_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.9223372036854775808h", 3_320_413_933_267),
            ("0.99999999999999999999s", 1_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-2562047h47m16.854775808s", i64::MIN),
        ] {
            assert_eq!(read_duration(text), Some(nanoseconds), "{text}");
        }
        for wrong in [
            "",
            "+",
            "1",
            "1d",
            "1H",
            " 1h",
            "1h 1m",
            ".s",
            "1e3s",
            "--1h",
            "infs",
            "2562048h",
            "9223372036854775808ns",
            "99999999999999999999ns",
        ] {
            assert_eq!(read_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn timestamps_are_read_as_go_reads_them() {
        for text in [
            "2024-02-29T23:59:58.123456789Z",
            "2024-01-01T00:00:00+05:30",
            "2024-01-01T00:00:00-00:00",
        ] {
            assert!(read_timestamp(text).is_some(), "{text}");
        }
        for wrong in [
            "",
            "1700000000",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2016-12-31T23:59:60Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00+0530",
            "2024-02-29T23:59:58\u{2212}05:00",
        ] {
            assert!(read_timestamp(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(FUNCTIONS.is_sorted_by_key(|(name, _)| *name));
    }
}
