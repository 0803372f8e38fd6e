//! Facts of protocols other than HTTP: TCP dialogue, DNS, ICMP echo, gRPC health.

/// One language each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolFacts {
    /// Lines, bytes or messages, as the module's `query_response` wants them.
    Dialogue(Dialogue),
    /// A DNS message (RFC 1035).
    Dns(DnsAnswer),
    /// An ICMP echo reply (RFC 792, RFC 4443).
    Echo(Echo),
    /// An answer of the gRPC health service.
    Health(Health),
}

/// How a dialogue went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// Steps that were done.
    pub steps: usize,
    /// What the peer said is not what the module expects.
    pub mismatch: Option<Mismatch>,
    /// The labels that steps made of what was said, each step's on their own.
    pub labels: Vec<Vec<(String, String)>>,
    /// The step that failed.
    pub failed: Option<FailedStep>,
    /// The code with which the server closed a WebSocket (RFC 6455 section 7.4), where it gave one.
    pub close_code: Option<u16>,
}

/// A step that failed, as it may be shown: bounded, printable, without what the module sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedStep {
    /// Its place in `query_response`, from 1.
    pub number: usize,
    /// The expression, or the bytes, that it waited for; none where it had received them.
    pub expected: Option<String>,
    /// The last lines or messages that it received instead.
    pub received: Vec<String>,
}

/// In which way what was said is not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// No line matches the expression.
    Regexp,
    /// The bytes are others.
    Bytes,
}

/// What a name server answered.
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
    /// The serial number of the zone, where it was asked for.
    pub serial: Option<u32>,
    /// The answer says that not all of it is there (TC).
    pub truncated: bool,
}

/// An echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The hop limit (TTL for IPv4) with which it arrived, where the kernel said.
    pub hop_limit: Option<u8>,
    /// Bytes of the payload.
    pub payload: usize,
}

/// What a health service said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The gRPC status code; 0 is OK.
    pub code: u32,
    /// The serving status, where the call succeeded: 0 `UNKNOWN`, 1 `SERVING`, 2 `NOT_SERVING`, 3 `SERVICE_UNKNOWN`.
    pub serving: Option<u32>,
}
