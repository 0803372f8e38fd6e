//! The parts of a URL that the parsers share, and the errors of all of them.

use std::fmt;

/// Error of an invalid URL. It does not contain the URL, which may contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A byte below 0x20, or 0x7f.
    #[error("invalid URL: expected no control characters")]
    Control,
    /// `%` without two hexadecimal digits.
    #[error("invalid URL: expected two hexadecimal digits after each %")]
    Escape,
    /// Missing scheme, or a path that starts like a scheme.
    #[error("invalid URL: expected a scheme before the first colon")]
    Scheme,
    /// A scheme other than those of [`super::Scheme`].
    #[error("invalid scheme {0:?}: expected http or https")]
    OtherScheme(String),
    /// An unencoded byte that is not allowed in user names and passwords.
    #[error("invalid URL: expected user name and password to be percent-encoded")]
    User,
    /// A byte that is not allowed in a host, or an invalid address.
    #[error("invalid URL: expected a host name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// A port that is not a number from 0 to 65535.
    #[error("invalid URL: expected a port from 0 to 65535")]
    Port,
    /// Missing host.
    #[error("invalid URL: expected a host")]
    NoHost,
}

/// User name and password, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// User name; may be empty.
    pub name: Vec<u8>,
    /// Password; `None` without a colon.
    pub password: Option<Vec<u8>>,
}

/// The part of a URL between `//` and the path.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub user: Option<User>,
    /// Host and port, decoded, with an IPv6 address in brackets.
    pub host: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(…)")
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:?})", self.host)
    }
}
