//! A backend: a machine behind the edge to which the exporter can also send direct requests.

use crate::host_port::HostPort;
use std::collections::HashSet;
use std::fmt;

/// Maximum number of backends of one probe.
pub const MOST_BACKENDS: usize = 4;

/// Maximum number of members of one backend.
pub const MOST_MEMBERS: usize = 16;

/// Maximum length of a backend name.
const LONGEST_NAME: usize = 32;

/// One backend. Backends are listed from the outside in: the first one is directly behind the edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// The value of the label `backend`: `[a-z0-9_-]{1,32}`.
    pub name: String,
    /// Host and port to connect to. The host is an address or a name. The first member, if it is a pool.
    pub address: HostPort,
    /// The machines of a pool, each of which receives direct requests. Each address of a name is a machine. Empty for a
    /// single machine.
    pub members: Vec<HostPort>,
    /// Whether requests use TLS.
    pub tls: bool,
    /// Name for SNI and verification; defaults to the edge's.
    pub sni: Option<String>,
    /// Value of `Host`; defaults to the edge's.
    pub authority: Option<String>,
    /// Whether silence counts as a failure: the backend is known to be reachable from the exporter.
    pub reachable: bool,
    /// Whether it receives the module's credentials and header fields, because the module itself names it.
    pub trusted: bool,
}

/// Why a backend is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Invalid syntax.
    #[error(
        "{0:?} is not a valid backend: expected NAME@ADDR:PORT[;tls][;sni=NAME][;host=NAME], e.g. app@10.0.0.7:8080"
    )]
    Shape(String),
    /// The name has invalid characters or is too long.
    #[error("{0:?} is not a valid backend name: expected 1 to 32 characters of a-z, 0-9, _ and -")]
    Name(String),
    /// Invalid address.
    #[error("{0:?} is not a valid address: expected, e.g., 10.0.0.7:8080, [2001:db8::7]:8080 or app.internal:8080")]
    Address(String),
    /// Unknown option.
    #[error("{0:?} is not a valid backend option: expected tls, sni=NAME or host=NAME")]
    Option(String),
    /// Two backends have the same name.
    #[error("two backends are named {0:?}; each needs a unique name")]
    Twice(String),
    /// Too many members.
    #[error("there are {0} members; a backend supports at most {MOST_MEMBERS}")]
    TooManyMembers(usize),
    /// Two members have the same address.
    #[error("two members have the address {0:?}")]
    SameMember(String),
    /// Too many backends.
    #[error("there are {0} backends; a probe supports at most {MOST_BACKENDS}")]
    TooMany(usize),
}

impl Backend {
    /// Creates a backend without options.
    ///
    /// # Errors
    /// If the name or the address is invalid.
    pub fn new(name: &str, address: &str) -> Result<Self, BackendError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(letter) {
            return Err(BackendError::Name(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            address: parse_address(address)?,
            members: Vec::new(),
            tls: false,
            sni: None,
            authority: None,
            reachable: false,
            trusted: false,
        })
    }

    /// Creates a backend that is a pool of machines.
    ///
    /// # Errors
    /// If the name or an address is invalid, there are too many members, or two of them are the same.
    pub fn pool(name: &str, members: &[&str]) -> Result<Self, BackendError> {
        if members.len() > MOST_MEMBERS {
            return Err(BackendError::TooManyMembers(members.len()));
        }
        let first = members.first().copied().unwrap_or_default();
        let backend = Self::new(name, first)?;
        let members = members
            .iter()
            .map(|member| parse_address(member))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::new();
        if let Some(twice) = members.iter().find(|member| !seen.insert(*member)) {
            return Err(BackendError::SameMember(twice.to_string()));
        }
        Ok(Self { members, ..backend })
    }

