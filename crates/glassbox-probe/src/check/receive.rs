//! Receive: reads the response header, then as much of the body as the prober needs.

use super::blocking::FairnessKey;
use super::body::{BodyError, BodyPlan, CancelGuard, Collector, KeptBody};
use super::http2::restore;
use super::layer::TracedStream;
use super::memory_limit::{NoMemory, ProbeMemory};
use super::pending_response::{PendingResponse, ResponseBody, ResponseHead};
use super::response_error::{ResponseError, ResponsePart, closed};
use super::transport::{DialogueConnection, OutOfOrder, Transport};
use super::wire::Wire;
use super::{Check, LATE_READING, ProbeFailed, StageError};
use crate::limits::Limits;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Deviation, Reply};
use http::HeaderMap;
use http_body_util::{BodyExt, Empty};
use hyper::body::Body;
use std::time::Instant;
use tokio::task::coop::consume_budget;

impl Check {
    /// Reads the response. After the head arrives, `plan` decides how to use the body.
    /// Returns the decoded bytes that the plan keeps.
    ///
    /// # Errors
    /// When the response is not HTTP, ends early, or exceeds a limit.
    pub async fn receive(&mut self, plan: impl FnOnce(&Reply) -> BodyPlan) -> Result<KeptBody, ProbeFailed> {
        let deadline = self.deadline().max(Instant::now() + LATE_READING);
        let limits = *self.limits();
        let host = self.context.host;
        self.stage(Stage::Receive, async |wire| {
            let Wire {
                facts,
                transport,
                trace,
                times,
                memory,
                ..
            } = wire;
            let pending = transport.pending()?;
            let flooded = || trace.interims() > limits.interim_responses;
            pending.advance_until(|answered| answered || flooded()).await;
            if flooded() {
                return Err(ReceiveError::Interims(limits.interim_responses));
            }
            let Some(head) = pending.take_head() else {
                let failure = pending.failure(trace);
                return Err(failure.map_or(OutOfOrder::RESPONSE_TAKEN.into(), ReceiveError::Head));
            };
            let size = take_in_head(&head.headers, &limits, memory)?;
            let is_framed = head.is_framed;
            let is_head = facts.method.as_deref() == Some("HEAD");
            let (reply, body, switched) = reply_of(head, size, is_head);
            let reply = facts.reply.insert(reply);
            let plan = plan(reply);
            let kept = if plan.read {
                let wanted = CancelGuard::new();
                let collector = Collector::new(plan, deadline, &wanted, memory).map_err(ReceiveError::Content)?;
                let lacks_body = || !is_head && trace.lacks_body();
                read_body(pending, body, (collector, host), reply, lacks_body).await?
            } else {
                Vec::new().into()
            };
            // The bytes that follow belong to another protocol, so the connection becomes a plain stream again.
            if let Some(switched) = switched {
                *transport = Transport::Dialogue(DialogueConnection::switched(switched, memory));
            }
            if let Some(reply) = &mut facts.reply {
                restore(&mut reply.trailers, &trace.deviations());
                times.ended = trace.answer_ended(is_framed);
                reply.overrun = reply.declared_length.is_some() && trace.has_deviation(Deviation::ExcessBytes);
            }
            Ok::<_, ReceiveError>(kept)
        })
        .await
    }

    /// Fails the probe because [`Check::reply`] is `None` after [`Check::receive`] has succeeded: a defect of the
    /// exporter.
    pub fn fail_without_reply(&mut self) -> ProbeFailed {
        self.fail(OutOfOrder::REASON, OutOfOrder::NO_RESPONSE.to_string())
    }
}

async fn read_body(
    pending: &mut PendingResponse,
    mut body: ResponseBody,
    (mut collector, host): (Collector, FairnessKey),
    reply: &mut Reply,
    lacks_body: impl Fn() -> bool,
) -> Result<KeptBody, ReceiveError> {
    while let Some(frame) = pending.alongside(body.frame()).await {
        let frame = frame.map_err(|error| ReceiveError::Body(error.into()))?;
        match frame.into_data() {
            Ok(bytes) => {
                let (with_it, taken) = collector
                    .decode_blocking(bytes, host)
                    .await
                    .map_err(ReceiveError::Content)?;
                collector = with_it;
                reply.body_length = collector.length();
                taken.map_err(ReceiveError::Content)?;
                // A body with many small pieces must not delay other probes.
                consume_budget().await;
            }
            Err(frame) => {
                if let Ok(fields) = frame.into_trailers() {
                    reply.trailers = fields;
                }
            }
        }
    }
    let finished = collector.finish();
    reply.body_start = collector.start().to_vec();
    reply.body_length = collector.length();
    if lacks_body() {
        return Err(ReceiveError::Incomplete);
    }
    finished.map_err(ReceiveError::Content)?;
    Ok(collector.into_kept())
}

