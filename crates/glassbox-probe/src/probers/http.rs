//! The http prober: one request, its redirects, and the assertions on the final response.

mod build;
mod file;
mod keys;
mod token_request;

pub use keys::HttpFile;

mod assertions;
mod body_assertions;
mod cel_assertions;
mod cel_limits;
mod cookies;
mod cross_origin;
mod functions;
mod gauges;
mod http_date;
mod json_text;
mod oauth;
mod request;
mod route;
mod settings;
mod versions;

pub use body_assertions::BodyAssertions;
pub use cel_assertions::{Expression, JsonAssertions};
pub use oauth::{Algorithm, Grant, OAuth2, Signing};
pub use settings::{HeaderAssertion, HttpProber, RequestBody};
pub use versions::Versions;

use super::{BodyOption, ClientOptions, InitialSeries, ProbeFuture, ProbeRequest, Prober, TlsOptions, Variant};
use crate::check::{AddressFamily, BodyPlan, Check, Coding, KeptBody, ProbeFailed, Refusal, Resolver};
use crate::limits::Limits;
use crate::metrics::MetricPage;
use crate::policy::Origin;
use crate::target::{HttpUrl, Scheme, Target};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Reply, Report, RequestParts};
use request::{ModuleFields, Visit};
use route::Route;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The status codes that are counted from 0 for every key, in addition to the module's valid codes.
const KNOWN_CODES: [u16; 8] = [200, 301, 302, 404, 500, 502, 503, 504];

impl HttpProber {
    async fn run(&self, check: &mut Check, requested: &ProbeRequest, variant: Variant<'_>) -> Result<(), ProbeFailed> {
        let mut visit = self.first_visit(check, requested, variant).await?;
        match variant {
            // Rare variants are boxed, here and below: many probes wait at the same time, and each future should stay
            // small.
            Variant::Handshake(_) => return Box::pin(self.shake_hands(check, &visit)).await,
            Variant::Refusable if self.is_relayed(&visit) => {
                let words = "The proxy would answer this request instead of the edge.";
                return Err(check.fail(Reason::LocalTargetInvalid, words));
            }
            Variant::Refusable => return self.exchange(check, &visit, false).await.map(drop),
            _ => {}
        }
        let mut redirects = 0;
        loop {
            let follow = self.follow_redirects && redirects < check.limits().redirects;
            let body = self.exchange(check, &visit, follow).await?;
            if let (Some(401), Some(tokens), Some(sent)) = (
                check.reply().map(|reply| reply.status),
                &self.oauth2,
                visit.authorization(),
            ) {
                tokens.forget(sent);
            }
            let Some(reply) = check.reply() else {
                return Err(check.fail_without_reply());
            };
            visit.take_cookies(reply);
            match visit.redirected(reply) {
                // A direct request to a backend ends at a redirect that leaves the backend.
                Some(Ok(next)) if matches!(variant, Variant::Backend(_)) && !next.stays_with(&visit) => return Ok(()),
                Some(next) if follow => {
                    visit = next.map_err(|refusal| check.refuse(refusal))?;
                    check.redirected_to(&Origin::of(visit.url()))?;
                    redirects += 1;
                }
                onward => {
                    let endless = Some(redirects).filter(|_| onward.is_some() && self.follow_redirects);
                    let took = check.answer_time();
                    let https = (!matches!(variant, Variant::Backend(_))).then(|| visit.is_https());
                    let objection = match self.objection_to_head(reply, endless) {
                        None => {
                            let (work_limits, most_values) = (check.work_limits(), check.limits().json_values);
                            self.body_assertions.objection(body, most_values, work_limits).await
                        }
                        objection => objection,
                    };
                    let objection = objection.or_else(|| self.objection_to_protocol(reply, https));
                    return match objection.or_else(|| self.objection_to_time(took)) {
                        None => Ok(()),
                        Some((reason, detail)) => Err(check.fail(reason, detail)),
                    };
                }
            }
        }
    }

    async fn first_visit(
        &self,
        check: &mut Check,
        requested: &ProbeRequest,
        variant: Variant<'_>,
    ) -> Result<Visit, ProbeFailed> {
        let own = self.own(Instant::now() + check.left()).await;
        let mut own = own.map_err(|refusal| check.refuse(refusal))?;
        // A request without the module's header fields does not need a token.
        let trusted = !matches!(variant, Variant::Refusable | Variant::Handshake(_))
            && !matches!(variant, Variant::Backend(backend) if !backend.trusted);
        if let Some(tokens) = self.oauth2.as_ref().filter(|_| trusted) {
            own.authorization = Some(Box::pin(tokens.header(check)).await?);
        }
        let visit = Visit::first(self, requested, own).and_then(|visit| visit.by(variant));
        visit.map_err(|refusal| check.refuse(refusal))
    }

    /// Reads the module's files for this probe.
    async fn own(&self, until: Instant) -> Result<ModuleFields, Refusal> {
        Ok(ModuleFields {
            authorization: match &self.credentials {
                None => None,
                Some(credentials) => Some(credentials.header(until).await?),
            },
            fields: self.fields.all(until).await?,
            body: self.body.bytes(until).await?,
        })
    }

    /// Whether the request itself is sent to a proxy.
    fn is_relayed(&self, visit: &Visit) -> bool {
        let proxy = self.proxies.of(visit.url(), visit.own_host(), None);
        !visit.is_https() && proxy.is_some_and(|proxy| !proxy.tunnels_all())
    }

