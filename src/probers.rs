//! What can be probed: the trait, the table of probers, and a module ready to run.

pub mod gauges;
pub mod http;

use crate::chain::Stage;
use crate::check::{Check, Stopped};
use crate::metrics::{Level, Page};
use crate::report::Report;
use crate::target::Target;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A row of the table of probers.
#[derive(Debug)]
pub struct ProberRow {
    /// The value of the key `prober`.
    pub name: &'static str,
    /// What it does, for messages.
    pub about: &'static str,
}

/// Every prober that this build has.
pub const PROBERS: &[ProberRow] = &[ProberRow {
    name: "http",
    about: "an HTTP or HTTPS request",
}];

/// What one probe aims at.
#[derive(Clone, Debug)]
pub struct Aim {
    /// The target, as the caller wrote it.
    pub target: Target,
    /// The caller's `hostname`: a virtual host instead of the target's own name.
    pub hostname: Option<String>,
}

/// The series of a key that exist from its first scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The stages that a good probe passes.
    pub stages: Vec<Stage>,
    /// The status codes that are counted from 0; none for probers without status codes.
    pub codes: Vec<u16>,
}

/// A future of a prober.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Result<(), Stopped>> + Send + 'a>>;

/// One way to probe, with its running settings inside.
pub trait Prober: Send + Sync + fmt::Debug {
    /// Runs the sentence.
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim) -> Probing<'a>;

    /// Writes the peer's gauges for a report. Gives the time that the exported phases hold.
    fn gauges(&self, report: &Report, page: &mut Page) -> Duration;

    /// The series that a key of this module has from its first scrape.
    fn shape(&self, target: &Target) -> Shape;

    /// What is wrong with an aim before anything is dialled, in the peer's words.
    ///
    /// # Errors
    /// When the caller's parameters contradict the module.
    fn accept(&self, aim: &Aim) -> Result<(), String>;
}

/// A module ready to run.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name in the configuration.
    pub name: String,
    /// Its upper bound on a probe.
    pub timeout: Option<Duration>,
    /// How much it exports.
    pub metrics: Level,
    /// The bounds of its histograms; `None` for the defaults.
    pub buckets: Option<Arc<[f64]>>,
    /// The prober and its settings.
    pub prober: Arc<dyn Prober>,
}
