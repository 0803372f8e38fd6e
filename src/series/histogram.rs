//! A histogram of durations, with classic and native buckets for the same observations.

mod native;

use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::metrics::{self, Bucket, Exemplar};
use native::NativeHistogram;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Counts durations in seconds, with shared bucket bounds.
#[derive(Clone, Debug)]
pub(super) struct DurationHistogram {
    bounds: Arc<[f64]>,
    /// One count per bound, and one for values above the last bound.
    counts: Box<[u64]>,
    sum: f64,
    native: NativeHistogram,
    /// The last observation of each bucket.
    lasts: Vec<Last>,
    /// The process that recorded their evidence.
    process: u32,
    created: SystemTime,
}

/// The last observation of a bucket. Its time is in milliseconds since 1970 to save memory.
#[derive(Clone, Copy, Debug)]
struct Last {
    value: f64,
    millis: u64,
    number: u32,
    place: u16,
}

impl DurationHistogram {
    pub fn new(bounds: Arc<[f64]>, created: SystemTime) -> Self {
        let counts = vec![0; bounds.len() + 1].into();
        Self {
            bounds,
            counts,
            sum: 0.0,
            native: NativeHistogram::default(),
            lasts: Vec::new(),
            process: 0,
            created,
        }
    }

    /// See [`NativeHistogram::quantile`], in seconds.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.native.quantile(share)
    }

    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Adds a duration. `probe` becomes the exemplar of the bucket, with the duration as its value.
    pub fn observe(&mut self, seconds: f64, probe: Exemplar) {
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[place] += 1;
        self.sum += seconds;
        self.native.observe(seconds);
        let since = probe.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let last = Last {
            value: seconds,
            millis: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            number: probe.evidence.number,
            place: u16::try_from(place).unwrap_or(u16::MAX),
        };
        self.process = probe.evidence.process;
        if let Some(known) = self.lasts.iter_mut().find(|known| known.place == last.place) {
            *known = last;
        } else {
            // There are many histograms, and most of them use few buckets.
            if self.lasts.len() == self.lasts.capacity() {
                self.lasts.reserve_exact(2);
            }
            self.lasts.push(last);
        }
    }

    fn exemplar(&self, place: usize) -> Option<Exemplar> {
        let last = self.lasts.iter().find(|last| usize::from(last.place) == place)?;
        Some(Exemplar {
            evidence: EvidenceId {
                process: self.process,
                number: last.number,
            },
            value: last.value,
            at: UNIX_EPOCH + Duration::from_millis(last.millis),
        })
    }

    /// The histogram in exposition form: classic buckets are cumulative.
    pub fn value(&self) -> metrics::Value {
        let mut cumulative = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.counts).enumerate().map(|(place, (bound, count))| {
            cumulative += count;
            Bucket {
                bound,
                cumulative,
                exemplar: self.exemplar(place),
            }
        });
        let buckets = buckets.collect();
        metrics::Value::Histogram(metrics::Histogram {
            buckets,
            count: cumulative,
            sum: self.sum,
            native: Some((self.native.value(), self.created)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::DurationHistogram;
    use glassbox_probe::evidence_id::EvidenceId;
    use glassbox_probe::metrics::{Exemplar, Value};
    use std::time::SystemTime;

    fn probe(number: u32) -> Exemplar {
        Exemplar {
            evidence: EvidenceId { process: 1, number },
            value: 0.0,
            at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_bound_includes_its_own_value_and_each_bucket_keeps_its_last_probe() {
        let mut histogram = DurationHistogram::new([0.1, 1.0].into(), SystemTime::UNIX_EPOCH);
        for (number, seconds) in [(1, 0.1), (2, 0.101), (3, 1.0), (4, 5.0)] {
            histogram.observe(seconds, probe(number));
        }
        let Value::Histogram(histogram) = histogram.value() else {
            panic!("a histogram has buckets");
        };
        let buckets: Vec<_> = histogram
            .buckets
            .iter()
            .map(|bucket| (bucket.bound, bucket.cumulative))
            .collect();
        assert_eq!(buckets, [(0.1, 1), (1.0, 3), (f64::INFINITY, 4)]);
        let exemplars = histogram.buckets.iter().map(|bucket| bucket.exemplar.unwrap());
        let exemplars: Vec<_> = exemplars
            .map(|exemplar| (exemplar.evidence.number, exemplar.value))
            .collect();
        assert_eq!(exemplars, [(1, 0.1), (3, 1.0), (4, 5.0)]);
        assert_eq!(histogram.count, 4);
        assert!((histogram.sum - 6.201).abs() < 1e-9);
    }
}
