//! The http prober: one request, its redirects, and the assertions on the final answer.

mod assertions;
mod cookies;
mod document;
mod gauges;
mod json;
mod matching;
mod oauth;
mod request;
mod route;
mod settings;

pub use json::{Expression, JsonAssertions};
pub use matching::BodyAssertions;
pub use oauth::{Algorithm, Grant, OAuth2, Signing};
pub use settings::{HeaderAssertion, HttpSettings, RequestBody, Versions};

use super::files::Unusable;
use super::{Aim, Prober, Probing, Resolving, Shape, Way};
use crate::chain::Stage;
use crate::check::{BodyPlan, Check, Family, Resolver, Stopped};
use crate::limits::Limits;
use crate::metrics::Page;
use crate::policy::Origin;
use crate::reason::Reason;
use crate::report::{Reply, Report};
use crate::target::{Target, shown_url};
use request::{Own, Visit, through};
use route::Route;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// The status codes that are counted from 0 for every key, beside the module's valid ones.
const KNOWN_CODES: [u16; 8] = [200, 301, 302, 404, 500, 502, 503, 504];

impl HttpSettings {
    async fn run(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<(), Stopped> {
        let mut visit = self.first_visit(check, aim, way).await?;
        match way {
            // What few probes do is kept aside, here and below: those that wait are many, and take no room for it.
            Way::Handshake(_) => return Box::pin(self.shake_hands(check, &visit)).await,
            Way::Refusable if self.is_relayed(&visit) => {
                let words = "The proxy would answer what the front is asked.";
                return Err(check.refuse(Reason::LocalTargetInvalid, words));
            }
            Way::Refusable => return self.exchange(check, &visit, false).await.map(drop),
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
                return Err(check.refuse(Reason::HttpFailed, "There is no answer to judge."));
            };
            visit.take_cookies(reply);
            match visit.redirected(reply) {
                // There the hop's part ends: the rest is somebody else's.
                Some(Ok(next)) if matches!(way, Way::Hop(_)) && !next.stays_with(&visit) => return Ok(()),
                Some(next) if follow => {
                    visit = next.map_err(|error| check.refuse(Reason::HttpResponseBadRedirect, error))?;
                    check.redirected_to(&Origin::of(visit.url()))?;
                    redirects += 1;
                }
                onward => {
                    let endless = Some(redirects).filter(|_| onward.is_some() && self.follow_redirects);
                    let took = check.answer_time();
                    let https = (!matches!(way, Way::Hop(_))).then(|| visit.is_https());
                    let objection = match self.objection_to_head(reply, endless) {
                        None => {
                            let (limits, time) = (check.limits(), check.left());
                            self.body_assertions.objection(body, limits, time).await
                        }
                        objection => objection,
                    };
                    let objection = objection.or_else(|| self.objection_to_protocol(reply, https));
                    return match objection.or_else(|| self.objection_to_time(took)) {
                        None => Ok(()),
                        Some((reason, detail)) => Err(check.refuse(reason, detail)),
                    };
                }
            }
        }
    }