    async fn shake_hands(&self, check: &mut Check, visit: &Visit) -> Result<(), ProbeFailed> {
        check.begin_exchange(visit.url().shown(), true);
        let to = check
            .resolve_host_port(&self.resolver, visit.place(), self.family)
            .await?;
        if visit.versions() == Versions::Http3 {
            return check.secure_quic(&self.tls, visit.tls_name(), to).await;
        }
        check.connect(to).await?;
        check.secure(&self.tls, visit.tls_name(), true).await
    }

    /// Runs one exchange. A probe spends most of its time waiting, so futures that are rarely needed are boxed and
    /// exist only while they run.
    async fn exchange(&self, check: &mut Check, visit: &Visit, follow: bool) -> Result<KeptBody, ProbeFailed> {
        check.begin_exchange(visit.url().shown(), visit.is_https());
        let relay = Box::pin(self.route(visit).open(check)).await?;
        let ask = visit.ask(relay.as_ref());
        let ask = ask.map_err(|refusal| check.refuse(refusal))?;
        check.secrets_mut().add_body(&ask.body);
        check.set_parts(RequestParts {
            module_fields: !visit.is_stripped(),
            body: !ask.body.is_empty(),
        });
        Box::pin(check.send(ask)).await?;
        check.wait().await?;
        let limits = *check.limits();
        Box::pin(check.receive(|reply| self.body_plan(visit, reply, follow, &limits))).await
    }

    fn route<'a>(&'a self, visit: &'a Visit) -> Route<'a> {
        Route {
            url: visit.url(),
            place: visit.place(),
            own_host: visit.own_host(),
            direct: visit.goes_to_backend(),
            resolver: &self.resolver,
            // An IP address is accepted regardless of the configured address family.
            family: AddressFamily {
                fallback: self.family.fallback || visit.dials_elsewhere(),
                ..self.family
            },
            proxies: &self.proxies,
            tls: &self.tls,
            tls_name: visit.tls_name(),
            versions: visit.versions(),
        }
    }

    /// The target as a URL. HTTP/3 requires https; as in `blackbox_exporter`, an http target becomes an https target.
    fn url(&self, target: &Target) -> Result<HttpUrl, Refusal> {
        let url = target
            .http_url()
            .map_err(|error| Refusal::of_target(format!("{error}.")))?;
        Ok(if self.versions == Versions::Http3 {
            url.on_port_of(Scheme::Https)
        } else {
            url
        })
    }

    /// The body of a redirect is read only if it is matched. The body of a response that has already failed is read
    /// but not kept.
    fn body_plan(&self, visit: &Visit, reply: &Reply, follow: bool, limits: &Limits) -> BodyPlan {
        let redirects = visit.redirected(reply).is_some();
        let moves_on = redirects && follow;
        let refused = self.objection_to_head(reply, None).is_some();
        let to_match = !moves_on && !self.body_assertions.is_empty() && !refused;
        BodyPlan {
            read: !redirects || to_match,
            coding: self.compression,
            keep: to_match.then_some(limits.matched_body),
            limit: self.body_size_limit,
            judge: refused && !moves_on,
        }
    }
}

impl Prober for HttpProber {
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(self.run(check, requested, variant))
    }

    fn host(&self, requested: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        let visit = Visit::first(self, requested, ModuleFields::default())?;
        Ok((visit.place().host().without_zone().to_owned(), self.family))
    }

    fn has_module_fields(&self, requested: &ProbeRequest) -> bool {
        let plain =
            Visit::first(self, requested, ModuleFields::default()).is_ok_and(|visit| !visit.has_module_fields());
        self.credentials.is_some()
            || self.oauth2.is_some()
            || !self.fields.is_empty()
            || !self.body.is_empty()
            || !plain
    }

    fn client_options(&self) -> ClientOptions {
        let named = self.headers.iter().map(|(name, _)| name);
        let named = named.chain(self.fields.0.iter().map(|(name, _)| name));
        let mut headers: Vec<String> = named.map(ToString::to_string).collect();
        if self.credentials.is_some() || self.oauth2.is_some() {
            headers.push(http::header::AUTHORIZATION.to_string());
        }
        headers.sort_unstable();
        headers.dedup();
        ClientOptions {
            tls: Some(TlsOptions::of(&self.tls)),
            headers,
            body: match &self.body {
                RequestBody::File(file) => BodyOption::File(file.path().display().to_string()),
                body if body.is_empty() => BodyOption::None,
                RequestBody::Bytes(_) => BodyOption::Configured,
            },
            decodes: self.compression != Coding::Identity,
            is_http1_only: self.versions == Versions::Http1,
        }
    }

    fn origin(&self, requested: &ProbeRequest) -> Option<Origin> {
        self.url(&requested.target).ok().map(|url| Origin::of(&url))
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration {
        gauges::write(self, report, page)
    }

    fn initial_series(&self, target: &Target) -> InitialSeries {
        let https = self.versions == Versions::Http3 || target.is_https();
        let mut codes = KNOWN_CODES.to_vec();
        codes.extend(&self.valid_status_codes);
        codes.sort_unstable();
        codes.dedup();
        InitialSeries {
            stages: Stage::ALL
                .into_iter()
                .filter(|stage| match stage {
                    Stage::Connect => self.versions != Versions::Http3,
                    Stage::Tunnel => https && !self.proxies.is_empty() && self.versions != Versions::Http3,
                    Stage::Secure => https,
                    _ => true,
                })
                .collect(),
            codes,
        }
    }

    fn accept(&self, requested: &ProbeRequest) -> Result<(), Refusal> {
        match (&self.host, &requested.hostname) {
            (Some(host), Some(hostname)) if host != hostname => Err(Refusal::of_target(format!(
                "host header defined both in module configuration ({host}) and with URL-parameter 'hostname' ({hostname})"
            ))),
            _ => Ok(()),
        }
    }
}
