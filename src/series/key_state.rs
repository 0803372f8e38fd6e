//! The state of one key: its histograms and counters, and the facts of its last probes.

use super::Series;
use crate::target_state::TargetState;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// A key's state that is kept between probes.
#[derive(Debug)]
pub struct KeyState {
    series: Mutex<Series>,
    target_state: Mutex<TargetState>,
}

impl KeyState {
    pub(super) fn new(series: Series, target_state: TargetState) -> Arc<Self> {
        Arc::new(Self {
            series: Mutex::new(series),
            target_state: Mutex::new(target_state),
        })
    }

    /// The histograms and counters. They increase step by step, so they stay usable after a panic.
    pub fn series(&self) -> MutexGuard<'_, Series> {
        self.series.lock()
    }

    /// The state remembered between probes. It also stays usable after a panic.
    pub fn target_state(&self) -> MutexGuard<'_, TargetState> {
        self.target_state.lock()
    }
}
