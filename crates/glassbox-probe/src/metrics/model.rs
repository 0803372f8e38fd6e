//! The data model of an exposition: metric families with their samples, independent of the output format.

use super::{Level, Metric, MetricKind};
use crate::evidence_id::EvidenceId;
use std::borrow::Cow;
use std::time::SystemTime;

/// One label of a sample.
pub type Label = (Cow<'static, str>, Cow<'static, str>);

/// One label of a metric in the metric table.
pub type Named = (&'static str, Cow<'static, str>);

/// The value of one series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The value of a gauge, or of a counter without further data.
    Number(f64),
    /// The value of a counter, with its start time and exemplar.
    Count(Count),
    /// The value of a histogram.
    Histogram(Histogram),
}

/// The probe that serves as the exemplar of a bucket or a count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Its evidence: the label `evidence_id`.
    pub evidence: EvidenceId,
    /// The observed value, or 1 for a count.
    pub value: f64,
    /// Time of the observation.
    pub at: SystemTime,
}

/// A counter at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// The counted number.
    pub total: f64,
    /// Time at which counting started.
    pub created: SystemTime,
    /// The last counted probe.
    pub exemplar: Option<Exemplar>,
}

/// A histogram at one moment: classic buckets, and the same observations in native ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The classic buckets. The bound of the last one is `+Inf`.
    pub buckets: Vec<Bucket>,
    /// Number of observations.
    pub count: u64,
    /// Sum of all observations.
    pub sum: f64,
    /// The native buckets and the start of counting. None if there are only classic buckets.
    pub native: Option<(NativeBuckets, SystemTime)>,
}

/// One classic bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The upper bound.
    pub bound: f64,
    /// Number of observations in this bucket and all lower ones.
    pub cumulative: u64,
    /// The last observation in this bucket that is not in a lower one.
    pub exemplar: Option<Exemplar>,
}

/// Native buckets. Each bound is 2^(2^-schema) times the next lower bound. Observations are never negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeBuckets {
    /// The schema, from -4 to 8.
    pub schema: i32,
    /// Number of observations up to [`NativeBuckets::ZERO_THRESHOLD`].
    pub zeros: u64,
    /// Index and count of the non-empty buckets, by ascending index. Bucket i holds values above 2^((i-1)·2^-schema),
    /// up to and including 2^(i·2^-schema).
    pub buckets: Vec<(i32, u64)>,
}

impl NativeBuckets {
    /// The width of the zero bucket: 2^-128, as in the Prometheus libraries.
    pub const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);
}

/// One series of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, sorted by name.
    pub labels: Vec<Label>,
    /// Its value.
    pub value: Value,
}

/// A family: a metric with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name.
    pub name: Cow<'static, str>,
    /// The help text.
    pub help: Cow<'static, str>,
    /// The type.
    pub kind: MetricKind,
    /// Its index in the metric table, ordered by name, if the table contains it.
    pub rank: Option<usize>,
    /// The series.
    pub samples: Vec<Sample>,
}

/// The families of one response, up to a level.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPage {
    level: Level,
    families: Vec<Family>,
}

impl MetricPage {
    /// An empty page for metrics up to `level`.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self {
            level,
            // Enough for most pages.
            families: Vec::with_capacity(24),
        }
    }

    /// The highest level of its metrics.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Adds a sample without labels.
    pub fn set(&mut self, metric: &'static Metric, value: f64) {
        self.push(metric, [], Value::Number(value));
    }

    /// Adds a sample with labels.
    pub fn push(&mut self, metric: &'static Metric, labels: impl IntoIterator<Item = Named>, value: Value) {
        if metric.level <= self.level {
            self.take(metric, sample(metric, labels, value));
        }
    }

    /// Adds all samples of a metric at once. The metric must not have other samples on this page.
    pub fn push_all<L: IntoIterator<Item = Named>>(
        &mut self,
        metric: &'static Metric,
        samples: impl Iterator<Item = (L, Value)>,
    ) {
        if metric.level <= self.level {
            let samples = samples.map(|(labels, value)| sample(metric, labels, value));
            let samples: Vec<_> = samples.collect();
            if !samples.is_empty() {
                self.families.push(metric.family(samples));
            }
        }
    }

    /// Adds a sample with label names from the configuration. `labels` is sorted by name.
    pub fn push_with(&mut self, metric: &'static Metric, labels: Vec<Label>, value: Value) {
        if metric.level <= self.level {
            self.take(metric, Sample { labels, value });
        }
    }

    fn take(&mut self, metric: &'static Metric, sample: Sample) {
        // Samples of one family are usually added one after the other.
        match self
            .families
            .iter_mut()
            .rev()
            .find(|family| family.rank == Some(metric.rank))
        {
            Some(family) => family.samples.push(sample),
            None => self.families.push(metric.family(vec![sample])),
        }
    }

    /// The families of this page and another, ordered by name as in `blackbox_exporter`. No family is on both pages.
    #[must_use]
    pub fn merged_with<'a>(&'a self, other: &'a Self) -> Vec<&'a Family> {
        let mut all: Vec<_> = self.families.iter().chain(&other.families).collect();
        all.sort_unstable_by_key(|family| family.rank);
        all
    }

    /// The families, ordered by name as in `blackbox_exporter`.
    #[must_use]
    pub fn sorted(mut self) -> Vec<Family> {
        self.families.sort_by_key(|family| family.rank);
        self.families
    }
}

fn sample(metric: &'static Metric, labels: impl IntoIterator<Item = Named>, value: Value) -> Sample {
    let labels = labels.into_iter().map(|(name, value)| (Cow::Borrowed(name), value));
    let labels: Vec<Label> = labels.collect();
    debug_assert!(
        labels.iter().map(|label| &*label.0).eq(metric.labels.iter().copied()),
        "{}: {labels:?}",
        metric.name
    );
    Sample { labels, value }
}

impl Value {
    /// Number of series that Prometheus stores after a scrape in the text format.
    #[must_use]
    pub const fn series(&self) -> usize {
        match self {
            Self::Number(_) | Self::Count(_) => 1,
            // Each bucket, the sum, the count.
            Self::Histogram(histogram) => histogram.buckets.len() + 2,
        }
    }
}
