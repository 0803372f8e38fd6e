//! Native histogram buckets: the ratio of two consecutive bounds is fixed, and only non-empty buckets are stored.

use glassbox_probe::metrics::NativeBuckets;

/// The finest schema: eight buckets for each power of two, so that a bucket is 9% wide.
const SCHEMA: i32 = 3;

/// Maximum number of buckets of one histogram. If it is exceeded, buckets are merged in pairs.
const MOST_BUCKETS: usize = 160;

/// Number of buckets that are allocated at a time. A steady target has about ten.
const STEP: usize = 6;

/// The counts of the non-empty buckets.
#[derive(Clone, Debug)]
pub(super) struct NativeHistogram {
    schema: i32,
    zeros: u64,
    /// Index and count, by ascending index. An index is within ±1100 × 8. One probe per second fills a count in 136
    /// years.
    buckets: Vec<(i16, u32)>,
}

impl Default for NativeHistogram {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            zeros: 0,
            buckets: Vec::new(),
        }
    }
}

impl NativeHistogram {
    /// Counts a non-negative value.
    pub fn observe(&mut self, value: f64) {
        if value <= NativeBuckets::ZERO_THRESHOLD {
            self.zeros += 1;
            return;
        }
        let index = index(value, self.schema);
        match self.buckets.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(place) => self.buckets[place].1 = self.buckets[place].1.saturating_add(1),
            Err(place) => {
                // There are many histograms, and most of them use few buckets.
                if self.buckets.len() == self.buckets.capacity() {
                    self.buckets.reserve_exact(STEP);
                }
                self.buckets.insert(place, (index, 1));
                if self.buckets.len() > MOST_BUCKETS {
                    self.merge_pairs();
                }
            }
        }
    }

    /// Doubles the width of each bucket. The counts are preserved.
    fn merge_pairs(&mut self) {
        self.schema -= 1;
        let mut merged: Vec<(i16, u32)> = Vec::with_capacity(MOST_BUCKETS);
        for (index, count) in self.buckets.drain(..) {
            // Buckets 2i-1 and 2i become bucket i.
            let index = (index + 1) >> 1;
            match merged.last_mut() {
                Some((last, sum)) if *last == index => *sum = sum.saturating_add(count),
                _ => merged.push((index, count)),
            }
        }
        self.buckets = merged;
    }

    /// The given quantile of all observations, with the precision of a bucket. None without observations.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.zeros + self.buckets.iter().map(|bucket| u64::from(bucket.1)).sum::<u64>();
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let rank = share * all as f64;
        let mut below = self.zeros;
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let reaches = |below: u64| below > 0 && below as f64 >= rank;
        if reaches(below) {
            return Some(0.0);
        }
        for (index, count) in &self.buckets {
            below += u64::from(*count);
            if reaches(below) {
                // The geometric mean of the bucket's bounds.
                return Some(((f64::from(*index) - 0.5) * f64::from(-self.schema).exp2()).exp2());
            }
        }
        None
    }

    pub fn value(&self) -> NativeBuckets {
        NativeBuckets {
            schema: self.schema,
            zeros: self.zeros,
            buckets: (self.buckets.iter())
                .map(|(index, count)| (i32::from(*index), u64::from(*count)))
                .collect(),
        }
    }
}

/// The bucket of a value. Its upper bound, 2^(index·2^-schema), is inclusive.
fn index(value: f64, schema: i32) -> i16 {
    let width = f64::from(-schema).exp2();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the logarithm of a finite number is within ±1100, multiplied by up to 8"
    )]
    let guess = (value.log2() / width).ceil() as i16;
    let upper = |index: i16| (f64::from(index) * width).exp2();
    // The logarithm is rounded, so the result for a value on a bound may be one bucket off.
    if value > upper(guess) {
        guess + 1
    } else if value <= upper(guess - 1) {
        guess - 1
    } else {
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_BUCKETS, NativeHistogram, index};
    use proptest::prelude::*;

    #[test]
    fn bounds_belong_to_the_bucket_below_them() {
        // The indices of the Prometheus Go library for schema 3.
        for (value, expected) in [
            (1.0, 0),
            (1.000_001, 1),
            (2.0, 8),
            (0.5, -8),
            (0.050, -34),
            (10.0, 27),
            (1e-9, -239),
        ] {
            assert_eq!(index(value, 3), expected, "{value}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values_to_a_bucket() {
        let mut sparse = NativeHistogram::default();
        assert_eq!(sparse.quantile(0.5), None);
        for millis in 1..=1000 {
            sparse.observe(f64::from(millis) / 1000.0);
        }
        for (share, exact) in [(0.5, 0.5), (0.95, 0.95)] {
            let found = sparse.quantile(share).unwrap();
            assert!((found / exact - 1.0).abs() < 0.09, "{share}: {found}");
        }
    }

    #[test]
    fn what_took_no_time_counts_too() {
        let mut sparse = NativeHistogram::default();
        (0..99).for_each(|_| sparse.observe(0.0));
        assert_eq!(sparse.quantile(0.5), Some(0.0));
        sparse.observe(1.0);
        assert_eq!(sparse.quantile(0.5), Some(0.0));
        assert!(sparse.quantile(1.0).unwrap() > 0.9);
    }

    #[test]
    fn values_near_zero_have_a_bucket_of_their_own() {
        let mut sparse = NativeHistogram::default();
        sparse.observe(0.0);
        sparse.observe(f64::MIN_POSITIVE);
        assert_eq!((sparse.zeros, sparse.buckets.len()), (2, 0));
    }

    proptest! {
        #[test]
        fn a_value_is_within_its_bucket(value in 1e-9..1e4_f64, schema in -4..=8) {
            let at = index(value, schema);
            let upper = |index: i16| (f64::from(index) * f64::from(-schema).exp2()).exp2();
            prop_assert!(value <= upper(at) && value > upper(at - 1));
        }

        #[test]
        fn nothing_is_lost_where_buckets_are_merged(exponents in prop::collection::vec(-60.0..13.0_f64, 1..2000)) {
            let mut sparse = NativeHistogram::default();
            for exponent in &exponents {
                sparse.observe(exponent.exp2());
            }
            let value = sparse.value();
            prop_assert!(value.buckets.len() <= MOST_BUCKETS);
            prop_assert!(value.buckets.is_sorted_by(|one, other| one.0 < other.0));
            prop_assert_eq!(value.buckets.iter().map(|bucket| bucket.1).sum::<u64>(), exponents.len() as u64);
            for exponent in &exponents {
                let at = i32::from(index(exponent.exp2(), value.schema));
                prop_assert!(value.buckets.iter().any(|bucket| bucket.0 == at), "{} at {}", exponent, at);
            }
        }
    }
}
