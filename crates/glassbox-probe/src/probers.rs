//! The probers: the `Prober` trait, the table of probers, and a module that is ready to run.

pub mod blocks;
mod client_options;
pub mod credentials;
pub mod dns;
mod endpoint;
pub mod gauges;
pub mod grpc;
pub mod header_fields;
pub mod http;
pub mod icmp;
pub mod named_files;
pub mod prober_file;
pub mod proxies;
pub mod script;
pub mod tcp;
pub mod unix;
pub mod websocket;

pub use client_options::{BodyOption, ClientOptions, TlsOptions};

use crate::budget::RequestRate;
use crate::check::{AddressFamily, Check, ProbeFailed, Refusal, Resolver};
use crate::file::{ConfigIssue, Fill, Node, NodeKind, Read, Spanned, below};
use crate::metrics::{Level, MetricPage};
use crate::policy::{Origin, TargetAllowlist};
use crate::target::Target;
use glassbox_verdict::backend::Backend;
use glassbox_verdict::chain::{Link, Stage};
use glassbox_verdict::investigation::DiagnosticKind;
use glassbox_verdict::report::Report;
use prober_file::{KeysOfBlock, ProberFile, Warnings, probers};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// `User-Agent` of the requests. It starts with the one of `blackbox_exporter`, which firewall rules already allow.
const USER_AGENT_WORDS: &str = concat!("Blackbox-Exporter/0.28.0 glassbox_exporter/", env!("CARGO_PKG_VERSION"));

probers! {
    http: http::HttpFile,
    tcp: tcp::TcpFile,
    unix: unix::UnixFile,
    dns: dns::DnsFile,
    icmp: icmp::IcmpFile,
    grpc: grpc::GrpcFile,
    websocket: websocket::WebsocketFile,
}

/// The caller's request for a probe.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    /// The target as given by the caller.
    pub target: Target,
    /// The caller's `hostname`: a virtual host that replaces the target's host name.
    pub hostname: Option<String>,
    /// The caller's backends, from the outside in. They replace the module's backends.
    pub backends: Vec<Backend>,
}

/// A variant of a request: the original, or one that changes where it goes or what it contains.
#[derive(Clone, Copy, Debug)]
pub enum Variant<'a> {
    /// The caller's request.
    Original,
    /// Directly to a backend, with the edge's host name.
    Backend(&'a Backend),
    /// To one address of the edge.
    Address(IpAddr),
    /// With a unique query string, so that no cache can have stored the response.
    CacheBypass(u64),
    /// Over HTTP/1.1, regardless of the negotiated version.
    Http1,
    /// A request that every gateway itself rejects (RFC 9112 section 5.1: no whitespace in a field name). It contains
    /// nothing that belongs to the module.
    Refusable,
    /// A TLS handshake without a request, with the edge or with a backend.
    Handshake(Option<&'a Backend>),
}

/// A key's series that exist from its first scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialSeries {
    /// Stages of a successful probe.
    pub stages: Vec<Stage>,
    /// Status codes that are counted from 0; empty for probers without status codes.
    pub codes: Vec<u16>,
}

impl InitialSeries {
    /// The stages whose flag is set, and no status codes.
    fn of(stages: &[(Stage, bool)]) -> Self {
        let passed = stages.iter().filter(|(_, passed)| *passed);
        Self {
            stages: passed.map(|(stage, _)| *stage).collect(),
            codes: Vec::new(),
        }
    }
}

/// The future of a probe.
pub type ProbeFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send + 'a>>;

/// The future that resolves all addresses of a target.
pub type AddressesFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ProbeFailed>> + Send + 'a>>;

/// A prober with its settings.
pub trait Prober: Send + Sync + fmt::Debug {
    /// Runs all stages of the probe.
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a>;

    /// The target's host, and the address families that the module accepts for it.
    ///
    /// # Errors
    /// Fails if this prober cannot probe the target, or if the target has no addresses.
    fn host(&self, requested: &ProbeRequest) -> Result<(String, AddressFamily), Refusal>;

