//! The two axes of a probe: stages are steps in time, links are places in space.

/// A step in time of one exchange, in the order in which a probe runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Resolve the name to addresses.
    Resolve,
    /// Open a socket to the chosen address.
    Connect,
    /// Open a tunnel through a proxy.
    Tunnel,
    /// Complete the TLS handshake and verify the certificate.
    Secure,
    /// Write the request, up to its last byte.
    Send,
    /// Wait for the first byte of the response.
    Wait,
    /// Read the response, up to its last byte.
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

    /// The value of the `phase` label: blackbox_exporter's values, plus `proxy` and `request`.
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
    /// The activity of the prober in this stage, such as "resolving the name".
    #[must_use]
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "opening the connection",
            Self::Tunnel => "opening a tunnel through the proxy",
            Self::Secure => "performing the TLS handshake",
            Self::Send => "sending the request",
            Self::Wait => "waiting for the response",
            Self::Receive => "reading the response",
        }
    }
}

/// A place in space, nearest first: the part of the chain to which a verdict attributes a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// The exporter's own resolver, uplink or configuration.
    Local,
    /// The target's DNS.
    Dns,
    /// The network between the exporter and the edge.
    Network,
    /// TLS at the edge.
    Tls,
    /// The machine at the target's address.
    Edge,
    /// The connection between a gateway and its backend.
    Upstream,
    /// The application.
    Origin,
    /// An accepted response whose content fails an assertion.
    Content,
    /// The evidence is inconclusive.
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

    /// The value of the `link` label.
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
