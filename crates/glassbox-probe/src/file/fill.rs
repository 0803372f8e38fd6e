//! Fills keys that a module does not set with the defaults.

use super::read::{Claims, ConfiguredBody, Spanned};
use crate::metrics::Level;
use crate::secret::Secret;
use std::collections::BTreeMap;

/// A type whose missing keys can be filled from defaults.
pub trait Fill: Sized {
    /// Returns the value with missing keys taken from `from`.
    #[must_use]
    fn fill(self, from: &Self) -> Self;
}

impl<T: Fill + Clone> Fill for Option<T> {
    fn fill(self, from: &Self) -> Self {
        match (self, from) {
            (Some(own), Some(other)) => Some(own.fill(other)),
            (Some(own), None) => Some(own),
            (None, other) => other.clone(),
        }
    }
}

impl<T: Fill> Fill for Spanned<T> {
    fn fill(self, from: &Self) -> Self {
        Self {
            value: self.value.fill(&from.value),
            location: self.location,
        }
    }
}

/// Implements [`Fill`] for types without keys. The value stays unchanged.
macro_rules! whole {
    ($($type:ty),*) => { $(impl Fill for $type {
        fn fill(self, _: &Self) -> Self {
            self
        }
    })* };
}

whole!(String, bool, i64, f64, Secret, ConfiguredBody, Claims, Level);

impl<T> Fill for Vec<T> {
    fn fill(self, _: &Self) -> Self {
        self
    }
}

impl<T> Fill for BTreeMap<String, T> {
    fn fill(self, _: &Self) -> Self {
        self
    }
}
