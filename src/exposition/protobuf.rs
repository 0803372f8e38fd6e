//! The protobuf format: delimited `io.prometheus.client.MetricFamily`, with native histograms in addition to
//! the classic buckets.
//!
//! The messages of the `prometheus` crate date from 2013. Newer fields are written as unknown fields, with the
//! numbers of `metrics.proto` in `prometheus/client_model`. The wire format contains only these numbers.

use glassbox_probe::metrics::{self, Bucket, Count, Exemplar, Family, MetricKind, NativeBuckets, Value};
use prometheus::Encoder as _;
use prometheus::proto;
use protobuf::well_known_types::timestamp::Timestamp;
use protobuf::{CodedOutputStream, Message, MessageField};
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers of the fields that the old messages lack.
mod field {
    pub const COUNTER_EXEMPLAR: u32 = 2;
    pub const COUNTER_CREATED: u32 = 3;
    pub const BUCKET_EXEMPLAR: u32 = 3;
    pub const SCHEMA: u32 = 5;
    pub const ZERO_THRESHOLD: u32 = 6;
    pub const ZERO_COUNT: u32 = 7;
    pub const POSITIVE_SPAN: u32 = 12;
    pub const POSITIVE_DELTA: u32 = 13;
    pub const HISTOGRAM_CREATED: u32 = 15;
}