    /// The same backend with one machine, which has this address.
    #[must_use]
    pub fn at(&self, address: HostPort) -> Self {
        Self {
            address,
            members: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether another backend is the same machine, or one of the machines, with the same options.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        (self.address == other.address || self.members.contains(&other.address))
            && self.tls == other.tls
            && self.sni == other.sni
            && self.authority == other.authority
    }

    /// Parses `NAME@ADDR:PORT[;tls][;sni=NAME][;host=NAME]`.
    fn read(text: &str) -> Result<Self, BackendError> {
        let mut parts = text.split(';');
        let (name, address) = parts
            .next()
            .and_then(|place| place.split_once('@'))
            .ok_or_else(|| BackendError::Shape(text.to_owned()))?;
        let mut backend = Self::new(name, address)?;
        for option in parts {
            match option.split_once('=') {
                None if option == "tls" => backend.tls = true,
                Some(("sni", name)) if !name.is_empty() => backend.sni = Some(name.to_owned()),
                Some(("host", name)) if !name.is_empty() => backend.authority = Some(name.to_owned()),
                _ => return Err(BackendError::Option(option.to_owned())),
            }
        }
        Ok(backend)
    }

    /// Parses the value of the parameter `backend`: backends separated by commas, from the outside in.
    ///
    /// # Errors
    /// The first problem in the value.
    pub fn read_all(text: &str) -> Result<Vec<Self>, BackendError> {
        let backends = text
            .split(',')
            .map(|backend| Self::read(backend.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        Self::check_all(&backends)?;
        Ok(backends)
    }

    /// Validates all of a probe's backends together.
    ///
    /// # Errors
    /// If there are too many, or two have the same name.
    pub fn check_all(backends: &[Self]) -> Result<(), BackendError> {
        if backends.len() > MOST_BACKENDS {
            return Err(BackendError::TooMany(backends.len()));
        }
        let mut names = HashSet::new();
        match backends.iter().find(|backend| !names.insert(&backend.name)) {
            Some(twice) => Err(BackendError::Twice(twice.name.clone())),
            None => Ok(()),
        }
    }
}

impl Backend {
    /// The backend's name and address. A different address with the same name is a different machine.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}@{self}", self.name)
    }

    /// The backend as the parameter `backend` contains it.
    #[must_use]
    pub fn written(&self) -> String {
        let option = |name: &str, value: &str| format!(";{name}={value}");
        let sni = self.sni.as_deref().map(|name| option("sni", name));
        let host = self.authority.as_deref().map(|name| option("host", name));
        let tls = if self.tls { ";tls" } else { "" };
        let [sni, host] = [sni, host].map(Option::unwrap_or_default);
        format!("{}{tls}{sni}{host}", self.place())
    }
}

/// The address in the form used to connect.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

fn parse_address(address: &str) -> Result<HostPort, BackendError> {
    let parsed = HostPort::parse_strict(address).ok().filter(is_dialable);
    parsed.ok_or_else(|| BackendError::Address(address.to_owned()))
}

/// Whether the port is not 0, and host and zone have only characters that need no quoting in labels and documents.
fn is_dialable(address: &HostPort) -> bool {
    let plain = |text: &str| {
        let mut bytes = text.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'))
    };
    let host = address.host();
    let has_plain_zone = host.zone().is_none_or(|zone| !zone.is_empty() && plain(zone));
    address.port() != 0 && plain(host.without_zone()) && has_plain_zone
}

#[cfg(test)]
mod tests {
    use super::{Backend, BackendError};

    #[test]
    fn a_backend_is_read_with_its_options() {
        let backends =
            Backend::read_all("lb@10.0.0.7:8080,app@[2001:db8::7]:443;tls;sni=a.example;host=b.example:8443").unwrap();
        assert_eq!(backends.len(), 2);
        assert_eq!(backends[0].to_string(), "10.0.0.7:8080");
        assert!(!backends[0].tls && backends[0].authority.is_none() && !backends[0].trusted);
        assert_eq!(backends[1].to_string(), "[2001:db8::7]:443");
        assert!(backends[1].tls);
        assert_eq!(backends[1].sni.as_deref(), Some("a.example"));
        assert_eq!(backends[1].authority.as_deref(), Some("b.example:8443"));
        let written: Vec<_> = backends.iter().map(Backend::written).collect();
        assert_eq!(Backend::read_all(&written.join(",")).unwrap(), backends);
        let zoned = &Backend::read_all("app@[fe80::7%eth0]:8080").unwrap()[0];
        assert_eq!(zoned.place(), "app@[fe80::7%eth0]:8080");
    }

    #[test]
    fn each_member_of_a_pool_is_a_machine_with_its_name_and_options() {
        let pool = Backend {
            tls: true,
            ..Backend::pool("app", &["10.0.0.7:8080", "10.0.0.8:8080"]).unwrap()
        };
        let machines: Vec<_> = pool.members.iter().map(|member| pool.at(member.clone())).collect();
        let written: Vec<_> = machines.iter().map(Backend::written).collect();
        assert_eq!(written, ["app@10.0.0.7:8080;tls", "app@10.0.0.8:8080;tls"]);
        assert!(machines.iter().all(|machine| pool.asks_as(machine)));
        assert!(!machines[0].asks_as(&machines[1]));
        let many: Vec<_> = (1..=17).map(|number| format!("10.0.0.{number}:80")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (members, expected) in [
            (&[] as &[&str], "is not a valid address"),
            (&["10.0.0.7:8080", "app"], "is not a valid address"),
            (&["10.0.0.7:8080", "10.0.0.7:8080"], "two members have the address"),
            (&many, "at most 16"),
        ] {
            let error = Backend::pool("app", members).unwrap_err();
            assert!(error.to_string().contains(expected), "{members:?}: {error}");
        }
    }

    #[test]
    fn what_is_no_backend_is_refused_with_what_would_be_right() {
        for (text, expected) in [
            ("", "is not a valid backend"),
            ("app", "is not a valid backend"),
            ("App@a:1", "is not a valid backend name"),
            ("app@a", "is not a valid address"),
            ("app@a:0", "is not a valid address"),
            ("app@a:70000", "is not a valid address"),
            ("app@::1:80", "is not a valid address"),
            ("app@a/b:80", "is not a valid address"),
            ("app@a%b:80", "is not a valid address"),
            ("app@[fe80::1%]:80", "is not a valid address"),
            ("app@[fe80::1%a b]:80", "is not a valid address"),
            ("app@[localhost]:80", "is not a valid address"),
            ("app@[10.0.0.7]:80", "is not a valid address"),
            ("app@u:p@a:80", "is not a valid address"),
            ("app@a:80;TLS", "is not a valid backend option"),
            ("app@a:80;sni=", "is not a valid backend option"),
            ("a@a:1,a@b:2", "two backends are named"),
            ("a@a:1,b@a:1,c@a:1,d@a:1,e@a:1", "at most 4"),
        ] {
            let error: BackendError = Backend::read_all(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
