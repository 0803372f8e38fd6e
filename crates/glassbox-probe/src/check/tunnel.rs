//! Tunnel: connects through a proxy with CONNECT (RFC 9110 section 9.3.6) or SOCKS 5 (RFC 1928, RFC 1929).

use super::http1::head::{HeadError, HeadLimits, HeadReader};
use super::layer::Layer;
use super::transport::OutOfOrder;
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use crate::secret::Secret;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::host_port::HostPort;
use glassbox_verdict::reason::Reason;
use http::HeaderMap;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Maximum size of a proxy's response header in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// Maximum number of header fields in a proxy's response.
const MOST_FIELDS: usize = 256;

/// Maximum number of interim responses before the final one.
const MOST_INTERIMS: usize = 20;

/// Protocol between the exporter and the proxy.
#[derive(Clone, Debug)]
pub enum Tunnel {
    /// `CONNECT host:port`, with these header fields.
    Connect(HeaderMap),
    /// SOCKS 5, optionally with a user name and a password.
    Socks5(Option<(String, Secret)>),
}

impl Check {
    /// Asks the connected proxy to open a connection to a host, given by name or address.
    ///
    /// # Errors
    /// Fails if the proxy refuses, or violates its protocol.
    pub async fn tunnel(&mut self, how: &Tunnel, to: &HostPort) -> Result<(), ProbeFailed> {
        match how {
            Tunnel::Connect(fields) => fields
                .iter()
                .for_each(|(name, value)| self.secrets.add_field(name, value)),
            Tunnel::Socks5(Some((_, password))) => self.secrets.add(password.reveal().as_bytes()),
            Tunnel::Socks5(None) => {}
        }
        self.stage(Stage::Tunnel, async |wire| {
            let layer = wire.transport.stream()?;
            match how {
                Tunnel::Connect(fields) => connect(layer, fields, to).await?,
                Tunnel::Socks5(user) => socks5(layer, user.as_ref(), to).await?,
            }
            // The TLS data so far was the proxy's.
            wire.facts.tls = None;
            wire.facts.tls_name = None;
            wire.times.ended = wire.trace.last_read();
            Ok::<_, TunnelError>(())
        })
        .await
    }
}

async fn connect(layer: &mut Layer, fields: &HeaderMap, to: &HostPort) -> Result<(), TunnelError> {
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
    for (name, value) in fields {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    layer.write_all(&request).await?;
    layer.flush().await?;
    match read_status(layer).await? {
        200..=299 => Ok(()),
        status => Err(TunnelError::Status(status)),
    }
}

/// The status of the final response.
async fn read_status(layer: &mut Layer) -> Result<u16, TunnelError> {
    let limits = HeadLimits {
        bytes: LONGEST_HEAD,
        fields: MOST_FIELDS,
    };
    for _ in 0..=MOST_INTERIMS {
        let mut reader = HeadReader::new(limits);
        let mut unread = Vec::new();
        // Reads byte by byte, because the data after the header does not come from the proxy.
        loop {
            unread.push(layer.read_u8().await?);
            let (taken, has_ended) = reader.advance(&unread).map_err(|error| match error {
                HeadError::Invalid(_) => TunnelError::Invalid("its response is not valid HTTP"),
                HeadError::TooLong(_) | HeadError::TooManyFields(_) => {
                    TunnelError::Invalid("its response header is too long")
                }
            })?;
            unread.drain(..taken);
            if has_ended {
                break;
            }
        }
        let status_line = reader.end().0.status_line;
        if !status_line.is_interim() {
            return Ok(status_line.status);
        }
    }
    Err(TunnelError::Invalid("it sent too many interim responses"))
}

async fn socks5(layer: &mut Layer, user: Option<&(String, Secret)>, to: &HostPort) -> Result<(), TunnelError> {
    const VERSION: u8 = 5;
    let methods: &[u8] = if user.is_some() {
        &[VERSION, 2, 0, 2]
    } else {
        &[VERSION, 1, 0]
    };
    say(layer, methods).await?;
    let mut chosen = [0; 2];
    layer.read_exact(&mut chosen).await?;
    match (chosen, user) {
        ([VERSION, 0], _) => {}
        ([VERSION, 2], Some((name, password))) => log_in(layer, name, password.reveal()).await?,
        ([VERSION, _], _) => return Err(TunnelError::Invalid("it requires an unsupported authentication method")),
        _ => return Err(TunnelError::Invalid("it does not support SOCKS 5")),
    }
    let mut request = vec![VERSION, 1, 0];
    let host = to.host().as_str();
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(3);
            request.extend(counted(host)?);
        }
    }
    request.extend(to.port().to_be_bytes());
    say(layer, &request).await?;
    let mut answer = [0; 4];
    layer.read_exact(&mut answer).await?;
    if answer[0] != VERSION {
        return Err(TunnelError::Invalid("it does not support SOCKS 5"));
    }
    if answer[1] != 0 {
        return Err(TunnelError::Socks(answer[1]));
    }
    let length = match answer[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(layer.read_u8().await?),
        _ => return Err(TunnelError::Invalid("its reply has an unknown address type")),
    };
    let mut bound = vec![0; length + 2];
    layer.read_exact(&mut bound).await?;
    Ok(())
}

