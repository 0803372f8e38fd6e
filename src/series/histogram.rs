//! A histogram of durations: classic buckets, and the same observations in native ones.

mod native;

use crate::metrics::{self, Bucket, Exemplar};
use native::Sparse;
use std::sync::Arc;
use std::time::SystemTime;

/// Counts durations, in seconds, between shared bounds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bounds: Arc<[f64]>,
    /// One for each bound, and one beyond the last.
    counts: Box<[u64]>,
    sum: f64,
    native: Sparse,
    /// The last observation of a bucket, by its place: most buckets have none.
    exemplars: Vec<(usize, Exemplar)>,
    created: SystemTime,
}

impl Histogram {
    pub fn new(bounds: Arc<[f64]>, created: SystemTime) -> Self {
        let counts = vec![0; bounds.len() + 1].into();
        Self {
            bounds,
            counts,
            sum: 0.0,
            native: Sparse::default(),
            exemplars: Vec::new(),
            created,
        }
    }

    /// See [`Sparse::quantile`], in seconds.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.native.quantile(share)
    }

    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Takes in what `probe` measured: an exemplar whose value is filled in here.
    pub fn observe(&mut self, seconds: f64, probe: Exemplar) {
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[place] += 1;
        self.sum += seconds;
        self.native.observe(seconds);
        let exemplar = Exemplar {
            value: seconds,
            ..probe
        };
        if let Some((_, last)) = self.exemplars.iter_mut().find(|(known, _)| *known == place) {
            *last = exemplar;
        } else {
            // There are many histograms, and few have many.
            self.exemplars.reserve_exact(1);
            self.exemplars.push((place, exemplar));
        }
    }

    /// The histogram as the exposition has it: classic buckets are cumulative.
    pub fn value(&self) -> metrics::Value {
        let mut cumulative = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.counts).enumerate().map(|(place, (bound, count))| {
            cumulative += count;
            let own = self.exemplars.iter().find(|(known, _)| *known == place);
            Bucket {
                bound,
                cumulative,
                exemplar: own.map(|(_, exemplar)| *exemplar),
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
    use super::Histogram;
    use crate::evidence_id::EvidenceId;
    use crate::metrics::{Exemplar, Value};
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
        let mut histogram = Histogram::new([0.1, 1.0].into(), SystemTime::UNIX_EPOCH);
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
