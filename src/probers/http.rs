//! The http prober: one request, its redirects, and the assertions on the final answer.

mod assertions;
mod gauges;
mod request;
mod settings;

pub use settings::{HeaderAssertion, HttpSettings};

use super::{Aim, Prober, Probing, Resolving, Shape, Way};
use crate::chain::Stage;
use crate::check::{BodyPlan, Check, Family, Resolver, Stopped, Tls};
use crate::limits::REDIRECTS;
use crate::metrics::Page;
use crate::reason::Reason;
use crate::report::{Reply, Report};
use crate::target::{Target, shown_url};
use request::Visit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The status codes that are counted from 0 for every key, beside the module's valid ones.
const KNOWN_CODES: [u16; 8] = [200, 301, 302, 404, 500, 502, 503, 504];

impl HttpSettings {
    async fn run(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<(), Stopped> {
        let mut visit = self.first_visit(check, aim, way).await?;
        match way {
            Way::Handshake(_) => return self.shake_hands(check, &visit).await,
            Way::Refusable => return self.exchange(check, &visit, false).await.map(drop),
            _ => {}
        }
        let mut redirects = 0;
        loop {
            let follow = self.follow_redirects && redirects < REDIRECTS;
            let body = self.exchange(check, &visit, follow).await?;
            let Some(reply) = check.reply() else {
                return Err(check.refuse(Reason::HttpFailed, "There is no answer to judge."));
            };
            match visit.redirected(reply) {
                // There the hop's part ends: the rest is somebody else's.
                Some(Ok(next)) if matches!(way, Way::Hop(_)) && !next.stays_with(&visit) => return Ok(()),
                Some(next) if follow => {
                    visit = next.map_err(|error| check.refuse(Reason::HttpResponseBadRedirect, error))?;
                    redirects += 1;
                }
                onward => {
                    let endless = onward.is_some() && self.follow_redirects;
                    let took = check.answer_time();
                    let https = (!matches!(way, Way::Hop(_))).then(|| visit.is_https());
                    let objection = self.objection(reply, &body, https, endless);
                    return match objection.or_else(|| self.objection_to_time(took)) {
                        None => Ok(()),
                        Some((reason, detail)) => Err(check.refuse(reason, detail)),
                    };
                }
            }
        }
    }

    async fn first_visit(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<Visit, Stopped> {
        let authorization = match &self.credentials {
            None => None,
            Some(credentials) => {
                let value = credentials.header_within(check.left()).await;
                Some(value.map_err(|error| check.refuse(Reason::LocalFileUnreadable, error))?)
            }
        };
        let visit = Visit::first(self, aim, authorization).and_then(|visit| visit.by(way));
        visit.map_err(|error| check.refuse(Reason::LocalTargetInvalid, error))
    }

    async fn shake_hands(&self, check: &mut Check, visit: &Visit) -> Result<(), Stopped> {
        check.begin_leg(shown_url(visit.url()), true);
        let address = check.resolve(&self.resolver, visit.host(), self.family).await?;
        check.connect(SocketAddr::new(address, visit.port())).await?;
        let tls = self.tls(check)?;
        check.secure(tls, visit.tls_name(), true).await
    }

    /// The sentence.
    async fn exchange(&self, check: &mut Check, visit: &Visit, follow: bool) -> Result<Vec<u8>, Stopped> {
        check.begin_leg(shown_url(visit.url()), visit.is_https());
        // A place that is named by its address is of the family that it is.
        let family = Family {
            fallback: self.family.fallback || visit.dials_elsewhere(),
            ..self.family
        };
        let address = check.resolve(&self.resolver, visit.host(), family).await?;
        check.connect(SocketAddr::new(address, visit.port())).await?;
        if visit.is_https() {
            let tls = self.tls(check)?;
            check.secure(tls, visit.tls_name(), visit.http1_only()).await?;
        }
        check.send(visit.ask()).await?;
        check.wait().await?;
        check.receive(|reply| self.body_plan(visit, reply, follow)).await
    }

    /// TLS, or the end of the probe where a file of it is missing.
    fn tls(&self, check: &mut Check) -> Result<&Tls, Stopped> {
        self.tls
            .as_ref()
            .map_err(|words| check.refuse(Reason::LocalFileUnreadable, words.clone()))
    }

    /// The body of a redirect is read only if it is to be matched; an answer that already failed is read but not kept.
    fn body_plan(&self, visit: &Visit, reply: &Reply, follow: bool) -> BodyPlan {
        let redirects = visit.redirected(reply).is_some();
        let moves_on = redirects && follow;
        let refused = self.objection_to_head(reply, false).is_some();
        let to_match = !moves_on && self.asserts_on_body() && !refused;
        BodyPlan {
            read: !redirects || to_match,
            coding: self.compression,
            keep: to_match.then_some(self.matching_limit),
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
            let visit = Visit::first(self, aim, None);
            let visit = visit.map_err(|error| check.refuse(Reason::LocalTargetInvalid, error))?;
            check.resolve_all(&self.resolver, visit.host(), self.family).await
        })
    }

    fn has_own_fields(&self, aim: &Aim) -> bool {
        let plain = Visit::first(self, aim, None).is_ok_and(|visit| !visit.has_own_fields());
        self.credentials.is_some() || !plain
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut Page) -> Duration {
        gauges::write(self, report, page)
    }

    fn shape(&self, target: &Target) -> Shape {
        let https = target.http_url().is_ok_and(|url| url.scheme() == "https");
        let mut codes = KNOWN_CODES.to_vec();
        codes.extend(&self.valid_status_codes);
        codes.sort_unstable();
        codes.dedup();
        Shape {
            stages: Stage::ALL
                .into_iter()
                .filter(|stage| match stage {
                    Stage::Tunnel => false,
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