    /// Resolves the target's name to all of its addresses, for `addresses: all`.
    fn addresses<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest) -> AddressesFuture<'a> {
        Box::pin(async move {
            let host = self.host(requested);
            let (host, family) = host.map_err(|refusal| check.refuse(refusal))?;
            check.resolve_all(self.resolver(), &host, family).await
        })
    }

    /// Whether a request of this module carries header fields or credentials that only machines named by the module may
    /// receive.
    fn has_module_fields(&self, requested: &ProbeRequest) -> bool;

    /// The module's resolver. The controls use it too.
    fn resolver(&self) -> &Arc<Resolver>;

    /// Writes the gauges of `blackbox_exporter` for a report. Returns the total time of the exported phases.
    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration;

    /// The series that exist from the first scrape of one of this module's keys.
    fn initial_series(&self, target: &Target) -> InitialSeries;

    /// The target's origin, which decides who receives credentials; `None` if this prober cannot probe the target.
    fn origin(&self, requested: &ProbeRequest) -> Option<Origin>;

    /// Whether the prober uses the caller's `hostname`.
    fn asks_by_hostname(&self) -> bool {
        true
    }

    /// Whether the prober first waits for plain text from the server. A TLS port sends nothing before the client does.
    fn reads_plaintext_first(&self) -> bool {
        false
    }

    /// What another client needs to send the same request.
    fn client_options(&self) -> ClientOptions {
        ClientOptions::default()
    }

    /// Whether a probe of this module can tell that the link is healthy. The page of a probe shows only these links, and
    /// the one that the verdict names.
    fn can_judge(&self, _: Link) -> bool {
        true
    }

    /// Checks the caller's parameters before anything is dialled. The error messages match `blackbox_exporter`'s.
    ///
    /// # Errors
    /// Fails if the caller's parameters contradict the module.
    fn accept(&self, _: &ProbeRequest) -> Result<(), Refusal> {
        Ok(())
    }
}

/// When a diagnostic runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Never.
    Never,
    /// When the edge fails, or when half of the deadline has passed.
    #[default]
    OnFailure,
    /// With every probe.
    Always,
    /// On failure, and with every n-th probe.
    Every(u32),
}

/// The additional requests that a module allows.
#[derive(Clone, Debug)]
pub struct DiagnosticsSettings {
    /// Backends from the outside in. Backends in the caller's URL replace them.
    pub backends: Vec<Backend>,
    /// When each diagnostic runs that the module configures. [`Diagnostic::when`](crate::diagnostics::Diagnostic::when)
    /// adds the defaults.
    pub when: Vec<(DiagnosticKind, When)>,
    /// Whether every address of the edge is probed.
    pub all_addresses: bool,
    /// Maximum number of additional requests for one target.
    pub budget: RequestRate,
}

impl Default for DiagnosticsSettings {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            when: Vec::new(),
            all_addresses: false,
            budget: RequestRate::per_minute(30),
        }
    }
}

/// A module that is ready to run.
#[derive(Clone, Debug)]
pub struct Module {
    /// Name in the configuration.
    pub name: Arc<str>,
    /// Maximum duration of a probe.
    pub timeout: Option<Duration>,
    /// Interval between probes that are not triggered by a scrape; `None` probes only when scraped.
    pub interval: Option<Duration>,
    /// Which metrics are exported.
    pub metrics: Level,
    /// Upper bounds of the histogram buckets; `None` for the defaults.
    pub buckets: Option<Arc<[f64]>>,
    /// The additional requests that the module allows.
    pub diagnostics: DiagnosticsSettings,
    /// The targets that the module may probe; `None` for any target.
    pub allowlist: Option<Arc<TargetAllowlist>>,
    /// The prober and its settings.
    pub prober: Arc<dyn Prober>,
}

impl Module {
    /// Whether the module may probe the target with the caller's `hostname`. One address may serve several owners'
    /// sites.
    #[must_use]
    pub fn admits(&self, requested: &ProbeRequest) -> bool {
        let held = |allowlist: &Arc<TargetAllowlist>| {
            let name = requested.hostname.as_deref().filter(|_| self.prober.asks_by_hostname());
            let origin = self.prober.origin(requested);
            origin.is_some_and(|origin| allowlist.holds_by_names(&origin, name))
        };
        self.allowlist.as_ref().is_none_or(held)
    }

    /// Whether the module itself names the backend and every host name that is sent to it. Only such a backend receives
    /// the module's credentials and header fields.
    #[must_use]
    pub fn names(&self, backend: &Backend) -> bool {
        let origin = || Origin {
            scheme: if backend.tls { "https" } else { "http" }.to_owned(),
            host: backend.address.host().without_zone().to_owned(),
            port: Some(backend.address.port()),
        };
        let names = [&backend.sni, &backend.authority]
            .into_iter()
            .flatten()
            .map(String::as_str);
        let held = |allowlist: &Arc<TargetAllowlist>| allowlist.holds_by_names(&origin(), names);
        self.diagnostics.backends.iter().any(|own| own.asks_as(backend)) || self.allowlist.as_ref().is_some_and(held)
    }
}
