//! Facts of protocols other than HTTP: TCP dialogue, DNS, ICMP echo, gRPC health.

/// Facts of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolFacts {
    /// Lines, bytes or messages, as the module's `query_response` expects them.
    Dialogue(Dialogue),
    /// A DNS message (RFC 1035).
    Dns(DnsAnswer),
    /// An ICMP echo reply (RFC 792, RFC 4443).
    Echo(Echo),
    /// A response of the gRPC health service.
    Health(Health),
}

/// Result of a dialogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// Number of completed steps.
    pub steps: usize,
    /// Mismatch between the received data and what the module expects.
    pub mismatch: Option<Mismatch>,
    /// Labels that the steps extracted from the received data, separately for each step.
    pub labels: Vec<Vec<(String, String)>>,
    /// The step that failed.
    pub failed: Option<FailedStep>,
    /// Code with which the server closed a WebSocket (RFC 6455 section 7.4), if it sent one.
    pub close_code: Option<u16>,
}

/// A failed step in a form that may be displayed: bounded, printable, without the data that the module sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedStep {
    /// Position of the step in `query_response`, starting at 1.
    pub number: usize,
    /// Expected expression or bytes; `None` if they were received.
    pub expected: Option<String>,
    /// Last lines or messages received instead.
    pub received: Vec<String>,
}

/// Kind of mismatch between received and expected data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// No line matches the expression.
    Regexp,
    /// The bytes differ.
    Bytes,
}

/// Response of a name server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsAnswer {
    /// The response code (RFC 6895 section 2.3).
    pub rcode: u16,
    /// Records in the answer section.
    pub answers: usize,
    /// Records in the authority section.
    pub authorities: usize,
    /// Records in the additional section.
    pub additionals: usize,
    /// Serial number of the zone, if it was requested.
    pub serial: Option<u32>,
    /// Whether the response is truncated (TC).
    pub truncated: bool,
}

/// An echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Hop limit (TTL for IPv4) of the received packet, if the kernel reported it.
    pub hop_limit: Option<u8>,
    /// Bytes of the payload.
    pub payload: usize,
}

/// Response of a health service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The gRPC status code; 0 is OK.
    pub code: u32,
    /// Serving status, if the call succeeded: 0 `UNKNOWN`, 1 `SERVING`, 2 `NOT_SERVING`, 3 `SERVICE_UNKNOWN`.
    pub serving: Option<u32>,
}
