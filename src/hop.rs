//! A hop: a machine behind the front that the prober can also ask directly.

use std::collections::HashSet;
use std::fmt;

/// Hops of one probe, at most.
pub const MOST_HOPS: usize = 4;

/// Letters of a hop's name, at most.
const LONGEST_NAME: usize = 32;

/// One hop. Hops are listed inward: the first stands next behind the front.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The value of the label `hop`: `[a-z0-9_-]{1,32}`.
    pub name: String,
    /// Where to dial: an address or a name.
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// Whether it is asked over TLS.
    pub tls: bool,
    /// The name for SNI and verification; the front's where there is none.
    pub sni: Option<String>,
    /// The value of `Host`; the front's where there is none.
    pub authority: Option<String>,
    /// Whether silence of it is an answer: it is known to be reachable from here.
    pub reachable: bool,
    /// Whether it gets the module's credentials and header fields: the module itself names it.
    pub trusted: bool,
}

/// Why a text names no hop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HopError {
    /// The shape is wrong.
    #[error("{0:?} is no hop; write NAME@ADDRESS:PORT[;tls][;sni=NAME][;host=NAME], for example app@10.0.0.7:8080")]
    Shape(String),
    /// The name has other letters, or too many.
    #[error("{0:?} is no name for a hop; it has 1 to 32 of a-z, 0-9, _ and -")]
    Name(String),
    /// The address cannot be dialled.
    #[error("{0:?} is no address to dial; write 10.0.0.7:8080, [2001:db8::7]:8080 or app.internal:8080")]
    Address(String),
    /// An option that there is not.
    #[error("{0:?} is no option of a hop; there are tls, sni=NAME and host=NAME")]
    Option(String),
    /// A name that stands for two hops.
    #[error("two hops are named {0:?}; each needs a name of its own")]
    Twice(String),
    /// More than may be asked.
    #[error("there are {0} hops; a probe asks at most {MOST_HOPS}")]
    TooMany(usize),
}

impl Hop {
    /// A hop without options.
    ///
    /// # Errors
    /// When the name or the address cannot be one.
    pub fn new(name: &str, address: &str) -> Result<Self, HopError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(letter) {
            return Err(HopError::Name(name.to_owned()));
        }
        let (host, port) = split(address).ok_or_else(|| HopError::Address(address.to_owned()))?;
        Ok(Self {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            tls: false,
            sni: None,
            authority: None,
            reachable: false,
            trusted: false,
        })
    }

    /// Whether another is the same machine, asked in the same way.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        self.host == other.host
            && self.port == other.port
            && self.tls == other.tls
            && self.sni == other.sni
            && self.authority == other.authority
    }

    /// Reads `NAME@ADDR:PORT[;tls][;sni=NAME][;host=NAME]`.
    fn read(text: &str) -> Result<Self, HopError> {
        let mut parts = text.split(';');
        let (name, address) = parts
            .next()
            .and_then(|place| place.split_once('@'))
            .ok_or_else(|| HopError::Shape(text.to_owned()))?;
        let mut hop = Self::new(name, address)?;
        for option in parts {
            match option.split_once('=') {
                None if option == "tls" => hop.tls = true,
                Some(("sni", name)) if !name.is_empty() => hop.sni = Some(name.to_owned()),
                Some(("host", name)) if !name.is_empty() => hop.authority = Some(name.to_owned()),
                _ => return Err(HopError::Option(option.to_owned())),
            }
        }
        Ok(hop)
    }

    /// Reads the value of the parameter `hop`: hops with commas between them, inward.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read_all(text: &str) -> Result<Vec<Self>, HopError> {
        let hops = text
            .split(',')
            .map(|hop| Self::read(hop.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        Self::check_all(&hops)?;
        Ok(hops)
    }

    /// Checks what holds for all hops of a probe together.
    ///
    /// # Errors
    /// When there are too many, or two have the same name.
    pub fn check_all(hops: &[Self]) -> Result<(), HopError> {
        if hops.len() > MOST_HOPS {
            return Err(HopError::TooMany(hops.len()));
        }
        let mut names = HashSet::new();
        match hops.iter().find(|hop| !names.insert(&hop.name)) {
            Some(twice) => Err(HopError::Twice(twice.name.clone())),
            None => Ok(()),
        }
    }
}

impl Hop {
    /// Its name and address: another address under the same name is another machine.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}@{self}", self.name)
    }
}

/// The address as it is dialled.
impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Host without brackets, and port.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|host| host.contains(':'))?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    let dialable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(dialable)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::{Hop, HopError};

    #[test]
    fn a_hop_is_read_with_its_options() {
        let hops =
            Hop::read_all("lb@10.0.0.7:8080,app@[2001:db8::7]:443;tls;sni=a.example;host=b.example:8443").unwrap();
        assert_eq!(hops.len(), 2);
        assert_eq!(hops[0].to_string(), "10.0.0.7:8080");
        assert!(!hops[0].tls && hops[0].authority.is_none() && !hops[0].trusted);
        assert_eq!(hops[1].to_string(), "[2001:db8::7]:443");
        assert!(hops[1].tls);
        assert_eq!(hops[1].sni.as_deref(), Some("a.example"));
        assert_eq!(hops[1].authority.as_deref(), Some("b.example:8443"));
    }

    #[test]
    fn what_is_no_hop_is_refused_with_what_would_be_right() {
        for (text, expected) in [
            ("", "is no hop"),
            ("app", "is no hop"),
            ("App@a:1", "is no name for a hop"),
            ("app@a", "is no address"),
            ("app@a:0", "is no address"),
            ("app@a:70000", "is no address"),
            ("app@::1:80", "is no address"),
            ("app@a/b:80", "is no address"),
            ("app@u:p@a:80", "is no address"),
            ("app@a:80;TLS", "is no option"),
            ("app@a:80;sni=", "is no option"),
            ("a@a:1,a@b:2", "two hops are named"),
            ("a@a:1,b@a:1,c@a:1,d@a:1,e@a:1", "at most 4"),
        ] {
            let error: HopError = Hop::read_all(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