/// Checks a head against its limits, accounts for its memory, and returns its size.
fn take_in_head(headers: &HeaderMap, limits: &Limits, memory: &ProbeMemory) -> Result<usize, ReceiveError> {
    let size = head_size(headers);
    if size > limits.response_head {
        return Err(ReceiveError::HeadTooLarge(size, limits.response_head));
    }
    let fields = headers.len();
    if fields > limits.response_fields {
        return Err(ReceiveError::TooManyFields(fields, limits.response_fields));
    }
    memory
        .keep(held_by_head(size, fields))
        .map_err(ReceiveError::NoMemory)?;
    Ok(size)
}

/// Memory that a head uses while its exchange is examined: its values, or their shared buffer, and one slot per field.
const fn held_by_head(size: usize, fields: usize) -> usize {
    size.next_multiple_of(8192) + fields * 120
}

/// Size of the fields of a head in HTTP/1.1 format, in bytes.
fn head_size(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum()
}

fn reply_of(
    head: ResponseHead,
    head_size: usize,
    is_head: bool,
) -> (Reply, ResponseBody, Option<(TracedStream, Vec<u8>)>) {
    // The response to HEAD declares the length of a body that it does not have.
    let framed = head.body.size_hint().exact().filter(|_| !is_head);
    let reply = Reply {
        status: head.status,
        version: head.version,
        declared_length: head.length.or(framed),
        reason_phrase: head.reason_phrase,
        headers: head.headers,
        head_size,
        ..Reply::default()
    };
    // HTTP/2 may send data after the head of a response to HEAD. Go does not read it.
    let body = if is_head && reply.version == "HTTP/2.0" {
        ResponseBody::new(Empty::new().map_err(|never| match never {}))
    } else {
        head.body
    };
    (reply, body, head.switched)
}

enum ReceiveError {
    OutOfOrder(OutOfOrder),
    HeadTooLarge(usize, usize),
    TooManyFields(usize, usize),
    Interims(usize),
    NoMemory(NoMemory),
    Head(ResponseError),
    Body(ResponseError),
    Incomplete,
    Content(BodyError),
}

impl From<OutOfOrder> for ReceiveError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl StageError for ReceiveError {
    fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder(_) => OutOfOrder::REASON,
            Self::HeadTooLarge(..) | Self::TooManyFields(..) => Reason::HttpResponseHeaderTooLarge,
            Self::Interims(_) => Reason::HttpResponseTooManyInterim,
            Self::NoMemory(_) => Reason::LocalOverloaded,
            Self::Head(error) => error.reason(ResponsePart::Head),
            Self::Body(error) => error.reason(ResponsePart::Body),
            Self::Incomplete => closed(ResponsePart::Body),
            Self::Content(error) => error.reason(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::OutOfOrder(error) => error.to_string(),
            Self::HeadTooLarge(size, limit) => format!("The response header has {size} bytes; the limit is {limit}."),
            Self::TooManyFields(fields, limit) => {
                format!("The response header has {fields} fields; the limit is {limit}.")
            }
            Self::Interims(limit) => format!("More than {limit} interim responses preceded the final one."),
            Self::NoMemory(no_memory) => format!("Cannot store the response header: {no_memory}."),
            Self::Head(error) | Self::Body(error) => error.detail(),
            Self::Incomplete => "The HTTP/2 stream ended before the response body was complete.".to_owned(),
            Self::Content(error) => error.to_string(),
        }
    }

    fn timed_out(wire: &Wire) -> Reason {
        match wire.facts.reply {
            Some(_) => Reason::HttpTimedOutMidBody,
            None => Reason::HttpTimedOutWaiting,
        }
    }
}
