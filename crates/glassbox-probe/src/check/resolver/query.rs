//! Sends one DNS query to one name server: over UDP, and again over TCP when the response is truncated.

use super::LookupError;
use super::message::{LookupQuestion, ReceivedMessage, Response};
use super::resolv_conf::{ResolvConf, Server, Switch};
use crate::check::dial;
use crate::check::rx_timestamps;
use crate::check::stall_detector::in_time;
use crate::check::transport::Datagrams;
use hickory_proto::rr::{Name, RecordType};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Maximum bytes to read from a datagram. This exceeds the size that a query allows.
const DATAGRAM: usize = 4096;

/// Time after which a query with EDNS is repeated without it. A firewall may drop only datagrams with EDNS.
const EDNS_PATIENCE: Duration = Duration::from_secs(1);

/// A query for one family of a name, with its deadline.
pub(super) struct LookupQuery<'a> {
    pub conf: &'a ResolvConf,
    pub name: &'a Name,
    pub kind: RecordType,
    pub deadline: Instant,
}

impl LookupQuery<'_> {
    fn question(&self, edns: bool) -> LookupQuestion {
        LookupQuestion::new(self.name, self.kind, edns, self.conf.has(Switch::TrustAd))
    }

    /// Deadline of one step. Each step has the full configured timeout, as in Go's resolver, within the probe's
    /// deadline.
    fn until(&self) -> Instant {
        (Instant::now() + self.conf.timeout).min(self.deadline)
    }

    /// Queries one server.
    pub async fn ask(&self, server: &Server) -> Result<Response, LookupError> {
        let at = server.address()?;
        let edns = self.conf.has(Switch::Edns0);
        if server.tcp || self.conf.has(Switch::UseTcp) {
            return self.over_tcp(at, edns).await;
        }
        let without_edns = edns.then(|| self.question(false));
        let response = self.over_udp(at, self.question(edns), without_edns).await?;
        if !response.truncated {
            return Ok(response);
        }
        match self.over_tcp(at, edns).await {
            // If TCP connections are blocked, a larger datagram may still pass.
            Err(error) if !edns => match self.over_udp(at, self.question(true), None).await {
                Ok(response) if !response.truncated => Ok(response),
                _ => Err(error),
            },
            answered => answered,
        }
    }

    /// Sends a query over UDP. If the query has an OPT record that is rejected or gets no response, `otherwise` is sent
    /// as well.
    async fn over_udp(
        &self,
        at: SocketAddr,
        first: LookupQuestion,
        mut otherwise: Option<LookupQuestion>,
    ) -> Result<Response, LookupError> {
        let datagrams = Datagrams {
            socket: dial::name_server_udp(at).await?,
            opened: Instant::now(),
        };
        let until = self.until();
        datagrams.socket.send(&first.bytes).await?;
        let mut asked = vec![first];
        let (mut buffer, mut stamp) = (vec![0; DATAGRAM], rx_timestamps::room());
        let mut unreadable = false;
        loop {
            let patience = match otherwise {
                Some(_) => until.min(datagrams.opened + EDNS_PATIENCE),
                None => until,
            };
            let received = in_time(patience, pin!(datagrams.receive(&mut buffer, &mut stamp))).await;
            let refused = match received {
                None if otherwise.is_none() => return Err(LookupError::silence(unreadable)),
                None => true,
                Some(received) => match read(&asked, &buffer[..received?.count]) {
                    // A rejected OPT record is not a result while the query without it is pending or not yet sent.
                    (ReceivedMessage::Response(response), true) if response.refuses_edns() => {
                        if otherwise.is_none() && asked.len() == 1 {
                            return Ok(response);
                        }
                        true
                    }
                    (ReceivedMessage::Response(response), _) => return Ok(response),
                    (ReceivedMessage::Malformed, _) => return Err(LookupError::malformed()),
                    // A datagram that does not match a query may be a forgery.
                    (ReceivedMessage::Foreign, _) => {
                        unreadable = true;
                        false
                    }
                },
            };
            if refused && let Some(plain) = otherwise.take() {
                datagrams.socket.send(&plain.bytes).await?;
                asked.push(plain);
            }
        }
    }

    /// Queries over a new TCP connection. A reused connection could be broken without notice.
    async fn over_tcp(&self, at: SocketAddr, edns: bool) -> Result<Response, LookupError> {
        let until = self.until();
        let question = self.question(edns);
        let exchange = async {
            let mut stream = dial::name_server_tcp(at).await?;
            stream.write_all(&question.with_length()).await?;
            let length = stream.read_u16().await?;
            let mut bytes = vec![0; length.into()];
            stream.read_exact(&mut bytes).await?;
            Ok::<_, LookupError>(bytes)
        };
        let bytes = in_time(until, pin!(exchange)).await;
        let bytes = bytes.ok_or_else(|| LookupError::silence(false))??;
        match question.read(&bytes) {
            ReceivedMessage::Response(response) if edns && response.refuses_edns() => {
                Box::pin(self.over_tcp(at, false)).await
            }
            ReceivedMessage::Response(response) => Ok(response),
            ReceivedMessage::Malformed | ReceivedMessage::Foreign => Err(LookupError::malformed()),
        }
    }
}

/// Parses a datagram as the response to one of the queries, and returns whether that query had an OPT record.
fn read(asked: &[LookupQuestion], bytes: &[u8]) -> (ReceivedMessage, bool) {
    let read = asked.iter().map(|question| (question.read(bytes), question.edns));
    read.into_iter()
        .find(|(received, _)| *received != ReceivedMessage::Foreign)
        .unwrap_or((ReceivedMessage::Foreign, false))
}
