//! Parses the resolver's configuration (resolv.conf(5)). Where the manual leaves a choice, the parser follows Go's
//! resolver.

use super::super::zone::interface_number;
use super::name;
use glassbox_verdict::host_port::{Host, HostPort};
use hickory_proto::rr::Name;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Maximum number of name servers (resolv.conf(5): `MAXNS`).
const MOST_SERVERS: usize = 3;

/// Maximum number of elements in the search list. Each may require a query per family.
const MOST_SEARCHED: usize = 32;

/// Limits of the options (resolv.conf(5)).
const MOST_DOTS: usize = 15;
const LONGEST_TIMEOUT: u64 = 30;
const MOST_ATTEMPTS: u32 = 5;

/// Port of name servers.
const PORT: u16 = 53;

/// A name server and its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub at: SocketAddr,
    /// Whether to use TCP only.
    pub tcp: bool,
    /// Zone of a link-local address (RFC 4007): the name or number of an interface.
    zone: Option<String>,
}

impl Server {
    pub const fn new(at: SocketAddr, tcp: bool) -> Self {
        Self { at, tcp, zone: None }
    }

    /// The server at an address, which may have a zone; `None` for a name.
    pub fn of(host: Host<'_>, port: u16, tcp: bool) -> Option<Self> {
        Some(Self {
            zone: host.zone().map(str::to_owned),
            ..Self::new(SocketAddr::new(host.address()?, port), tcp)
        })
    }

    /// The address to send queries to. The zone is looked up on each call, because interfaces can change.
    ///
    /// # Errors
    /// Fails if this host currently has no such interface.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match (self.at, &self.zone) {
            (SocketAddr::V6(mut at), Some(zone)) => {
                at.set_scope_id(interface_number(zone)?);
                Ok(at.into())
            }
            (at, _) => Ok(at),
        }
    }
}

/// Configuration of the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// Name servers, in query order.
    pub servers: Vec<Server>,
    /// Domains that complete a name.
    pub search: Vec<Name>,
    /// Minimum number of dots for a name to be tried unchanged before the search list is applied.
    pub ndots: usize,
    /// Timeout for one server.
    pub timeout: Duration,
    /// Number of rounds over the list of servers.
    pub attempts: u32,
    switches: Vec<Switch>,
    /// Whether the file lists a name server.
    pub names_servers: bool,
}

/// A Boolean option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// Start each lookup with a different server.
    Rotate,
    /// Use TCP only.
    UseTcp,
    /// Allow larger datagrams (RFC 6891).
    Edns0,
    /// Set the AD flag in queries, which announces support for it (RFC 6840 section 5.7).
    TrustAd,
    /// Query one family after the other.
    SingleRequest,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            switches: Vec::new(),
            names_servers: false,
        }
    }
}

/// The address as it is configured.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => HostPort::new(&format!("{}%{zone}", self.at.ip()), self.at.port()).fmt(f),
            None => self.at.fmt(f),
        }
    }
}

impl ResolvConf {
    /// The defaults, with these servers and no search list.
    pub fn with_servers(servers: Vec<Server>) -> Self {
        Self {
            servers,
            ..Self::default()
        }
    }

