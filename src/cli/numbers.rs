//! Parses numeric flags as Go does: a prefix selects the base, and underscores may separate digits.

/// Parses a non-negative integer: `10`, `0x10`, `0o17`, `017`, `0b11`, `1_000`.
///
/// # Errors
/// When the text is not a valid integer, or the number exceeds 64 bits.
pub(super) fn whole(written: &str) -> Result<u64, String> {
    let wrong = || format!("invalid number {written:?}: expected a non-negative integer, such as 100");
    let lower = written.to_ascii_lowercase();
    let bases = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
    let prefixed = bases
        .iter()
        .find_map(|(prefix, base)| Some((lower.strip_prefix(prefix).filter(|rest| !rest.is_empty())?, *base)));
    let (digits, base) = prefixed.unwrap_or((&lower, 10));
    let digits = if prefixed.is_some() {
        // An underscore may follow the prefix.
        digits.strip_prefix('_').unwrap_or(digits)
    } else {
        digits
    };
    let digits = without_underscores(digits).filter(|digits| digits.chars().all(|c| c.is_digit(base)));
    u64::from_str_radix(&digits.ok_or_else(wrong)?, base).map_err(|_| wrong())
}

/// Parses a count like [`whole`]. A number that exceeds `usize` becomes the maximum.
///
/// # Errors
/// See [`whole`].
pub(super) fn count(written: &str) -> Result<usize, String> {
    whole(written).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Parses seconds: a decimal or hexadecimal number, or `inf`.
///
/// # Errors
/// When the text is not a number, or the number exceeds the range of a float.
pub(super) fn seconds(written: &str) -> Result<f64, String> {
    let wrong = || format!("invalid number {written:?}: expected a number of seconds, such as 0.5");
    let lower = written.to_ascii_lowercase();
    let (sign, unsigned) = match lower.split_at_checked(1) {
        Some(("-", rest)) => (-1.0, rest),
        Some(("+", rest)) => (1.0, rest),
        _ => (1.0, &*lower),
    };
    if unsigned.starts_with(['+', '-']) {
        return Err(wrong());
    }
    let number = if let Some(hex) = unsigned.strip_prefix("0x") {
        hexadecimal(hex.strip_prefix('_').unwrap_or(hex)).ok_or_else(wrong)?
    } else {
        let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let digits = if is_number {
            without_underscores(unsigned)
        } else {
            Some(unsigned.to_owned())
        };
        let number: f64 = digits.ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        if is_number && number.is_infinite() {
            return Err(wrong());
        }
        number
    };
    if number.is_nan() {
        Err(wrong())
    } else {
        Ok(sign * number)
    }
}

/// Parses a hexadecimal float without its `0x`: `1.8p3` is 12. The exponent is required.
fn hexadecimal(written: &str) -> Option<f64> {
    let (mantissa, power) = written.split_once('p')?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = without_underscores(whole).filter(|_| !(whole.is_empty() && part.is_empty()))? + part;
    let power: i32 = power.parse().ok()?;
    let digit = |c: char| c.to_digit(16);
    let number = digits
        .chars()
        .try_fold(0.0, |sum, c| Some(f64::from(digit(c)?) + sum * 16.0))?;
    let places = i32::try_from(part.len()).ok()?;
    let number = number * 2f64.powi(power.checked_sub(places.checked_mul(4)?)?);
    number.is_finite().then_some(number)
}

/// Removes underscores. Returns `None` if one is not between two digits.
fn without_underscores(digits: &str) -> Option<String> {
    let is_between = |place: usize| {
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
        is_digit(place.checked_sub(1).and_then(|before| digits.as_bytes().get(before)))
            && is_digit(digits.as_bytes().get(place + 1))
    };
    digits
        .match_indices('_')
        .all(|(place, _)| is_between(place))
        .then(|| digits.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::{seconds, whole};

    #[test]
    fn whole_numbers_have_a_base() {
        for (written, number) in [
            ("100", 100),
            ("0", 0),
            ("0x10", 16),
            ("0X_10", 16),
            ("017", 15),
            ("0o17", 15),
            ("0b11", 3),
            ("1_000", 1000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(whole(written), Ok(number), "{written}");
        }
        for wrong in [
            "",
            "-1",
            "+5",
            "5.0",
            "5s",
            "08",
            "0x",
            "1__0",
            "_1",
            "1_",
            "18446744073709551616",
            "\u{661}",
        ] {
            assert!(whole(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_decimal_or_hexadecimal() {
        for (written, number) in [
            ("0.5", 0.5),
            ("-1", -1.0),
            ("+.5", 0.5),
            ("1e1", 10.0),
            ("1_0", 10.0),
            ("0x1p-2", 0.25),
            ("-0x1.8p3", -12.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(seconds(written), Ok(number), "{written}");
        }
        for wrong in [
            "",
            "nan",
            "1e400",
            "x",
            "5s",
            "0x1",
            "0xp1",
            "+-1",
            "1_.0",
            "--1",
            "0x1p99999",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
