//! The two axes of a probe: stages are steps in time, links are places in space.

/// A step in time of one exchange, in the order in which a probe takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Turn the name into addresses.
    Resolve,
    /// Open a socket to the chosen address.
    Connect,
    /// Ask a proxy for a way through.
    Tunnel,
    /// Shake hands and judge the certificate.
    Secure,
    /// Write the request, to its last byte.
    Send,
    /// Wait for the first byte of the answer.
    Wait,
    /// Read the answer, to its last byte.
    Receive,
}

impl Stage {
    /// Every stage, in time order.
    pub const ALL: [Self; 7] = [
        Self::Resolve,
        Self::Connect,
        Self::Tunnel,
        Self::Secure,
        Self::Send,
        Self::Wait,
        Self::Receive,
    ];

    /// The value of the label `phase`: the peer's words, and `proxy` and `request` where it has none.
    #[must_use]
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tunnel => "proxy",
            Self::Secure => "tls",
            Self::Send => "request",
            Self::Wait => "processing",
            Self::Receive => "transfer",
        }
    }
}

impl Stage {
    /// What the prober does in it, as "resolving the name".
    #[must_use]
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "opening the connection",
            Self::Tunnel => "asking the proxy for a way through",
            Self::Secure => "shaking hands for TLS",
            Self::Send => "sending the request",
            Self::Wait => "waiting for the answer",
            Self::Receive => "reading the answer",
        }
    }
}

/// A place in space, nearest first: what a verdict blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Our own side: resolver, uplink, configuration.
    Local,
    /// The name service of the target.
    Dns,
    /// The network between us and the edge.
    Network,
    /// The edge's TLS.
    Tls,
    /// The machine at the address.
    Edge,
    /// Between a gateway and its backend.
    Upstream,
    /// The application.
    Origin,
    /// An accepted answer whose content fails an assertion.
    Content,
    /// The evidence does not decide.
    Unknown,
}

impl Link {
    /// Every link, nearest first.
    pub const ALL: [Self; 9] = [
        Self::Local,
        Self::Dns,
        Self::Network,
        Self::Tls,
        Self::Edge,
        Self::Upstream,
        Self::Origin,
        Self::Content,
        Self::Unknown,
    ];

    /// The value of the label `link`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Dns => "dns",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Edge => "edge",
            Self::Upstream => "upstream",
            Self::Origin => "origin",
            Self::Content => "content",
            Self::Unknown => "unknown",
        }
    }
}
