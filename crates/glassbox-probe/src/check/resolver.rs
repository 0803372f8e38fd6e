//! Name resolution like that of the host: resolv.conf(5), hosts(5), and the behaviour of Go's resolver where these
//! leave a choice.
//!
//! A lookup reads the hosts file first. It then tries each candidate name that the search list forms from the target's
//! name, until one has an address of either family. For each family of a candidate, it queries each server in order, up
//! to `attempts` times. Each query uses UDP, and TCP if the response does not fit in a datagram. Nothing is cached:
//! each probe sends its queries.
//!
//! ```text
//! db ─► hosts file ─► db.prod.test ─┬─ A    ─► server 1 ─► server 2 ─► server 1 …
//!                  └► db.test       └─ AAAA ─► server 1 …
//!                  └► db
//! ```

mod address_order;
mod families;
mod hosts;
mod message;
mod name;
mod query;
mod resolv_conf;

use super::dial::DialError;
use super::local_fault::shortage;
use super::watched_files::Watched;
pub(super) use families::{Families, Need};
use glassbox_verdict::host_port::HostPort;
use glassbox_verdict::reason::Reason;
use hickory_proto::rr::{Name, RecordType};
use hosts::Hosts;
use message::{Failure, LookupOutcome};
use query::LookupQuery;
use resolv_conf::{ResolvConf, Server, Switch};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Files of the host's resolver.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Maximum bytes to read from each file. Hosts files with blocklists have tens of millions of bytes.
const LARGEST_FILE: u64 = 128 * 1024 * 1024;

/// Resolves names to addresses. Built once per module. It has no cache, so each probe sends its own queries.
pub struct Resolver {
    source: ResolverSource,
    /// Counts lookups, for `rotate`.
    lookups: AtomicUsize,
}

/// Source of the configuration.
enum ResolverSource {
    /// The host's files. They are reloaded when they change.
    Host {
        conf: Arc<Watched<ResolvConf>>,
        hosts: Arc<Watched<Hosts>>,
    },
    /// The name servers of the module. The host's files are not used.
    Servers(Arc<ResolvConf>),
}

/// A name server in a module's configuration: `ip:port`, or `tcp://ip:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer(Server);

/// Why a name server is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid name server; write \"192.0.2.1:53\", \"[2001:db8::1]:53\" or \"tcp://192.0.2.1:53\"")]
pub struct NameServerError(String);

impl FromStr for NameServer {
    type Err = NameServerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, tcp) = match text.strip_prefix("tcp://") {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("udp://").unwrap_or(text), false),
        };
        let parsed = HostPort::parse_strict(at).ok();
        let server = parsed.and_then(|parsed| Server::of(parsed.host(), parsed.port(), tcp));
        server.map(Self).ok_or_else(|| NameServerError(text.to_owned()))
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.0.tcp { "tcp://" } else { "" }, self.0)
    }
}

impl Resolver {
    /// Uses the host's name servers, search list and hosts file, and reloads them when they change. A missing file
    /// counts as empty until it is created.
    ///
    /// # Errors
    /// Fails if this host lacks the resources to read the files. The failure gives no information about their content.
    pub fn system() -> io::Result<Self> {
        let conf = Watched::new(
            RESOLV_CONF,
            vec![PathBuf::from(RESOLV_CONF)],
            || read_or_empty(RESOLV_CONF).map(|bytes| Ok(parse_conf(&bytes))),
            read_conf,
        )?;
        let hosts = Watched::new(
            HOSTS,
            vec![PathBuf::from(HOSTS)],
            || read_or_empty(HOSTS).map(|bytes| Ok(Hosts::parse(&bytes))),
            read_hosts,
        )?;
        Ok(Self::of(ResolverSource::Host { conf, hosts }))
    }

    /// Uses only these name servers, without hosts file and search list.
    #[must_use]
    pub fn with_servers(servers: &[NameServer]) -> Self {
        let conf = ResolvConf::with_servers(servers.iter().map(|server| server.0.clone()).collect());
        Self::of(ResolverSource::Servers(Arc::new(conf)))
    }

