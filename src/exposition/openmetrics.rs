//! The `OpenMetrics` text format 1.0, with exemplars that name the evidence.

use super::prometheus_text::whole;
use super::text_escaping::{about, bound, bucket, escaped, number, series};
use glassbox_probe::metrics::{Exemplar, Family, MetricKind, Sample, Value};
use std::io::{self, Write};
use std::time::UNIX_EPOCH;

/// The suffix of a counter's series. The family name omits it.
const TOTAL: &str = "_total";

/// Writes families as `OpenMetrics`. Created timestamps are omitted, because each would be an additional series.
///
/// # Errors
/// When writing to `out` fails.
pub fn write<'a>(families: impl IntoIterator<Item = &'a Family>, out: &mut impl Write) -> io::Result<()> {
    for family in families {
        let (name, kind) = match (family.kind, family.name.strip_suffix(TOTAL)) {
            (MetricKind::Counter, Some(name)) => (name, MetricKind::Counter.as_str()),
            // `OpenMetrics` requires the suffix for counters.
            (MetricKind::Counter, None) => (family.name.as_ref(), "unknown"),
            (kind, _) => (family.name.as_ref(), kind.as_str()),
        };
        about(out, "TYPE", name, kind)?;
        about(out, "HELP", name, &escaped(&family.help, true))?;
        for sample in &family.samples {
            write_sample(&family.name, sample, out)?;
        }
    }
    out.write_all(b"# EOF\n")
}

fn write_sample(name: &str, sample: &Sample, out: &mut impl Write) -> io::Result<()> {
    let line = |out: &mut _, suffix: &str, value: f64, exemplar: Option<&Exemplar>| {
        series(out, name, suffix, &sample.labels)?;
        end_line(out, value, exemplar)
    };
    let histogram = match &sample.value {
        Value::Number(value) => return line(out, "", *value, None),
        Value::Count(count) => return line(out, "", count.total, count.exemplar.as_ref()),
        Value::Histogram(histogram) => histogram,
    };
    let start = bucket(name, &sample.labels)?;
    for bucket in &histogram.buckets {
        out.write_all(&start)?;
        out.write_all(bound(bucket.bound).as_bytes())?;
        out.write_all(b"\"} ")?;
        end_line(out, whole(bucket.cumulative), bucket.exemplar.as_ref())?;
    }
    line(out, "_sum", histogram.sum, None)?;
    line(out, "_count", whole(histogram.count), None)
}

fn end_line(out: &mut impl Write, value: f64, exemplar: Option<&Exemplar>) -> io::Result<()> {
    number(out, value)?;
    if let Some(exemplar) = exemplar {
        write_exemplar(exemplar, out)?;
    }
    out.write_all(b"\n")
}

fn write_exemplar(exemplar: &Exemplar, out: &mut impl Write) -> io::Result<()> {
    write!(out, " # {{evidence_id=\"{}\"}} ", exemplar.evidence)?;
    number(out, exemplar.value)?;
    let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(out, " {}.{:03}", at.as_secs(), at.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::write;
    use glassbox_probe::evidence_id::EvidenceId;
    use glassbox_probe::metrics::{Bucket, Count, Exemplar, Family, Histogram, MetricKind, Sample, Value};
    use std::time::{Duration, SystemTime};

    fn exemplar(value: f64) -> Exemplar {
        Exemplar {
            evidence: EvidenceId { process: 1, number: 2 },
            value,
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        }
    }

    fn family(name: &'static str, kind: MetricKind, value: Value) -> Family {
        Family {
            name: name.into(),
            help: "A \"help\".".into(),
            kind,
            rank: None,
            samples: vec![Sample {
                labels: vec![("link".into(), "dns".into())],
                value,
            }],
        }
    }

    #[test]
    fn counters_lose_their_suffix_in_the_head_and_exemplars_name_the_evidence() {
        let count = Value::Count(Count {
            total: 3.0,
            created: SystemTime::UNIX_EPOCH,
            exemplar: Some(exemplar(1.0)),
        });
        let bucket = |bound, cumulative, exemplar| Bucket {
            bound,
            cumulative,
            exemplar,
        };
        let histogram = Value::Histogram(Histogram {
            buckets: vec![bucket(1.0, 1, Some(exemplar(0.25))), bucket(f64::INFINITY, 1, None)],
            count: 1,
            sum: 0.25,
            native: None,
        });
        let mut out = Vec::new();
        let families = [
            family("x_total", MetricKind::Counter, count),
            family("y_seconds", MetricKind::Histogram, histogram),
            family("odd", MetricKind::Counter, Value::Number(1.0)),
        ];
        write(&families, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "# TYPE x counter\n\
             # HELP x A \\\"help\\\".\n\
             x_total{link=\"dns\"} 3 # {evidence_id=\"0000000100000002\"} 1 1700000000.250\n\
             # TYPE y_seconds histogram\n\
             # HELP y_seconds A \\\"help\\\".\n\
             y_seconds_bucket{link=\"dns\",le=\"1.0\"} 1 # {evidence_id=\"0000000100000002\"} 0.25 1700000000.250\n\
             y_seconds_bucket{link=\"dns\",le=\"+Inf\"} 1\n\
             y_seconds_sum{link=\"dns\"} 0.25\n\
             y_seconds_count{link=\"dns\"} 1\n\
             # TYPE odd unknown\n\
             # HELP odd A \\\"help\\\".\n\
             odd{link=\"dns\"} 1\n\
             # EOF\n"
        );
    }
}
