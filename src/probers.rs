//! What can be probed: the trait, the table of probers, and a module ready to run.

pub mod credentials;
pub mod dns;
mod endpoint;
pub mod fields;
pub mod gauges;
pub mod grpc;
pub mod http;
pub mod icmp;
pub mod named_files;
pub mod proxies;
pub mod script;
pub mod tcp;
pub mod unix;
pub mod websocket;

use crate::backend::Backend;
use crate::chain::Stage;
use crate::check::{Check, ProbeFailed, Resolver};
use crate::metrics::{Level, MetricPage};
use crate::policy::{Origin, TargetAllowlist};
use crate::report::Report;
use crate::target::Target;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
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

/// Firewalls know the peer's User-Agent; ours follows it.
const USER_AGENT_WORDS: &str = concat!("Blackbox-Exporter/0.28.0 glassbox_exporter/", env!("CARGO_PKG_VERSION"));

/// Every prober that this build has.
pub const PROBERS: &[ProberRow] = &[
    ProberRow {
        name: "http",
        about: "an HTTP or HTTPS request",
    },
    ProberRow {
        name: "tcp",
        about: "a TCP connection, TLS, and a dialogue in lines",
    },
    ProberRow {
        name: "unix",
        about: "the same with a socket in the file system",
    },
    ProberRow {
        name: "dns",
        about: "a question to a name server",
    },
    ProberRow {
        name: "icmp",
        about: "an echo request",
    },
    ProberRow {
        name: "grpc",
        about: "a call of the gRPC health service",
    },
    ProberRow {
        name: "websocket",
        about: "a WebSocket, and a dialogue in messages",
    },
];

/// What one probe aims at.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    /// The target, as the caller wrote it.
    pub target: Target,
    /// The caller's `hostname`: a virtual host instead of the target's own name.
    pub hostname: Option<String>,
    /// The caller's backends, inward: instead of the module's.
    pub backends: Vec<Backend>,
}

/// Which way the same request takes.
#[derive(Clone, Copy, Debug)]
pub enum Variant<'a> {
    /// As the caller asked.
    Original,
    /// Straight to a machine behind the edge, with the edge's name.
    Backend(&'a Backend),
    /// To one address of the edge.
    Address(IpAddr),
    /// Past the caches: with a query that nobody asked before.
    CacheBypass(u64),
    /// Over HTTP/1.1, whatever else was agreed on.
    Http1,
    /// What every gateway refuses by itself (RFC 9112 section 5.1: no whitespace in a field name), without anything of
    /// the module in it.
    Refusable,
    /// No request at all: a TLS handshake with the edge, or with a backend.
    Handshake(Option<&'a Backend>),
}

/// The series of a key that exist from its first scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialSeries {
    /// The stages that a good probe passes.
    pub stages: Vec<Stage>,
    /// The status codes that are counted from 0; none for probers without status codes.
    pub codes: Vec<u16>,
}

impl InitialSeries {
    /// These stages, where they are passed, and no status codes.
    fn of(stages: &[(Stage, bool)]) -> Self {
        let passed = stages.iter().filter(|(_, passed)| *passed);
        Self {
            stages: passed.map(|(stage, _)| *stage).collect(),
            codes: Vec::new(),
        }
    }
}

/// A future of a prober.
pub type ProbeFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send + 'a>>;

/// A future of all addresses of a target.
pub type AddressesFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ProbeFailed>> + Send + 'a>>;

/// One way to probe, with its running settings inside.
pub trait Prober: Send + Sync + fmt::Debug {
    /// Runs the sentence.
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a>;