    /// Parses the content of a file. `hostname` is the name of this host. Its domain is used as the search list if the
    /// file sets none.
    pub fn parse(bytes: &[u8], hostname: &str) -> Self {
        let mut conf = Self::default();
        let mut search = None;
        for line in String::from_utf8_lossy(bytes).lines() {
            if line.starts_with([';', '#']) {
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < MOST_SERVERS => {
                    let server = |text| Server::of(Host::without_brackets(text), PORT, false);
                    conf.servers.extend(words.next().and_then(server));
                }
                // The last of the two keywords takes effect. A keyword without a name is ignored.
                Some(keyword @ ("domain" | "search")) => {
                    let count = if keyword == "domain" { 1 } else { usize::MAX };
                    let mut words = words.take(count).peekable();
                    if words.peek().is_some() {
                        search = Some(names(words));
                    }
                }
                Some("options") => words.for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        conf.search = search.unwrap_or_else(|| names(hostname.split_once('.').map(|(_, domain)| domain).into_iter()));
        conf.names_servers = !conf.servers.is_empty();
        if !conf.names_servers {
            conf.servers = Self::of_this_host();
        }
        conf
    }

    /// The name servers on this host, which are used if the file lists none.
    fn of_this_host() -> Vec<Server> {
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let at = loopback.map(|address| SocketAddr::new(address, PORT));
        at.map(|at| Server::new(at, false)).to_vec()
    }

    /// Sets an option. Ignores options that are unknown or that concern other parts of a C library.
    fn set(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        let number = || value.parse::<u32>().ok();
        match name {
            "ndots" => self.ndots = number().map_or(self.ndots, |dots| (dots as usize).min(MOST_DOTS)),
            "timeout" => {
                let seconds = number().map(|seconds| u64::from(seconds).clamp(1, LONGEST_TIMEOUT));
                self.timeout = seconds.map_or(self.timeout, Duration::from_secs);
            }
            "attempts" => self.attempts = number().map_or(self.attempts, |count| count.clamp(1, MOST_ATTEMPTS)),
            "rotate" => self.switches.push(Switch::Rotate),
            "use-vc" | "usevc" | "tcp" => self.switches.push(Switch::UseTcp),
            "edns0" => self.switches.push(Switch::Edns0),
            "trust-ad" => self.switches.push(Switch::TrustAd),
            "single-request" | "single-request-reopen" => self.switches.push(Switch::SingleRequest),
            _ => {}
        }
    }

    /// Whether an option is enabled.
    pub fn has(&self, switch: Switch) -> bool {
        self.switches.contains(&switch)
    }
}

/// Parses the names. Skips invalid ones.
fn names<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Name> {
    texts
        .take_while(|text| !text.starts_with(['#', ';']))
        .filter_map(|text| name::read(text).ok())
        .take(MOST_SEARCHED)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ResolvConf, Switch};
    use std::time::Duration;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text.as_bytes(), "host.domain.test")
    }

    fn servers(text: &str) -> Vec<String> {
        parse(text).servers.iter().map(|server| server.at.to_string()).collect()
    }

    fn search(text: &str) -> Vec<String> {
        parse(text).search.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_three_servers_count_and_a_bad_one_does_not() {
        let four = "nameserver 192.0.2.1\n nameserver 2001:db8::1\nnameserver ns.test\nnameserver\nnameserver 192.0.2.3\n\
                    nameserver 192.0.2.4\n";
        assert_eq!(servers(four), ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
        assert_eq!(
            servers("#nameserver 192.0.2.1\n;nameserver 192.0.2.1\n"),
            ["127.0.0.1:53", "[::1]:53"]
        );
        assert_eq!(servers(""), ["127.0.0.1:53", "[::1]:53"]);
    }

    #[test]
    fn a_server_may_have_a_zone() {
        let address = |text: &str| match &parse(text).servers[..] {
            [server] => server.address().map(|at| at.to_string()).unwrap_or_default(),
            several => format!("{} servers", several.len()),
        };
        assert_eq!(address("nameserver fe80::1%7"), "[fe80::1%7]:53");
        assert_eq!(address("nameserver fe80::1%lo"), "[fe80::1%1]:53");
        assert_eq!(address("nameserver fe80::1%no-such-if"), "", "it may come later");
        assert_eq!(address("nameserver 192.0.2.1%lo"), "2 servers", "those of loopback");
        assert_eq!(address("nameserver [fe80::1]"), "2 servers", "those of loopback");
    }

    #[test]
    fn the_last_search_or_domain_decides_and_one_bad_element_drops_no_other() {
        assert_eq!(search("search a.test b.test\n"), ["a.test.", "b.test."]);
        assert_eq!(search("search a.test\ndomain b.test c.test\n"), ["b.test."]);
        assert_eq!(search("domain b.test\nsearch a.test c.test.\n"), ["a.test.", "c.test."]);
        assert_eq!(
            search("search a.test bad..test _b.test # c.test\n"),
            ["a.test.", "_b.test."]
        );
        assert_eq!(search("search a.test b.test\nsearch\n"), ["a.test.", "b.test."]);
        assert_eq!(search("search\n"), ["domain.test."]);
    }

    #[test]
    fn the_domain_of_this_host_is_searched_only_without_a_search_list() {
        assert_eq!(search("nameserver 192.0.2.1\n"), ["domain.test."]);
        assert_eq!(search("search .\n"), [""; 0]);
        assert_eq!(ResolvConf::parse(b"", "host").search, []);
        assert_eq!(ResolvConf::parse(b"", "").search, []);
    }

    #[test]
    fn options_are_bounded_and_unknown_ones_change_nothing() {
        let conf =
            parse("options ndots:2 timeout:3 attempts:4 rotate use-vc edns0 trust-ad single-request no-aaaa x:y\n");
        assert_eq!(
            (conf.ndots, conf.timeout, conf.attempts),
            (2, Duration::from_secs(3), 4)
        );
        for switch in [
            Switch::Rotate,
            Switch::UseTcp,
            Switch::Edns0,
            Switch::TrustAd,
            Switch::SingleRequest,
        ] {
            assert!(conf.has(switch), "{switch:?}");
            assert!(!parse("").has(switch), "{switch:?}");
        }
        let conf = parse("options ndots:99 timeout:0 attempts:0\noptions timeout:nonsense\n");
        assert_eq!(
            (conf.ndots, conf.timeout, conf.attempts),
            (15, Duration::from_secs(1), 1)
        );
        let conf = parse("options timeout:99 attempts:99\n");
        assert_eq!((conf.timeout, conf.attempts), (Duration::from_secs(30), 5));
        assert_eq!(parse("options\n").ndots, 1);
    }
}
