//! A classic histogram of durations.

use crate::metrics::{Buckets, Value};
use std::sync::Arc;
use std::time::Duration;

/// Counts durations, in seconds, between shared bounds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bounds: Arc<[f64]>,
    /// One for each bound, and one beyond the last.
    counts: Box<[u64]>,
    sum: f64,
}

impl Histogram {
    pub fn new(bounds: Arc<[f64]>) -> Self {
        let counts = vec![0; bounds.len() + 1].into();
        Self {
            bounds,
            counts,
            sum: 0.0,
        }
    }

    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[place] += 1;
        self.sum += seconds;
    }

    /// The buckets as the exposition has them: cumulative.
    pub fn value(&self) -> Value {
        let mut below = 0;
        let cumulative = self
            .bounds
            .iter()
            .zip(&self.counts)
            .map(|(bound, count)| {
                below += count;
                (*bound, below)
            })
            .collect();
        Value::Buckets(Buckets {
            cumulative,
            count: self.counts.iter().sum(),
            sum: self.sum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;
    use crate::metrics::Value;
    use std::time::Duration;

    #[test]
    fn a_bound_includes_its_own_value() {
        let mut histogram = Histogram::new([0.1, 1.0].into());
        for millis in [100, 101, 1000, 5000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let Value::Buckets(buckets) = histogram.value() else {
            panic!("a histogram has buckets");
        };
        assert_eq!(buckets.cumulative, [(0.1, 1), (1.0, 3)]);
        assert_eq!(buckets.count, 4);
        assert!((buckets.sum - 6.201).abs() < 1e-9);
    }
}