    fn of(source: ResolverSource) -> Self {
        Self {
            source,
            lookups: AtomicUsize::new(0),
        }
    }

    /// Resolves a name within the deadline. The result contains at least one address.
    pub(super) async fn look_up(
        &self,
        host: &str,
        families: Families,
        need: Need,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, LookupError> {
        let conf = match &self.source {
            ResolverSource::Servers(conf) => conf.clone(),
            ResolverSource::Host { conf, hosts } => {
                let known = hosts.current().map_err(LookupError::unusable)?;
                let known = known.addresses(host);
                if !known.is_empty() {
                    return Ok(sorted(known.to_vec()));
                }
                conf.current().map_err(LookupError::unusable)?
            }
        };
        let candidates = name::candidates(host, &conf.search, conf.ndots).map_err(LookupError::name)?;
        let lookup = Lookup {
            first: self.first_server(&conf),
            conf: &conf,
            deadline,
        };
        lookup.walk(&candidates, families, need).await.map(sorted)
    }

    /// Index of the server to query first.
    fn first_server(&self, conf: &ResolvConf) -> usize {
        if conf.has(Switch::Rotate) {
            self.lookups.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        }
    }
}

fn sorted(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    address_order::sort(&mut addresses);
    addresses
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(LARGEST_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_or_empty(file: &str) -> io::Result<Vec<u8>> {
    match read(file) {
        Err(error) if shortage(&error).is_some() => Err(error),
        read => Ok(read.unwrap_or_default()),
    }
}

fn parse_conf(bytes: &[u8]) -> ResolvConf {
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    ResolvConf::parse(bytes, &hostname.to_string_lossy())
}

/// Reloads the hosts file. An empty file counts as incomplete, because another program may be writing it.
fn read_hosts() -> Result<Hosts, String> {
    match read(HOSTS) {
        Ok(bytes) if bytes.is_empty() => Err("it is empty".to_owned()),
        Ok(bytes) => Ok(Hosts::parse(&bytes)),
        Err(error) => Err(error.to_string()),
    }
}

/// Reloads the configuration. A file without a name server counts as incomplete, because another program may be writing
/// it.
fn read_conf() -> Result<ResolvConf, String> {
    let bytes = read(RESOLV_CONF).map_err(|error| error.to_string())?;
    let conf = parse_conf(&bytes);
    if conf.names_servers {
        Ok(conf)
    } else {
        Err("it contains no name server".to_owned())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Resolver");
        if let ResolverSource::Servers(conf) = &self.source {
            shown.field("servers", &conf.servers);
        }
        shown.finish_non_exhaustive()
    }
}

/// A running lookup.
struct Lookup<'a> {
    conf: &'a ResolvConf,
    first: usize,
    deadline: Instant,
}

impl Lookup<'_> {
    /// Tries the candidates in order. The first candidate with an address determines the result for both families.
    async fn walk(&self, candidates: &[Name], families: Families, need: Need) -> Result<Vec<IpAddr>, LookupError> {
        let mut error: Option<LookupError> = None;
        for candidate in candidates {
            match self.addresses(candidate, families, need).await {
                Ok(found) => return Ok(found),
                Err(next) => error = Some(LookupError::more_telling(error, next)),
            }
            if Instant::now() >= self.deadline {
                break;
            }
        }
        Err(error.unwrap_or_else(|| LookupError::name(name::NameError::TooLong)))
    }

    async fn addresses(&self, name: &Name, families: Families, need: Need) -> Result<Vec<IpAddr>, LookupError> {
        let ask = |kind| self.ask(name, kind);
        let one_by_one = self.conf.has(Switch::SingleRequest);
        families.addresses(ask, need, one_by_one, self.deadline).await
    }

    /// Queries the servers in order, for several rounds, until one returns a definite response. "No such name" is
    /// definite.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Vec<IpAddr>, LookupError> {
        let (conf, count) = (self.conf, self.conf.servers.len());
        let asking = LookupQuery {
            conf,
            name,
            kind,
            deadline: self.deadline,
        };
        let mut error: Option<LookupError> = None;
        for turn in 0..count * conf.attempts as usize {
            let server = &conf.servers[(self.first + turn) % count];
            let next = match asking.ask(server).await.map(message::Response::outcome) {
                Ok(LookupOutcome::Addresses(found)) => return Ok(found),
                Ok(LookupOutcome::NoSuchName) => return Err(LookupError::because(Reason::DnsNameNotResolved)),
                Ok(LookupOutcome::NoData) => return Err(LookupError::because(Reason::DnsNoData)),
                Ok(LookupOutcome::Failed(failure)) => LookupError::of(failure),
                Err(error) => error,
            };
            error = Some(LookupError::more_telling(error, next));
            if Instant::now() >= self.deadline {
                break;
            }
        }
        Err(error.unwrap_or_else(|| LookupError::because(Reason::LocalResolverUnreachable)))
    }
}

