//! Receive: the head of the answer, then its body as far as the prober wants it.

use super::body::{BodyError, BodyPlan, Collector, Wanted};
use super::dialogue::Line;
use super::exchange::{AnswerBody, Exchange, ExchangeError, Part};
use super::wire::Wire;
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::reason::Reason;
use crate::report::Reply;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version, response};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use hyper::upgrade;
use std::time::Instant;

impl Check {
    /// Reads the answer. Once its head is there, `plan` says what the body is for.
    /// Gives the bytes that the plan wanted to keep, decoded.
    ///
    /// # Errors
    /// When the answer is not HTTP, ends early, or breaks a limit.
    pub async fn receive(&mut self, plan: impl FnOnce(&Reply) -> BodyPlan) -> Result<Vec<u8>, Stopped> {
        let deadline = self.deadline();
        let limits = *self.limits();
        self.stage(Stage::Receive, async |wire| {
            let Wire {
                leg,
                line,
                exchange,
                tape,
                times,
                ..
            } = wire;
            let exchange = exchange.as_mut().ok_or(ReceiveError::NotSent)?;
            let flooded = || tape.interims() > limits.interim_responses;
            exchange.advance_until(|answered| answered || flooded()).await;
            if flooded() {
                return Err(ReceiveError::Interims(limits.interim_responses));
            }
            let Some(mut head) = exchange.take_head() else {
                return Err(exchange.failure(tape).map_or(ReceiveError::NotSent, ReceiveError::Head));
            };
            let switched = (head.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| upgrade::on(&mut head));
            let (parts, body) = head.into_parts();
            let size = head_size(&parts);
            if size > limits.response_head {
                return Err(ReceiveError::HeadTooLarge(size, limits.response_head));
            }
            let fields = parts.headers.len();
            if fields > limits.response_fields {
                return Err(ReceiveError::TooManyFields(fields, limits.response_fields));
            }
            // The answer to HEAD is as long as it says, and has no body that would say more.
            let is_head = leg.method.as_deref() == Some("HEAD");
            let reply = reply_of(parts, size, body.size_hint().exact().filter(|_| !is_head));
            if is_head && reply.declared_length.is_none() && reply.headers.contains_key(CONTENT_LENGTH) {
                return Err(ReceiveError::NoLength);
            }
            let reply = leg.reply.insert(reply);
            let plan = plan(reply);
            let kept = if plan.read {
                read_body(exchange, body, plan, deadline, reply).await?
            } else {
                Vec::new()
            };
            if let Some(switched) = switched {
                // What is spoken from here on is no HTTP: the connection is a line again, with what came behind the head.
                let upgraded = exchange
                    .alongside(switched)
                    .await
                    .map_err(|error| ReceiveError::Head(error.into()))?;
                *line = Line::switched(upgraded);
            }
            if let Some(reply) = &mut leg.reply {
                times.ended = tape.answer_ended(is_framed(reply));
                reply.overrun = overran(reply, tape.after_head());
            }
            Ok::<_, ReceiveError>(kept)
        })
        .await
    }
}

async fn read_body(
    exchange: &mut Exchange,
    mut body: AnswerBody,
    plan: BodyPlan,
    deadline: Instant,
    reply: &mut Reply,
) -> Result<Vec<u8>, ReceiveError> {
    let wanted = Wanted::new();
    let mut collector = Collector::new(plan, deadline, &wanted).map_err(ReceiveError::Content)?;
    while let Some(frame) = exchange.alongside(body.frame()).await {
        let frame = frame.map_err(|error| ReceiveError::Body(error.into()))?;
        match frame.into_data() {
            Ok(bytes) => {
                let (with_it, taken) = collector.take_aside(bytes).await.map_err(ReceiveError::Content)?;
                collector = with_it;
                reply.body_length = collector.length();
                taken.map_err(ReceiveError::Content)?;
            }
            Err(frame) => {
                if let Ok(fields) = frame.into_trailers() {
                    reply.trailers = fields;
                }
            }
        }
    }
    reply.body_start = collector.start().to_vec();
    let (kept, decoded) = collector.end().map_err(ReceiveError::Content)?;
    reply.body_length = decoded;
    Ok(kept)
}

/// Whether the answer itself says where it ends, not the end of the stream.
fn is_framed(reply: &Reply) -> bool {
    let codings = reply.headers.get_all(TRANSFER_ENCODING).iter();
    let last = codings
        .filter_map(|value| value.to_str().ok()?.rsplit(',').next())
        .next_back();
    let is_chunked = last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
    reply.declared_length.is_some() || matches!(reply.version, "HTTP/2.0" | "HTTP/3.0") || is_chunked
}

/// Whether more came than `Content-Length` says. Only where the field frames the body: an answer to HEAD has none.
fn overran(reply: &Reply, after_head: Option<u64>) -> bool {
    if reply.headers.contains_key(TRANSFER_ENCODING) {
        return false;
    }
    let said = reply
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    said.zip(after_head).is_some_and(|(said, came): (u64, u64)| came > said)
}

/// The fields of a head as HTTP/1.1 writes them. hyper's own bound is on its buffer, which may be twice as large.
fn head_size(parts: &response::Parts) -> usize {
    let fields = parts.headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum()
}

fn reply_of(parts: response::Parts, head_size: usize, framed_length: Option<u64>) -> Reply {
    Reply {
        status: parts.status.as_u16(),
        version: match parts.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_3 => "HTTP/3.0",
            _ => "HTTP/1.1",
        },
        declared_length: parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .or(framed_length),
        reason_phrase: parts
            .extensions
            .get::<ReasonPhrase>()
            .map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned()),
        headers: parts.headers,
        head_size,
        trailers: HeaderMap::new(),
        body_length: 0,
        overrun: false,
        body_start: Vec::new(),
    }
}

enum ReceiveError {
    NotSent,
    HeadTooLarge(usize, usize),
    TooManyFields(usize, usize),
    Interims(usize),
    NoLength,
    Head(ExchangeError),
    Body(ExchangeError),
    Content(BodyError),
}

impl Failure for ReceiveError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotSent => Reason::HttpFailed,
            Self::HeadTooLarge(..) | Self::TooManyFields(..) => Reason::HttpResponseHeaderTooLarge,
            Self::Interims(_) => Reason::HttpResponseTooManyInterim,
            Self::NoLength => Reason::HttpResponseInvalid,
            Self::Head(error) => error.reason(Part::Head),
            Self::Body(error) => error.reason(Part::Body),
            Self::Content(error) => error.reason(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotSent => "There was no answer to read.".to_owned(),
            Self::HeadTooLarge(size, limit) => format!("The response head has {size} bytes; the limit is {limit}."),
            Self::TooManyFields(fields, limit) => {
                format!("The response head has {fields} fields; the limit is {limit}.")
            }
            Self::Interims(limit) => format!("More than {limit} interim responses came before the final one."),
            Self::NoLength => "The Content-Length is no number.".to_owned(),
            Self::Head(error) | Self::Body(error) => error.detail(),
            Self::Content(error) => error.to_string(),
        }
    }

    fn timed_out(wire: &Wire) -> Reason {
        match wire.leg.reply {
            Some(_) => Reason::HttpTimedOutMidBody,
            None => Reason::HttpTimedOutWaiting,
        }
    }
}