    /// Resolves the target's name to all of its addresses: `addresses: all`.
    fn addresses<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest) -> AddressesFuture<'a>;

    /// Whether a request of this module has fields or credentials that only those get whom the module names.
    fn has_module_fields(&self, requested: &ProbeRequest) -> bool;

    /// The name service that the module uses: the controls ask it too.
    fn resolver(&self) -> &Arc<Resolver>;

    /// Writes the peer's gauges for a report. Gives the time that the exported phases hold.
    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration;

    /// The series that a key of this module has from its first scrape.
    fn initial_series(&self, target: &Target) -> InitialSeries;

    /// The target as credentials see it; none where it is no target of this prober.
    fn origin(&self, requested: &ProbeRequest) -> Option<Origin>;

    /// Whether it asks by the name that a caller gives its target (`hostname`).
    fn asks_by_hostname(&self) -> bool {
        true
    }

    /// Whether it waits for a word in plain text: a port of TLS says nothing before the client does.
    fn reads_plaintext_first(&self) -> bool {
        false
    }

    /// What is wrong with an aim before anything is dialled, in the peer's words.
    ///
    /// # Errors
    /// When the caller's parameters contradict the module.
    fn accept(&self, _: &ProbeRequest) -> Result<(), String> {
        Ok(())
    }
}

/// When something is asked beside the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Never.
    Never,
    /// When the edge fails, or half the deadline is gone.
    #[default]
    OnFailure,
    /// With every probe.
    Always,
    /// On failure, and with every so-many-th probe.
    Every(u32),
}

/// What a module allows to be asked beside the edge.
#[derive(Clone, Debug)]
pub struct DiagnosticsSettings {
    /// The machines behind the edge, inward; those of the caller's URL come instead of these.
    pub backends: Vec<Backend>,
    /// When they are asked.
    pub direct_requests: When,
    /// When the edge is asked past its caches.
    pub bypass: When,
    /// Whether the edge may be asked what every gateway refuses.
    pub reference: bool,
    /// Whether every address of the edge is probed.
    pub all_addresses: bool,
}

impl Default for DiagnosticsSettings {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            direct_requests: When::OnFailure,
            bypass: When::Never,
            reference: false,
            all_addresses: false,
        }
    }
}

/// A module ready to run.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its upper bound on a probe.
    pub timeout: Option<Duration>,
    /// How often its keys are probed between scrapes; `None` probes only when scraped.
    pub interval: Option<Duration>,
    /// How much it exports.
    pub metrics: Level,
    /// The bounds of its histograms; `None` for the defaults.
    pub buckets: Option<Arc<[f64]>>,
    /// What may be asked beside the edge.
    pub diagnostics: DiagnosticsSettings,
    /// The targets that it is for; `None` is for any.
    pub allowlist: Option<Arc<TargetAllowlist>>,
    /// The prober and its settings.
    pub prober: Arc<dyn Prober>,
}

impl Module {
    /// Whether it is for a target, and for the name that the caller gives it: behind one address there may be others' sites.
    #[must_use]
    pub fn admits(&self, requested: &ProbeRequest) -> bool {
        let held = |allowlist: &Arc<TargetAllowlist>| {
            let name = requested.hostname.as_deref().filter(|_| self.prober.asks_by_hostname());
            let origin = self.prober.origin(requested);
            origin.is_some_and(|origin| allowlist.holds_by_names(&origin, name))
        };
        self.allowlist.as_ref().is_none_or(held)
    }

    /// Whether the module itself names the machine, and each name that it is to be asked by: then it gets what only those get
    /// whom the module names.
    #[must_use]
    pub fn names(&self, backend: &Backend) -> bool {
        let origin = || Origin {
            scheme: if backend.tls { "https" } else { "http" }.to_owned(),
            host: backend.host.clone(),
            port: Some(backend.port),
        };
        let names = [&backend.sni, &backend.authority]
            .into_iter()
            .flatten()
            .map(String::as_str);
        let held = |allowlist: &Arc<TargetAllowlist>| allowlist.holds_by_names(&origin(), names);
        self.diagnostics.backends.iter().any(|own| own.asks_as(backend)) || self.allowlist.as_ref().is_some_and(held)
    }
}