/// Writes families as delimited messages.
///
/// # Errors
/// When writing to `out` fails.
pub fn write<'a>(families: impl IntoIterator<Item = &'a Family>, out: &mut impl Write) -> io::Result<()> {
    let encoder = prometheus::ProtobufEncoder::new();
    let with_samples = families.into_iter().filter(|family| !family.samples.is_empty());
    for family in with_samples {
        encoder
            .encode(&[message_of(family)], out)
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(())
}

fn message_of(family: &Family) -> proto::MetricFamily {
    let mut message = proto::MetricFamily::new();
    message.set_name(family.name.to_string());
    message.set_help(family.help.to_string());
    message.set_type(match family.kind {
        MetricKind::Gauge => proto::MetricType::GAUGE,
        MetricKind::Counter => proto::MetricType::COUNTER,
        MetricKind::Histogram => proto::MetricType::HISTOGRAM,
    });
    message.metric = family
        .samples
        .iter()
        .map(|sample| {
            let mut metric = proto::Metric::new();
            metric.label = sample.labels.iter().map(|(name, value)| pair(name, value)).collect();
            match &sample.value {
                Value::Number(value) if family.kind == MetricKind::Counter => {
                    metric.counter = MessageField::some(number(*value));
                }
                Value::Number(value) => {
                    let mut gauge = proto::Gauge::new();
                    gauge.set_value(*value);
                    metric.gauge = MessageField::some(gauge);
                }
                Value::Count(count) => metric.counter = MessageField::some(counter(count)),
                Value::Histogram(value) => metric.histogram = MessageField::some(histogram(value)),
            }
            metric
        })
        .collect();
    message
}

fn pair(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::new();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn number(value: f64) -> proto::Counter {
    let mut counter = proto::Counter::new();
    counter.set_value(value);
    counter
}

fn counter(count: &Count) -> proto::Counter {
    let mut counter = number(count.total);
    let later = counter.special_fields.mut_unknown_fields();
    later.add_length_delimited(field::COUNTER_CREATED, timestamp(count.created));
    if let Some(exemplar) = &count.exemplar {
        later.add_length_delimited(field::COUNTER_EXEMPLAR, exemplar_of(exemplar));
    }
    counter
}

fn histogram(value: &metrics::Histogram) -> proto::Histogram {
    let mut histogram = proto::Histogram::new();
    histogram.set_sample_count(value.count);
    histogram.set_sample_sum(value.sum);
    histogram.bucket = value.buckets.iter().map(bucket).collect();
    if let Some((native, created)) = &value.native {
        let later = histogram.special_fields.mut_unknown_fields();
        later.add_varint(field::SCHEMA, zigzag(i64::from(native.schema)));
        // Never 0: this marks a histogram without observations as a native one.
        later.add_fixed64(field::ZERO_THRESHOLD, NativeBuckets::ZERO_THRESHOLD.to_bits());
        later.add_varint(field::ZERO_COUNT, native.zeros);
        later.add_length_delimited(field::HISTOGRAM_CREATED, timestamp(*created));
        let (spans, deltas) = spans_of(native);
        for (offset, length) in spans {
            later.add_length_delimited(field::POSITIVE_SPAN, span(offset, length));
        }
        for delta in deltas {
            later.add_varint(field::POSITIVE_DELTA, zigzag(delta));
        }
    }
    histogram
}

fn bucket(bucket: &Bucket) -> proto::Bucket {
    let mut message = proto::Bucket::new();
    message.set_upper_bound(bucket.bound);
    message.set_cumulative_count(bucket.cumulative);
    if let Some(exemplar) = &bucket.exemplar {
        let later = message.special_fields.mut_unknown_fields();
        later.add_length_delimited(field::BUCKET_EXEMPLAR, exemplar_of(exemplar));
    }
    message
}

/// Spans of adjacent buckets, as gap to the previous span and length. Each count is the difference from the previous
/// one. The first gap starts at 0.
fn spans_of(native: &NativeBuckets) -> (Vec<(i32, u32)>, Vec<i64>) {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut deltas = Vec::with_capacity(native.buckets.len());
    let (mut next, mut last) = (0, 0);
    for &(index, count) in &native.buckets {
        match spans.last_mut() {
            Some((_, length)) if index == next => *length += 1,
            _ => spans.push((index - next, 1)),
        }
        next = index + 1;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        deltas.push(count - last);
        last = count;
    }
    (spans, deltas)
}

/// `BucketSpan`: `sint32 offset = 1; uint32 length = 2`.
fn span(offset: i32, length: u32) -> Vec<u8> {
    encoded(|out| {
        out.write_sint32(1, offset)?;
        out.write_uint32(2, length)
    })
}

/// `Exemplar`: `repeated LabelPair label = 1; double value = 2; Timestamp timestamp = 3`.
fn exemplar_of(exemplar: &Exemplar) -> Vec<u8> {
    encoded(|out| {
        let label = pair("evidence_id", &exemplar.evidence.to_string());
        out.write_message(1, &label)?;
        out.write_double(2, exemplar.value)?;
        out.write_bytes(3, &timestamp(exemplar.at))
    })
}

fn timestamp(at: SystemTime) -> Vec<u8> {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    encoded(|out| {
        let mut message = Timestamp::new();
        message.seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        message.nanos = i32::try_from(since.subsec_nanos()).unwrap_or_default();
        message.write_to(out)
    })
}

/// Encodes into memory, which cannot fail.
fn encoded(write: impl FnOnce(&mut CodedOutputStream) -> protobuf::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = CodedOutputStream::vec(&mut bytes);
    let written = write(&mut out).and_then(|()| out.flush());
    drop(out);
    debug_assert!(written.is_ok(), "{written:?}");
    bytes
}

/// Zigzag encoding: small signed numbers become small unsigned numbers.
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::{spans_of, zigzag};
    use glassbox_probe::metrics::NativeBuckets;

    #[test]
    fn neighbours_share_a_span_and_counts_are_differences() {
        let native = NativeBuckets {
            schema: 3,
            zeros: 0,
            buckets: vec![(-34, 2), (-33, 5), (-30, 1), (4, 1)],
        };
        let (spans, deltas) = spans_of(&native);
        assert_eq!(spans, [(-34, 2), (2, 1), (33, 1)]);
        assert_eq!(deltas, [2, 3, -4, 0]);
    }

    #[test]
    fn zigzag_is_that_of_the_format() {
        assert_eq!([0, -1, 1, -2, i64::MIN].map(zigzag), [0, 1, 2, 3, u64::MAX]);
    }
}