/// Why a lookup found no address.
#[derive(Clone, Debug)]
pub(super) struct LookupError {
    pub reason: Reason,
    pub words: String,
}

impl LookupError {
    fn because(reason: Reason) -> Self {
        Self {
            reason,
            words: reason.meaning().to_owned(),
        }
    }

    fn name(error: name::NameError) -> Self {
        Self {
            reason: Reason::LocalTargetInvalid,
            words: error.to_string(),
        }
    }

    fn unusable(error: String) -> Self {
        Self {
            reason: Reason::LocalFileUnreadable,
            words: error,
        }
    }

    fn malformed() -> Self {
        Self::because(Reason::DnsMalformed)
    }

    /// The server sent no response before the timeout, or only responses that could not be parsed.
    fn silence(unreadable: bool) -> Self {
        Self::because(if unreadable {
            Reason::DnsMalformed
        } else {
            Reason::DnsTimedOut
        })
    }

    fn of(failure: Failure) -> Self {
        let failed = |words: String| Self {
            reason: Reason::DnsFailed,
            words,
        };
        match failure {
            Failure::ServFail => Self::because(Reason::DnsServfail),
            Failure::Refused => Self::because(Reason::DnsRefused),
            Failure::Malformed => Self::malformed(),
            Failure::FormErr => Self {
                reason: Reason::DnsMalformed,
                words: "the name server rejected the query as malformed (FORMERR)".to_owned(),
            },
            Failure::Other(code) => failed(format!("the name server failed (response code {code})")),
            Failure::Referral => {
                failed("the name server returned a referral and does not resolve names recursively".to_owned())
            }
        }
    }

    /// Selects the more informative of two errors from different servers or names. If they are equal, selects the
    /// first.
    fn more_telling(before: Option<Self>, next: Self) -> Self {
        match before {
            Some(before) if before.rank() >= next.rank() => before,
            _ => next,
        }
    }

    fn rank(&self) -> u8 {
        match self.reason {
            reason if reason.is_local_error() => 6,
            Reason::DnsServfail | Reason::DnsRefused | Reason::DnsFailed => 5,
            Reason::DnsMalformed => 4,
            // Packets may have been lost, so a timeout must not lead to a certain verdict about this host's resolver.
            Reason::DnsTimedOut => 3,
            Reason::DnsNoData => 1,
            Reason::DnsNameNotResolved => 0,
            _ => 2,
        }
    }
}

impl From<DialError> for LookupError {
    fn from(error: DialError) -> Self {
        // If there is no route to a name server, the error text contains this.
        let own = error.own_reason().filter(|own| *own != Reason::LocalNoRoute);
        let reason = own.unwrap_or_else(|| reason_of(error.kind()));
        Self {
            reason,
            words: error.to_string(),
        }
    }
}

impl From<io::Error> for LookupError {
    fn from(error: io::Error) -> Self {
        DialError::from(error).into()
    }
}

/// The reason for a socket error with a name server.
const fn reason_of(kind: io::ErrorKind) -> Reason {
    match kind {
        io::ErrorKind::TimedOut => Reason::DnsTimedOut,
        // The server accepted the connection and closed it.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::DnsFailed,
        _ => Reason::LocalResolverUnreachable,
    }
}
