//! The grpc prober: one call to the health service (`grpc.health.v1.Health/Check`) over HTTP/2.

mod file;

pub use file::GrpcFile;

mod gauges;
mod message;
mod status;

use super::endpoint::Endpoint;
use super::header_fields::host_field;
use super::{ClientOptions, InitialSeries, ProbeFuture, ProbeRequest, Prober, TlsOptions, Variant};
use crate::check::{
    AddressFamily, BodyPlan, Check, HttpRequest, KeptBody, ProbeFailed, Refusal, RequestMode, Resolver, Tls,
};
use crate::metrics::MetricPage;
use crate::policy::Origin;
use crate::secrets::Secrets;
use crate::target::{HttpUrl, Scheme, Target};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Health, ProtocolFacts, Reply, Report};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode;
use status::GrpcOutcome;
use std::sync::Arc;
use std::time::Duration;

/// Path of the call (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
const PATH: &str = "/grpc.health.v1.Health/Check";

/// Maximum response size in bytes. A valid response has only a few bytes.
const LARGEST: u64 = 64 * 1024;

/// Maximum length of the server's status message that is shown, in bytes.
const LONGEST_WORDS: usize = 256;

/// Settings of a grpc module, built from the configuration.
#[derive(Debug)]
pub struct GrpcProber {
    /// Address family of the target.
    pub family: AddressFamily,
    /// Resolver for the target's name.
    pub resolver: Arc<Resolver>,
    /// Name of the service to check; empty for the server as a whole.
    pub service: String,
    /// Whether the call goes over TLS.
    pub secured: bool,
    /// TLS settings. The files are re-read when they change.
    pub tls: Tls,
    /// Metadata of the call. The values may be secrets and are marked as sensitive.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
}

impl GrpcProber {
    async fn run(&self, check: &mut Check, requested: &ProbeRequest, variant: Variant<'_>) -> Result<(), ProbeFailed> {
        let place = self
            .place(requested, variant)
            .map_err(|refusal| check.refuse(refusal))?;
        let ask = self.ask(&place).map_err(|refusal| check.refuse(refusal))?;
        check.begin_exchange(place.url(if place.tls { "grpcs" } else { "grpc" }), place.tls);
        let to = place.resolve(check, &self.resolver, self.family).await?;
        check.connect(to).await?;
        let only_handshake = matches!(variant, Variant::Handshake(_));
        if place.tls || only_handshake {
            check.secure(&self.tls, &place.tls_name, false).await?;
        }
        if only_handshake {
            return Ok(());
        }
        let called = call(check, ask).await;
        let body = called.map_err(|stopped| check.failed_by_tls(stopped))?;
        let Some(reply) = check.reply() else {
            return Err(check.fail_without_reply());
        };
        let GrpcOutcome { health, objection } = status::of(reply, &body);
        let objection = objection.or_else(|| objection_to(health, reply, check.secrets()));
        check.note(ProtocolFacts::Health(health));
        objection.map_or(Ok(()), |(reason, words)| Err(check.fail(reason, words)))
    }

    /// The target is `host`, `host:port` or a URL. As in `blackbox_exporter`, only host and port of a URL are used.
    fn place(&self, requested: &ProbeRequest, variant: Variant<'_>) -> Result<Endpoint, Refusal> {
        let written = requested.target.written().trim();
        let lower = written.to_ascii_lowercase();
        let port = if self.secured { 443 } else { 80 };
        let target = if lower.starts_with("http://") || lower.starts_with("https://") {
            let url = HttpUrl::parse(written).map_err(|error| {
                Refusal::of_target(format!("{error}; expected a target such as example.org:50051."))
            })?;
            // Without a port in the URL, the module's port applies, regardless of the scheme.
            let port = url.written_port().unwrap_or(port);
            url.host_port().clone().with_port(port)
        } else {
            let parsed = requested.target.host_port(Some(port));
            parsed.map_err(|error| Refusal::of_target(format!("{error}.")))?
        };
        // As in `blackbox_exporter`, this prober ignores the parameter `hostname`.
        Ok(Endpoint::new(target, self.secured, self.tls.server_name(), variant))
    }

    fn ask(&self, place: &Endpoint) -> Result<HttpRequest, Refusal> {
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
        Ok(HttpRequest {
            method: Method::POST,
            scheme: if place.tls { Scheme::Https } else { Scheme::Http },
            target: PATH.into(),
            authority: host_field(&place.authority)?,
            headers,
            body: message::request(&self.service).into(),
            mode: RequestMode::Http2,
        })
    }
}

async fn call(check: &mut Check, ask: HttpRequest) -> Result<KeptBody, ProbeFailed> {
    check.send(ask).await?;
    check.wait().await?;
    check
        .receive(|reply| BodyPlan {
            read: true,
            keep: (reply.status == 200).then_some(LARGEST),
            judge: reply.status != 200,
            ..BodyPlan::default()
        })
        .await
}

fn objection_to(health: Health, reply: &Reply, secrets: &Secrets) -> Option<(Reason, String)> {
    match health.serving {
        Some(message::SERVING) => None,
        Some(status) => {
            let words = format!("The health service reports {}.", message::name(status));
            Some((Reason::GrpcNotServing, words))
        }
        None => {
            let said = words_of(&reply.trailers, secrets)
                .or_else(|| words_of(&reply.headers, secrets))
                .unwrap_or_default();
            let words = format!(
                "The call ended with {} ({}){said}.",
                status::code_name(health.code),
                health.code
            );
            Some((Reason::GrpcStatus, words))
        }
    }
}

/// The server's status message in quotes, without control characters and without secrets from the request.
fn words_of(fields: &HeaderMap, secrets: &Secrets) -> Option<String> {
    let bytes = fields.get("grpc-message")?.as_bytes();
    let text = percent_decode(bytes).decode_utf8_lossy().into_owned();
    let shown: String = secrets.shown(&text).chars().filter(|c| !c.is_control()).collect();
    Some(format!(": {:?}", &shown[..shown.floor_char_boundary(LONGEST_WORDS)]))
}

impl Prober for GrpcProber {
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(self.run(check, requested, variant))
    }

    fn host(&self, requested: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        Ok((self.place(requested, Variant::Original)?.host().to_owned(), self.family))
    }

    fn has_module_fields(&self, _: &ProbeRequest) -> bool {
        !self.metadata.is_empty()
    }

    fn origin(&self, requested: &ProbeRequest) -> Option<Origin> {
        Some(self.place(requested, Variant::Original).ok()?.origin("grpc"))
    }

    fn asks_by_hostname(&self) -> bool {
        false
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            tls: Some(TlsOptions::of(&self.tls)),
            ..ClientOptions::default()
        }
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration {
        gauges::write(report, page)
    }

    fn initial_series(&self, _: &Target) -> InitialSeries {
        InitialSeries::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, true),
            (Stage::Secure, self.secured),
            (Stage::Send, true),
            (Stage::Wait, true),
            (Stage::Receive, true),
        ])
    }
}
