//! The result of an examination.

use std::ops::Range;

/// One feature of a response: a deviation from the specification, or a valid feature that some gateways reject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its row in `tolerance.txt`, which has the RFC section and a description. A deviation that was not measured has a
    /// row of its own that the file does not contain.
    pub row: &'static str,
    /// The bytes that show it.
    pub at: Range<usize>,
}

/// Size of a part of the response. The rows are the thresholds of `tolerance.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its row among the thresholds.
    pub row: &'static str,
    /// In the unit of the row: bytes, lines, responses or digits.
    pub value: usize,
}

/// The features and sizes of one response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    features: Vec<Feature>,
    sizes: Vec<Size>,
}

impl Features {
    /// The features, in the order of their bytes. Each row appears once.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The largest size of each part that the response has.
    #[must_use]
    pub fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// Whether the response has this feature.
    #[must_use]
    pub fn has(&self, row: &str) -> bool {
        self.features.iter().any(|feature| feature.row == row)
    }

    pub(super) fn add(&mut self, row: &'static str, at: Range<usize>) {
        if !self.has(row) {
            self.features.push(Feature { row, at });
        }
    }

    /// Adds a feature if a row applies.
    pub(super) fn add_any(&mut self, row: Option<&'static str>, at: &Range<usize>) {
        if let Some(row) = row {
            self.add(row, at.clone());
        }
    }

    pub(super) fn measure(&mut self, row: &'static str, value: usize) {
        match self.sizes.iter_mut().find(|size| size.row == row) {
            Some(size) => size.value = size.value.max(value),
            None => self.sizes.push(Size { row, value }),
        }
    }

    pub(super) fn sort(&mut self) {
        self.features.sort_by_key(|feature| feature.at.start);
    }
}
