//! The grpc prober: one call of the health service (`grpc.health.v1.Health/Check`), over HTTP/2.

mod gauges;
mod message;

use super::place::Place;
use super::{Aim, Prober, Probing, Resolving, Shape, Way};
use crate::chain::Stage;
use crate::check::{Ask, BodyPlan, Check, Family, Manner, Resolver, Stopped, Tls};
use crate::metrics::Page;
use crate::policy::Origin;
use crate::reason::Reason;
use crate::report::{Health, Reply, Report, Spoken};
use crate::target::Target;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The call (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
const PATH: &str = "/grpc.health.v1.Health/Check";

/// Bytes of an answer that are read: it is a few.
const LARGEST: u64 = 64 * 1024;

/// Bytes of the server's own words that are shown.
const LONGEST_WORDS: usize = 256;

/// What a grpc module does, composed from its configuration.
#[derive(Debug)]
pub struct GrpcSettings {
    /// Which addresses to take.
    pub family: Family,
    /// Whom to ask for them.
    pub resolver: Arc<Resolver>,
    /// The service whose health is asked for; empty for the server's as a whole.
    pub service: String,
    /// Whether the call goes over TLS.
    pub secured: bool,
    /// TLS, whose files are read again when they change.
    pub tls: Tls,
    /// The call's metadata. Values may be secrets: they are marked sensitive.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
}

impl GrpcSettings {
    async fn run(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<(), Stopped> {
        let place = self
            .place(aim, way)
            .map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
        let ask = self
            .ask(&place)
            .map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
        check.begin_leg(place.url(if place.tls { "grpcs" } else { "grpc" }), place.tls);
        let to = place.resolve(check, &self.resolver, self.family).await?;
        check.connect(to).await?;
        if place.tls {
            check.secure(&self.tls, &place.tls_name, false).await?;
        }
        if matches!(way, Way::Handshake(_)) {
            return Ok(());
        }
        check.send(ask).await?;
        check.wait().await?;
        let body = check
            .receive(|reply| BodyPlan {
                read: true,
                keep: (reply.status == 200).then_some(LARGEST),
                judge: reply.status != 200,
                ..BodyPlan::default()
            })
            .await?;
        let Some(reply) = check.reply() else {
            return Err(check.refuse(Reason::GrpcInvalid, "There is no answer to judge."));
        };
        match judge(reply, &body) {
            Ok(health) => {
                let objection = objection(health, reply);
                check.note(Spoken::Health(health));
                objection.map_or(Ok(()), |(reason, words)| Err(check.refuse(reason, words)))
            }
            Err((reason, words)) => Err(check.refuse(reason, words)),
        }
    }

    /// The target is `host`, `host:port`, or a URL of which only that counts, as with the peer.
    fn place(&self, aim: &Aim, way: Way<'_>) -> Result<Place, String> {
        let written = aim.target.written().trim();
        let lower = written.to_ascii_lowercase();
        let bare = if lower.starts_with("http://") || lower.starts_with("https://") {
            let url =
                Url::parse(written).map_err(|error| format!("{error}; a target here looks like example.org:50051."))?;
            Target::new(&url[url::Position::BeforeHost..url::Position::AfterPort])
        } else {
            aim.target.clone()
        };
        let server_name = self.tls.server_name();
        let port = if self.secured { 443 } else { 80 };
        Place::new(
            &Aim {
                target: bare,
                ..aim.clone()
            },
            Some(port),
            self.secured,
            server_name,
            way,
        )
    }

    fn ask(&self, place: &Place) -> Result<Ask, String> {
        let scheme = if place.tls { "https" } else { "http" };
        let url = place.url(scheme) + PATH;
        let url = Url::parse(&url).map_err(|error| format!("{error}."))?;
        let authority = HeaderValue::from_str(url.authority());
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
            (TE, HeaderValue::from_static("trailers")),
            (
                USER_AGENT,
                HeaderValue::from_static(concat!("glassbox_exporter/", env!("CARGO_PKG_VERSION"))),
            ),
        ]);
        if place.trusted {
            for (name, value) in &self.metadata {
                headers.append(name, value.clone());
            }
        }
        Ok(Ask {
            method: Method::POST,
            url,
            authority: authority.map_err(|_| "The host cannot be written in a header.".to_owned())?,
            headers,
            body: message::request(&self.service).into(),
            manner: Manner::Http2,
        })
    }
}

/// What an answer says of the service's health (gRPC over HTTP/2: the status stands in the trailers, or in the head of an
/// answer that has nothing else).
fn judge(reply: &Reply, body: &[u8]) -> Result<Health, (Reason, String)> {
    if reply.status != 200 {
        return Err((
            Reason::HttpStatus,
            format!("The answer has the status {}.", reply.status),
        ));
    }
    let number = |fields: &HeaderMap| fields.get("grpc-status")?.to_str().ok()?.parse().ok();
    let Some(code) = number(&reply.trailers).or_else(|| number(&reply.headers)) else {
        let words = "The answer has no grpc-status: it is not one of a gRPC server.";
        return Err((Reason::GrpcInvalid, words.to_owned()));
    };
    let serving = match code {
        0 => Some(message::status(body).ok_or_else(|| {
            let words = "The answer holds no message of the health service.";
            (Reason::GrpcInvalid, words.to_owned())
        })?),
        _ => None,
    };
    Ok(Health { code, serving })
}

fn objection(health: Health, reply: &Reply) -> Option<(Reason, String)> {
    match health.serving {
        Some(message::SERVING) => None,
        Some(status) => {
            let words = format!("The service says {}.", message::name(status));
            Some((Reason::GrpcNotServing, words))
        }
        None => {
            let said = words_of(&reply.trailers)
                .or_else(|| words_of(&reply.headers))
                .unwrap_or_default();
            let words = format!(
                "The call ended with {} ({}){said}.",
                code_name(health.code),
                health.code
            );
            Some((Reason::GrpcStatus, words))
        }
    }
}

/// What the server says itself, in quotes and without control characters.
fn words_of(fields: &HeaderMap) -> Option<String> {
    let bytes = fields.get("grpc-message")?.as_bytes();
    let text = percent_decode(bytes).decode_utf8_lossy().into_owned();
    let shown: String = text.chars().filter(|c| !c.is_control()).collect();
    Some(format!(": {:?}", crate::limits::cut(&shown, LONGEST_WORDS)))
}

/// The names of gRPC's status codes.
fn code_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let place = usize::try_from(code).unwrap_or(usize::MAX);
    NAMES.get(place).copied().unwrap_or("an unknown code")
}

impl Prober for GrpcSettings {
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim, way: Way<'a>) -> Probing<'a> {
        Box::pin(self.run(check, aim, way))
    }

    fn addresses<'a>(&'a self, check: &'a mut Check, aim: &'a Aim) -> Resolving<'a> {
        Box::pin(async move {
            let place = self.place(aim, Way::Asked);
            let place = place.map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
            check.resolve_all(&self.resolver, &place.host, self.family).await
        })
    }

    fn has_own_fields(&self, _: &Aim) -> bool {
        !self.metadata.is_empty()
    }

    fn origin(&self, aim: &Aim) -> Option<Origin> {
        Some(self.place(aim, Way::Asked).ok()?.origin("grpc"))
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut Page) -> Duration {
        gauges::write(report, page)
    }

    fn shape(&self, _: &Target) -> Shape {
        Shape::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, true),
            (Stage::Secure, self.secured),
            (Stage::Send, true),
            (Stage::Wait, true),
            (Stage::Receive, true),
        ])
    }
}
