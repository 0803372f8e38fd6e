//! What can be probed: the trait, the table of probers, and a module ready to run.

pub mod credentials;
pub mod dns;
pub mod fields;
pub mod files;
pub mod gauges;
pub mod grpc;
pub mod http;
pub mod icmp;
mod place;
pub mod proxies;
pub mod script;
pub mod tcp;
pub mod unix;
pub mod websocket;

use crate::chain::Stage;
use crate::check::{Check, Resolver, Stopped};
use crate::hop::Hop;
use crate::metrics::{Level, Page};
use crate::policy::{Fence, Origin};
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
pub struct Aim {
    /// The target, as the caller wrote it.
    pub target: Target,
    /// The caller's `hostname`: a virtual host instead of the target's own name.
    pub hostname: Option<String>,
    /// The caller's hops, inward: instead of the module's.
    pub hops: Vec<Hop>,
}

/// Which way the same request takes.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// As the caller asked.
    Asked,
    /// Straight to a machine behind the front, with the front's name.
    Hop(&'a Hop),
    /// To one address of the front.
    Address(IpAddr),
    /// Past the caches: with a query that nobody asked before.
    PastCaches(u64),
    /// Over HTTP/1.1, whatever else was agreed on.
    Http1,
    /// What every gateway refuses by itself (RFC 9112 section 5.1: no whitespace in a field name), without anything of
    /// the module in it.
    Refusable,
    /// No request at all: a TLS handshake with the front, or with a hop.
    Handshake(Option<&'a Hop>),
}

/// The series of a key that exist from its first scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The stages that a good probe passes.
    pub stages: Vec<Stage>,
    /// The status codes that are counted from 0; none for probers without status codes.
    pub codes: Vec<u16>,
}

impl Shape {
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
pub type Probing<'a> = Pin<Box<dyn Future<Output = Result<(), Stopped>> + Send + 'a>>;

/// A future of all addresses of a target.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Stopped>> + Send + 'a>>;

/// One way to probe, with its running settings inside.
pub trait Prober: Send + Sync + fmt::Debug {
    /// Runs the sentence.
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim, way: Way<'a>) -> Probing<'a>;

    /// Resolves the target's name to all of its addresses: `addresses: all`.
    fn addresses<'a>(&'a self, check: &'a mut Check, aim: &'a Aim) -> Resolving<'a>;

    /// Whether a request of this module has fields or credentials that only those get whom the module names.
    fn has_own_fields(&self, aim: &Aim) -> bool;

    /// The name service that the module uses: the controls ask it too.
    fn resolver(&self) -> &Arc<Resolver>;

    /// Writes the peer's gauges for a report. Gives the time that the exported phases hold.
    fn gauges(&self, report: &Report, page: &mut Page) -> Duration;

    /// The series that a key of this module has from its first scrape.
    fn shape(&self, target: &Target) -> Shape;

    /// The target as credentials see it; none where it is no target of this prober.
    fn origin(&self, aim: &Aim) -> Option<Origin>;

    /// Whether it asks by the name that a caller gives its target (`hostname`).
    fn asks_by_hostname(&self) -> bool {
        true
    }

    /// Whether it waits for a word in plain text: a port of TLS says nothing before the client does.
    fn listens_in_plain_text(&self) -> bool {
        false
    }

    /// What is wrong with an aim before anything is dialled, in the peer's words.
    ///
    /// # Errors
    /// When the caller's parameters contradict the module.
    fn accept(&self, _: &Aim) -> Result<(), String> {
        Ok(())
    }
}

/// When something is asked beside the front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Never.
    Never,
    /// When the front fails, or half the deadline is gone.
    #[default]
    OnFailure,
    /// With every probe.
    Always,
    /// On failure, and with every so-many-th probe.
    Every(u32),
}

/// What a module allows to be asked beside the front.
#[derive(Clone, Debug)]
pub struct Beside {
    /// The machines behind the front, inward; those of the caller's URL come instead of these.
    pub hops: Vec<Hop>,
    /// When they are asked.
    pub drill: When,
    /// When the front is asked past its caches.
    pub bypass: When,
    /// Whether the front may be asked what every gateway refuses.
    pub reference: bool,
    /// Whether every address of the front is probed.
    pub all_addresses: bool,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            hops: Vec::new(),
            drill: When::OnFailure,
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
    /// What may be asked beside the front.
    pub beside: Beside,
    /// The targets that it is for; `None` is for any.
    pub fence: Option<Arc<Fence>>,
    /// The prober and its settings.
    pub prober: Arc<dyn Prober>,
}

impl Module {
    /// Whether it is for a target, and for the name that the caller gives it: behind one address there may be others' sites.
    #[must_use]
    pub fn admits(&self, aim: &Aim) -> bool {
        let held = |fence: &Arc<Fence>| {
            let name = aim.hostname.as_deref().filter(|_| self.prober.asks_by_hostname());
            let origin = self.prober.origin(aim);
            origin.is_some_and(|origin| fence.holds_by_names(&origin, name))
        };
        self.fence.as_ref().is_none_or(held)
    }

    /// Whether the module itself names the machine, and each name that it is to be asked by: then it gets what only those get
    /// whom the module names.
    #[must_use]
    pub fn names(&self, hop: &Hop) -> bool {
        let origin = || Origin {
            scheme: if hop.tls { "https" } else { "http" }.to_owned(),
            host: hop.host.clone(),
            port: Some(hop.port),
        };
        let names = [&hop.sni, &hop.authority].into_iter().flatten().map(String::as_str);
        let held = |fence: &Arc<Fence>| fence.holds_by_names(&origin(), names);
        self.beside.hops.iter().any(|own| own.asks_as(hop)) || self.fence.as_ref().is_some_and(held)
    }
}
