//! Formats durations for people.

use std::time::Duration;

/// A duration in a suitable unit: `670 µs`, `1.28 ms`, `15 ms`, `2.10 s`.
#[must_use]
pub fn words(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    // The bounds account for rounding: 999.5 µs and more would become 1000 µs.
    if micros < 999.5 {
        format!("{micros:.0} µs")
    } else if micros < 9_995.0 {
        format!("{:.2} ms", micros / 1e3)
    } else if micros < 999_500.0 {
        format!("{:.0} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

/// Milliseconds with three decimals, for columns.
#[must_use]
pub fn millis(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::words;
    use std::time::Duration;

    #[test]
    fn the_unit_fits_the_size() {
        for (nanos, expected) in [
            (0, "0 µs"),
            (670_400, "670 µs"),
            (999_700, "1.00 ms"),
            (1_284_000, "1.28 ms"),
            (9_996_000, "10 ms"),
            (999_600_000, "1.00 s"),
            (12_345_000_000, "12.35 s"),
        ] {
            assert_eq!(words(Duration::from_nanos(nanos)), expected);
        }
    }
}
