//! The Prometheus text format 0.0.4.

use crate::metrics::{Family, Label, Value};
use std::fmt::Write as _;

/// The `Content-Type` of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes families as text. Any label value gives a valid exposition.
#[must_use]
pub fn write(families: &[Family]) -> String {
    let mut out = String::with_capacity(families.len() * 160);
    for family in families {
        line(&mut out, &["# HELP ", &family.name, " ", &escaped(&family.help, false)]);
        line(&mut out, &["# TYPE ", &family.name, " ", family.kind.as_str()]);
        for sample in &family.samples {
            match &sample.value {
                Value::Number(value) => {
                    series(&mut out, &family.name, "", &sample.labels, None, *value);
                }
                Value::Buckets(buckets) => {
                    for (bound, count) in &buckets.cumulative {
                        let le = bound_text(*bound);
                        series(
                            &mut out,
                            &family.name,
                            "_bucket",
                            &sample.labels,
                            Some(&le),
                            whole(*count),
                        );
                    }
                    series(
                        &mut out,
                        &family.name,
                        "_bucket",
                        &sample.labels,
                        Some("+Inf"),
                        whole(buckets.count),
                    );
                    series(&mut out, &family.name, "_sum", &sample.labels, None, buckets.sum);
                    series(
                        &mut out,
                        &family.name,
                        "_count",
                        &sample.labels,
                        None,
                        whole(buckets.count),
                    );
                }
            }
        }
    }
    out
}

fn line(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
    out.push('\n');
}

fn series(out: &mut String, name: &str, suffix: &str, labels: &[Label], le: Option<&str>, value: f64) {
    out.push_str(name);
    out.push_str(suffix);
    let all = labels
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
        .chain(le.map(|le| ("le", le)));
    let mut open = '{';
    for (name, value) in all {
        out.push(open);
        line_part(out, name, value);
        open = ',';
    }
    if open == ',' {
        out.push('}');
    }
    out.push(' ');
    number(out, value);
    out.push('\n');
}

fn line_part(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    out.push_str(&escaped(value, true));
    out.push('"');
}

/// Backslash and newline are escaped everywhere, the quote in label values.
fn escaped(text: &str, quotes: bool) -> std::borrow::Cow<'_, str> {
    let special = |c: char| c == '\\' || c == '\n' || (quotes && c == '"');
    if !text.contains(special) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.into()
}

/// A bucket's bound as Prometheus 3 normalises it: `1.0`, never `1`.
fn bound_text(bound: f64) -> String {
    format!("{bound:?}")
}

/// A number as Go's `%g` would be read back: integers without a point, no lower-case `inf`.
fn number(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        write!(out, "{value}").expect("writing to a String cannot fail");
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the format's numbers are floats; counts stay below 2^53"
)]
const fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::metrics::{Buckets, Family, Kind, Level, Page, Sample, TLS_CIPHER_INFO, Value};
    use proptest::prelude::*;

    fn family(samples: Vec<Sample>, kind: Kind) -> Family {
        Family {
            name: "x_seconds".into(),
            help: "Help with \\ and\nnewline".into(),
            kind,
            samples,
        }
    }

    #[test]
    fn a_histogram_prints_bounds_that_prometheus_3_keeps() {
        let text = write(&[family(
            vec![Sample {
                labels: vec![("phase".into(), "tls".into())],
                value: Value::Buckets(Buckets {
                    cumulative: vec![(0.001, 0), (1.0, 2), (10.0, 2)],
                    count: 3,
                    sum: 11.5,
                }),
            }],
            Kind::Histogram,
        )]);
        assert_eq!(
            text,
            "# HELP x_seconds Help with \\\\ and\\nnewline\n\
             # TYPE x_seconds histogram\n\
             x_seconds_bucket{phase=\"tls\",le=\"0.001\"} 0\n\
             x_seconds_bucket{phase=\"tls\",le=\"1.0\"} 2\n\
             x_seconds_bucket{phase=\"tls\",le=\"10.0\"} 2\n\
             x_seconds_bucket{phase=\"tls\",le=\"+Inf\"} 3\n\
             x_seconds_sum{phase=\"tls\"} 11.5\n\
             x_seconds_count{phase=\"tls\"} 3\n"
        );
    }

    #[test]
    fn odd_numbers_are_written_as_the_format_has_them() {
        for (value, text) in [
            (f64::NAN, "x_seconds NaN\n"),
            (f64::INFINITY, "x_seconds +Inf\n"),
            (f64::NEG_INFINITY, "x_seconds -Inf\n"),
            (-62_135_596_800.0, "x_seconds -62135596800\n"),
            (0.000_000_012, "x_seconds 0.000000012\n"),
        ] {
            let written = write(&[family(
                vec![Sample {
                    labels: vec![],
                    value: Value::Number(value),
                }],
                Kind::Gauge,
            )]);
            assert!(written.ends_with(text), "{written}");
        }
    }

    /// The end of an info series.
    const QUOTED_ONE: &str = "\"} 1\n";

    proptest! {
        #[test]
        fn any_label_value_keeps_the_line_whole(value in "(?s).*") {
            let mut page = Page::new(Level::Full);
            page.push(&TLS_CIPHER_INFO, vec![("cipher", value.into())], Value::Number(1.0));
            let text = write(&page.sorted());
            prop_assert_eq!(text.matches('\n').count(), 3);
            prop_assert!(text.ends_with(QUOTED_ONE));
        }
    }
}