    async fn first_visit(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<Visit, Stopped> {
        let own = self.own(Instant::now() + check.left()).await;
        let mut own = own.map_err(|unusable| check.refuse(unusable.reason, unusable.words))?;
        // Who gets none of the module's own fields needs no token either.
        let trusted =
            !matches!(way, Way::Refusable | Way::Handshake(_)) && !matches!(way, Way::Hop(hop) if !hop.trusted);
        if let Some(tokens) = self.oauth2.as_ref().filter(|_| trusted) {
            own.authorization = Some(Box::pin(tokens.header(check)).await?);
        }
        let visit = Visit::first(self, aim, own).and_then(|visit| visit.by(way));
        visit.map_err(|error| check.refuse(Reason::LocalTargetInvalid, error))
    }

    /// What the module's files hold, read for this probe.
    async fn own(&self, until: Instant) -> Result<Own, Unusable> {
        Ok(Own {
            authorization: match &self.credentials {
                None => None,
                Some(credentials) => Some(credentials.header(until).await?),
            },
            fields: self.fields.all(until).await?,
            body: self.body.bytes(until).await?,
        })
    }

    /// Whether the request itself is written to a proxy.
    fn is_relayed(&self, visit: &Visit) -> bool {
        let proxy = self.proxies.of(visit.url(), visit.own_host(), None);
        !visit.is_https() && proxy.is_some_and(|proxy| !proxy.tunnels_all())
    }

    async fn shake_hands(&self, check: &mut Check, visit: &Visit) -> Result<(), Stopped> {
        check.begin_leg(shown_url(visit.url()), true);
        let address = check.resolve(&self.resolver, visit.host(), self.family).await?;
        let to = SocketAddr::new(address, visit.port());
        if visit.versions() == Versions::Http3 {
            return check.secure_quic(&self.tls, visit.tls_name(), to).await;
        }
        check.connect(to).await?;
        check.secure(&self.tls, visit.tls_name(), true).await
    }

    /// The sentence. A probe waits for most of its time: what the other verbs need has its room only while they run.
    async fn exchange(&self, check: &mut Check, visit: &Visit, follow: bool) -> Result<Vec<u8>, Stopped> {
        check.begin_leg(shown_url(visit.url()), visit.is_https());
        let relay = Box::pin(self.route(visit).open(check)).await?;
        Box::pin(check.send(through(visit.ask(), relay.as_ref()))).await?;
        check.wait().await?;
        let limits = *check.limits();
        Box::pin(check.receive(|reply| self.body_plan(visit, reply, follow, &limits))).await
    }

    fn route<'a>(&'a self, visit: &'a Visit) -> Route<'a> {
        Route {
            url: visit.url(),
            host: visit.host(),
            port: visit.port(),
            own_host: visit.own_host(),
            direct: visit.goes_to_hop(),
            resolver: &self.resolver,
            // A place that is named by its address is of the family that it is.
            family: Family {
                fallback: self.family.fallback || visit.dials_elsewhere(),
                ..self.family
            },
            proxies: &self.proxies,
            tls: &self.tls,
            tls_name: visit.tls_name(),
            versions: visit.versions(),
        }
    }

    /// A target as a URL. HTTP/3 is spoken with https targets only: as with the peer, an http one becomes that.
    fn url(&self, target: &Target) -> Result<Url, String> {
        let mut url = target.http_url().map_err(|error| format!("{error}."))?;
        if self.versions == Versions::Http3 {
            url.set_scheme("https")
                .map_err(|()| "The target's URL cannot be asked of HTTP/3.".to_owned())?;
        }
        Ok(url)
    }

    /// The body of a redirect is read only if it is to be matched; an answer that already failed is read but not kept.
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

impl Prober for HttpSettings {
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim, way: Way<'a>) -> Probing<'a> {
        Box::pin(self.run(check, aim, way))
    }

    fn addresses<'a>(&'a self, check: &'a mut Check, aim: &'a Aim) -> Resolving<'a> {
        Box::pin(async move {
            let visit = Visit::first(self, aim, Own::default());
            let visit = visit.map_err(|error| check.refuse(Reason::LocalTargetInvalid, error))?;
            check.resolve_all(&self.resolver, visit.host(), self.family).await
        })
    }

    fn has_own_fields(&self, aim: &Aim) -> bool {
        let plain = Visit::first(self, aim, Own::default()).is_ok_and(|visit| !visit.has_own_fields());
        self.credentials.is_some()
            || self.oauth2.is_some()
            || !self.fields.is_empty()
            || !self.body.is_empty()
            || !plain
    }

    fn origin(&self, aim: &Aim) -> Option<Origin> {
        self.url(&aim.target).ok().map(|url| Origin::of(&url))
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut Page) -> Duration {
        gauges::write(self, report, page)
    }

    fn shape(&self, target: &Target) -> Shape {
        let https = self.versions == Versions::Http3 || target.is_https();
        let mut codes = KNOWN_CODES.to_vec();
        codes.extend(&self.valid_status_codes);
        codes.sort_unstable();
        codes.dedup();
        Shape {
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

    fn accept(&self, aim: &Aim) -> Result<(), String> {
        match (&self.host, &aim.hostname) {
            (Some(host), Some(hostname)) if host != hostname => Err(format!(
                "host header defined both in module configuration ({host}) and with URL-parameter 'hostname' ({hostname})"
            )),
            _ => Ok(()),
        }
    }
}