/// Authenticates with user name and password (RFC 1929).
async fn log_in(layer: &mut Layer, name: &str, password: &str) -> Result<(), TunnelError> {
    let mut words = vec![1];
    words.extend(counted(name)?);
    words.extend(counted(password)?);
    say(layer, &words).await?;
    let mut answer = [0; 2];
    layer.read_exact(&mut answer).await?;
    if answer[1] == 0 {
        Ok(())
    } else {
        Err(TunnelError::LogIn)
    }
}

/// A text preceded by its length.
fn counted(text: &str) -> Result<Vec<u8>, TunnelError> {
    let length = u8::try_from(text.len()).map_err(|_| TunnelError::Invalid("a name exceeds 255 bytes"))?;
    Ok([&[length], text.as_bytes()].concat())
}

async fn say(layer: &mut Layer, bytes: &[u8]) -> io::Result<()> {
    layer.write_all(bytes).await?;
    layer.flush().await
}

enum TunnelError {
    OutOfOrder(OutOfOrder),
    Status(u16),
    Socks(u8),
    LogIn,
    Invalid(&'static str),
    Io(io::Error),
}

impl From<OutOfOrder> for TunnelError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl From<io::Error> for TunnelError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl StageError for TunnelError {
    fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder(_) => OutOfOrder::REASON,
            // Failures behind the proxy: network, host, refusal, TTL (RFC 1928 section 6).
            Self::Status(502..=504) | Self::Socks(3..=6) => Reason::ProxyTargetUnreachable,
            Self::Status(_) | Self::Socks(_) | Self::LogIn => Reason::ProxyRefused,
            Self::Invalid(_) | Self::Io(_) => Reason::ProxyFailed,
        }
    }

    fn detail(&self) -> String {
        /// Reply codes of RFC 1928 section 6.
        const SOCKS: [&str; 8] = [
            "general failure",
            "not allowed by its rules",
            "network unreachable",
            "host unreachable",
            "connection refused",
            "TTL expired",
            "command not supported",
            "address type not supported",
        ];
        match self {
            Self::OutOfOrder(error) => error.to_string(),
            Self::Status(status) => format!("The proxy returned {status} to CONNECT."),
            Self::Socks(code) => {
                let word = SOCKS
                    .get(usize::from(*code).wrapping_sub(1))
                    .unwrap_or(&"an unknown code");
                format!("The proxy refused the request: {word} ({code}).")
            }
            Self::LogIn => "The proxy rejected the user name or password.".to_owned(),
            Self::Invalid(words) => format!("The exchange with the proxy failed: {words}."),
            Self::Io(error) => format!("The exchange with the proxy failed: {error}."),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::ProxyFailed
    }
}
