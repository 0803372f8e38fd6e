//! The name service: the system's configuration or a module's own list of name servers.

use super::own_fault::shortage;
use super::transport::Transport;
use crate::reason::Reason;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, system_conf};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers questions for addresses. Built once per module; keeps no cache, so each probe really asks.
#[derive(Clone)]
pub struct Resolver {
    /// Or why it cannot be had, which every probe then reports.
    inner: Result<hickory_resolver::Resolver<Transport>, String>,
    transport: Transport,
    hosts: Option<Arc<Hosts>>,
    /// The module's own name servers; none means the system's.
    servers: Vec<NameServer>,
}

/// A lookup that fell short is shared with those who come so soon after.
const SHARED: Duration = Duration::from_secs(1);

/// A name server as a module writes it: `ip:port`, or `tcp://ip:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer {
    at: SocketAddr,
    tcp: bool,
}

/// Why a name server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name server; write \"192.0.2.1:53\", \"[2001:db8::1]:53\" or \"tcp://192.0.2.1:53\"")]
pub struct NameServerError(String);

impl FromStr for NameServer {
    type Err = NameServerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, tcp) = match text.strip_prefix("tcp://") {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("udp://").unwrap_or(text), false),
        };
        match at.parse() {
            Ok(at) => Ok(Self { at, tcp }),
            Err(_) => Err(NameServerError(text.to_owned())),
        }
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.tcp { "tcp://" } else { "" }, self.at)
    }
}

impl Resolver {
    /// Uses the system's name servers, search list and hosts file. Where the system names none, it is the name server
    /// of this host that is asked, as Go does.
    ///
    /// # Errors
    /// When this host is short of what it takes to read its configuration: that says nothing of what stands there.
    pub fn system() -> io::Result<Self> {
        let hosts = match Hosts::from_system() {
            Err(error) if shortage(&error).is_some() => return Err(error),
            read => read.unwrap_or_default(),
        };
        let (config, options) = match system_conf::read_system_conf() {
            Ok(read) => read,
            Err(NetError::Io(error)) if shortage(&error).is_some() => return Err(io::Error::other(error)),
            Err(_) => {
                let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
                (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
            }
        };
        Ok(Self::built(config, options, Some(Arc::new(hosts)), Vec::new()))
    }

    /// Uses these name servers and nothing else: no hosts file, no search list.
    #[must_use]
    pub fn with_servers(servers: &[NameServer]) -> Self {
        let configured = servers.iter().map(|server| {
            let connections = if server.tcp {
                vec![ConnectionConfig::tcp()]
            } else {
                vec![ConnectionConfig::udp(), ConnectionConfig::tcp()]
            };
            let connections = connections
                .into_iter()
                .map(|mut connection| {
                    connection.port = server.at.port();
                    connection
                })
                .collect();
            NameServerConfig::new(server.at.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), configured.collect());
        Self::built(config, ResolverOpts::default(), None, servers.to_vec())
    }

    fn built(
        config: ResolverConfig,
        mut options: ResolverOpts,
        hosts: Option<Arc<Hosts>>,
        servers: Vec<NameServer>,
    ) -> Self {
        options.cache_size = 0;
        // The hosts file is asked here, for both families at once.
        options.use_hosts_file = ResolveHosts::Never;
        let transport = Transport::default();
        let inner = hickory_resolver::Resolver::builder_with_config(config, transport.clone())
            .with_options(options)
            .build()
            .map_err(|error| error.to_string());
        Self {
            inner,
            transport,
            hosts,
            servers,
        }
    }

    /// What the hosts file says of a name; empty if nothing.
    pub(super) fn known_to_hosts(&self, name: &str) -> Vec<IpAddr> {
        let (Some(hosts), Ok(name)) = (&self.hosts, Name::from_str(name)) else {
            return Vec::new();
        };
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|lookup| addresses(lookup.answers()))
            .collect()
    }

    /// Asks for the addresses of one family. Never an empty list.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<IpAddr>, LookupError> {
        let resolver = self.inner.as_ref().map_err(|words| LookupError {
            reason: Reason::LocalResolverUnreachable,
            words: words.clone(),
        })?;
        let asked = Instant::now();
        // The library lets those who ask the same at the same time share one lookup, which may have begun before.
        let begun = asked.checked_sub(SHARED).unwrap_or(asked);
        let lookup = resolver.lookup(name, kind).await.map_err(|error| {
            let error = LookupError::new(&error);
            match (self.transport.shortage_since(begun), error.reason) {
                (Some(shortage), Reason::LocalResolverUnreachable) => error.because_of(shortage),
                // Of a part of the library that has panicked it says only that it hears no more.
                (Some(panicked @ Reason::LocalPanicked), Reason::DnsFailed | Reason::DnsTimedOut) => {
                    error.because_of(panicked)
                }
                _ => error,
            }
        })?;
        let found = addresses(lookup.answers());
        if found.is_empty() {
            return Err(LookupError {
                reason: Reason::DnsNoData,
                words: "the answer holds no address".to_owned(),
            });
        }
        Ok(found)
    }
}

fn addresses(records: &[hickory_resolver::proto::rr::Record]) -> Vec<IpAddr> {
    records
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .collect()
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Why a question got no address.
#[derive(Clone, Debug)]
pub(super) struct LookupError {
    pub reason: Reason,
    pub words: String,
}

impl LookupError {
    /// Nobody could be asked, because this host was short of something.
    fn because_of(self, shortage: Reason) -> Self {
        Self {
            reason: shortage,
            ..self
        }
    }

    fn new(error: &NetError) -> Self {
        let reason = reason_of(error);
        let words = match error {
            // The library's own text is its inner shape.
            NetError::Dns(_) => reason.meaning().to_owned(),
            _ => error.to_string(),
        };
        Self { reason, words }
    }
}

fn reason_of(error: &NetError) -> Reason {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(nothing)) => reason_of_code(nothing.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => reason_of_code(*code),
        NetError::Timeout => Reason::DnsTimedOut,
        NetError::Proto(_) => Reason::DnsMalformed,
        NetError::NoConnections => Reason::LocalResolverUnreachable,
        NetError::Io(error) => reason_of_io(error),
        _ => Reason::DnsFailed,
    }
}

const fn reason_of_code(code: ResponseCode) -> Reason {
    match code {
        ResponseCode::NXDomain => Reason::DnsNameNotResolved,
        ResponseCode::NoError => Reason::DnsNoData,
        ResponseCode::ServFail => Reason::DnsServfail,
        ResponseCode::Refused => Reason::DnsRefused,
        ResponseCode::FormErr => Reason::DnsMalformed,
        _ => Reason::DnsFailed,
    }
}

fn reason_of_io(error: &io::Error) -> Reason {
    shortage(error).unwrap_or(match error.kind() {
        io::ErrorKind::TimedOut => Reason::DnsTimedOut,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Reason::DnsMalformed,
        _ => Reason::LocalResolverUnreachable,
    })
}
