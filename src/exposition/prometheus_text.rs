//! The Prometheus text format 0.0.4.

use super::text_escaping::{about, bound, bucket, escaped, integer, number, series};
use glassbox_probe::metrics::{Family, METRICS, Metric, MetricKind, Sample, Value};
use std::io::{self, Write};
use std::sync::LazyLock;

/// Writes families as text. Any label value gives a valid exposition.
///
/// # Errors
/// When writing to `out` fails.
pub fn write<'a>(families: impl IntoIterator<Item = &'a Family>, out: &mut impl Write) -> io::Result<()> {
    for family in families {
        let name = &family.name;
        if let Some(heading) = family.rank.and_then(|rank| HEADINGS.get(rank)) {
            out.write_all(heading.as_bytes())?;
        } else {
            write_heading(name, &family.help, family.kind, out)?;
        }
        for sample in &family.samples {
            write_sample(name, sample, out)?;
        }
    }
    Ok(())
}

fn write_heading(name: &str, help: &str, kind: MetricKind, out: &mut impl Write) -> io::Result<()> {
    about(out, "HELP", name, &escaped(help, false))?;
    about(out, "TYPE", name, kind.as_str())
}

/// The headings of the metrics that a probe can export, by name. A page has about forty of them, and they never change.
static HEADINGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let heading = |metric: &Metric| {
        let mut text = Vec::new();
        // Writing to a vector cannot fail, and the output is UTF-8.
        let _ = write_heading(metric.name, metric.help, metric.kind, &mut text);
        String::from_utf8(text).unwrap_or_default()
    };
    let mut metrics = METRICS.to_vec();
    metrics.sort_by_key(|metric| metric.rank);
    metrics.into_iter().map(heading).collect()
});

/// Renders the families as text.
#[must_use]
pub fn to_string<'a>(families: impl IntoIterator<Item = &'a Family>) -> String {
    let mut out = Vec::new();
    // Writing to a vector cannot fail, and the output is UTF-8.
    let _ = write(families, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn write_sample(name: &str, sample: &Sample, out: &mut impl Write) -> io::Result<()> {
    let histogram = match &sample.value {
        Value::Number(value) => return line(out, name, "", sample, *value),
        Value::Count(count) => return line(out, name, "", sample, count.total),
        Value::Histogram(histogram) => histogram,
    };
    let start = bucket(name, &sample.labels)?;
    for bucket in &histogram.buckets {
        out.write_all(&start)?;
        out.write_all(bound(bucket.bound).as_bytes())?;
        out.write_all(b"\"} ")?;
        integer(out, bucket.cumulative)?;
        out.write_all(b"\n")?;
    }
    line(out, name, "_sum", sample, histogram.sum)?;
    series(out, name, "_count", &sample.labels)?;
    integer(out, histogram.count)?;
    out.write_all(b"\n")
}

fn line(out: &mut impl Write, name: &str, suffix: &str, sample: &Sample, value: f64) -> io::Result<()> {
    series(out, name, suffix, &sample.labels)?;
    number(out, value)?;
    out.write_all(b"\n")
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the format's numbers are floats; counts stay below 2^53"
)]
pub(super) const fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::to_string;
    use glassbox_probe::metrics::{
        Bucket, Family, Histogram, Level, MetricKind, MetricPage, Sample, TLS_CIPHER_INFO, Value,
    };
    use proptest::prelude::*;

    fn family(samples: Vec<Sample>, kind: MetricKind) -> Family {
        Family {
            name: "x_seconds".into(),
            help: "Help with \\ and\nnewline".into(),
            kind,
            rank: None,
            samples,
        }
    }

    fn bucket((bound, cumulative): (f64, u64)) -> Bucket {
        Bucket {
            bound,
            cumulative,
            exemplar: None,
        }
    }

    #[test]
    fn a_histogram_prints_bounds_that_prometheus_3_keeps() {
        let text = to_string(&[family(
            vec![Sample {
                labels: vec![("phase".into(), "tls".into())],
                value: Value::Histogram(Histogram {
                    buckets: [(0.001, 0), (1.0, 2), (10.0, 2), (f64::INFINITY, 3)].map(bucket).into(),
                    count: 3,
                    sum: 11.5,
                    native: None,
                }),
            }],
            MetricKind::Histogram,
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
            (0.000_000_012, "x_seconds 1.2e-8\n"),
        ] {
            let written = to_string(&[family(
                vec![Sample {
                    labels: vec![],
                    value: Value::Number(value),
                }],
                MetricKind::Gauge,
            )]);
            assert!(written.ends_with(text), "{written}");
        }
    }

    /// The end of an info series.
    const QUOTED_ONE: &str = "\"} 1\n";

    proptest! {
        #[test]
        fn any_label_value_keeps_the_line_whole(value in "(?s).*") {
            let mut page = MetricPage::new(Level::Full);
            page.push(&TLS_CIPHER_INFO, [("cipher", value.into())], Value::Number(1.0));
            let text = to_string(&page.sorted());
            prop_assert_eq!(text.matches('\n').count(), 3);
            prop_assert!(text.ends_with(QUOTED_ONE));
        }
    }
}
