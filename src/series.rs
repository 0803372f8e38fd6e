//! A key's state that is kept between probes: its histograms and counters.

mod counters;
mod histogram;
mod key;
mod key_state;
mod observation;
mod probation;
mod table;

pub use key::SeriesKey;
pub use key_state::KeyState;
pub use table::{SeriesTable, TableStats};

use counters::KeyCounters;
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::metrics::{Level, MetricPage};
use glassbox_probe::probe::Finding;
use glassbox_probe::probers::Module;
use glassbox_probe::target::Target;
use glassbox_verdict::chain::Stage;
use observation::Observation;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

/// The bucket bounds of a phase, in seconds. They never change: a change would break every recording rule.
pub const PHASE_BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The bucket bounds of a whole probe, and of every phase at the level `full`, in seconds.
pub const LONG_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

static PHASE_BOUNDS: LazyLock<Arc<[f64]>> = LazyLock::new(|| Arc::new(PHASE_BUCKETS));
static LONG_BOUNDS: LazyLock<Arc<[f64]>> = LazyLock::new(|| Arc::new(LONG_BUCKETS));

/// The histograms and counters of one key.
#[derive(Clone, Debug)]
pub struct Series {
    layout: Arc<SeriesLayout>,
    /// Time at which counting started.
    created: SystemTime,
    taken: LayoutState,
}

/// The observations of a key. A key that is requested once takes a fifth of the memory of a key with counters.
#[derive(Clone, Debug)]
enum LayoutState {
    /// No probe, or one observation.
    Seen(Option<Box<Observation>>),
    Counted(Box<KeyCounters>),
}

/// The layout of a key's counts, which is the same for all keys of a module and a scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesLayout {
    level: Level,
    phase_bounds: Arc<[f64]>,
    success_bounds: Arc<[f64]>,
    /// The stages of a successful probe.
    stages: Box<[Stage]>,
    /// The status codes that are counted from 0, in ascending order. None for probers without status codes.
    codes: Box<[u16]>,
}

impl Series {
    /// The series of a new key, all at 0, because Prometheus would not count the first increase of a counter that was
    /// absent.
    #[must_use]
    pub const fn new(layout: Arc<SeriesLayout>, created: SystemTime) -> Self {
        Self {
            layout,
            created,
            taken: LayoutState::Seen(None),
        }
    }

    /// Adapts the series to its module after a reload: newly counted items start at 0, changed bucket bounds reset
    /// the histograms, and counters never decrease.
    pub fn fit(&mut self, layout: Arc<SeriesLayout>, now: SystemTime) {
        if layout != self.layout {
            self.counts_to_change().fit(&layout, now);
            self.layout = layout;
        }
    }

    /// A copy of the series while it is small, that is, while it holds no more than one probe.
    fn while_small(&self) -> Option<Self> {
        matches!(self.taken, LayoutState::Seen(_)).then(|| self.clone())
    }

    /// Adds the observations of a finding, with its evidence id.
    pub fn observe(&mut self, finding: &Finding, evidence: EvidenceId) {
        let observation = Observation::of(finding, evidence, self.layout.level);
        if let LayoutState::Seen(seen @ None) = &mut self.taken {
            *seen = Some(Box::new(observation));
        } else {
            self.counts_to_change().take_in(&observation);
        }
    }

    /// The number of probes and the number of successful probes.
    #[must_use]
    pub fn attempts(&self) -> (u64, u64) {
        self.counts().attempts()
    }

    /// The name, median and 95th percentile (in seconds) of each observed phase, in the order of the stages.
    #[must_use]
    pub fn phases(&self) -> Vec<(&'static str, f64, f64)> {
        self.counts().phases()
    }

    /// Writes the histograms and counters.
    pub fn write(&self, page: &mut MetricPage) {
        self.counts().write(page);
    }

    fn counts(&self) -> Cow<'_, KeyCounters> {
        match &self.taken {
            LayoutState::Counted(counts) => Cow::Borrowed(counts),
            LayoutState::Seen(seen) => Cow::Owned(KeyCounters::of(&self.layout, self.created, seen.as_deref())),
        }
    }

    fn counts_to_change(&mut self) -> &mut KeyCounters {
        if let LayoutState::Seen(seen) = &self.taken {
            let counts = KeyCounters::of(&self.layout, self.created, seen.as_deref());
            self.taken = LayoutState::Counted(Box::new(counts));
        }
        match &mut self.taken {
            LayoutState::Counted(counts) => counts,
            LayoutState::Seen(_) => unreachable!("it was just counted"),
        }
    }
}

impl SeriesLayout {
    /// The layout of a module's keys.
    #[must_use]
    pub fn of(module: &Module, target: &Target) -> Self {
        let initial_series = module.prober.initial_series(target);
        let (phase_bounds, success_bounds) = bounds(module);
        Self {
            level: module.metrics,
            phase_bounds,
            success_bounds,
            stages: initial_series.stages.into(),
            codes: initial_series.codes.into(),
        }
    }
}

/// The phase of a stage. Below the level `full`, sending the request belongs to `processing`, as in
/// `blackbox_exporter`, so that the phases add up.
const fn phase_name(stage: Stage, level: Level) -> &'static str {
    match (stage, level) {
        (Stage::Send, Level::Blackbox | Level::Standard) => Stage::Wait.phase(),
        (stage, _) => stage.phase(),
    }
}

fn bounds(module: &Module) -> (Arc<[f64]>, Arc<[f64]>) {
    match (&module.buckets, module.metrics) {
        (Some(own), _) => (own.clone(), own.clone()),
        (None, Level::Full) => (LONG_BOUNDS.clone(), LONG_BOUNDS.clone()),
        (None, _) => (PHASE_BOUNDS.clone(), LONG_BOUNDS.clone()),
    }
}
