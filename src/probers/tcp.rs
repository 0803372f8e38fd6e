//! The tcp prober: a connection, TLS where the module wants it, and a dialogue.

use super::place::Place;
use super::script::{Script, Secured};
use super::{Aim, Prober, Probing, Resolving, Shape, Way, gauges};
use crate::chain::Stage;
use crate::check::{Check, Family, Resolver, Stopped, Tls};
use crate::metrics::Page;
use crate::policy::Origin;
use crate::reason::Reason;
use crate::report::Report;
use crate::target::Target;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a tcp module does, composed from its configuration.
#[derive(Debug)]
pub struct TcpSettings {
    /// Which addresses to take.
    pub family: Family,
    /// Whom to ask for them.
    pub resolver: Arc<Resolver>,
    /// The address of this host to connect from.
    pub source: Option<IpAddr>,
    /// Whether TLS begins with the connection.
    pub begins_with_tls: bool,
    /// TLS, whose files are read again when they change.
    pub tls: Tls,
    /// What is said and heard.
    pub script: Script,
}

impl TcpSettings {
    async fn run(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<(), Stopped> {
        let only_handshake = matches!(way, Way::Handshake(_));
        let place = self
            .place(aim, way)
            .map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
        let tls = Secured {
            tls: &self.tls,
            name: &place.tls_name,
        };
        let secures = place.tls || only_handshake;
        check.begin_leg(place.url("tcp"), secures || self.script.begins_tls());
        let to = place.resolve(check, &self.resolver, self.family).await?;
        check.connect_from(self.source, to).await?;
        if secures {
            tls.begin(check).await?;
        }
        // What the module says to its target is nobody else's.
        if only_handshake || !place.trusted {
            return Ok(());
        }
        self.script.play(check, &tls).await
    }

    fn place(&self, aim: &Aim, way: Way<'_>) -> Result<Place, String> {
        let server_name = self.tls.server_name();
        Place::new(aim, None, self.begins_with_tls, server_name, way)
    }
}

impl Prober for TcpSettings {
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
        !self.script.is_empty()
    }

    fn origin(&self, aim: &Aim) -> Option<Origin> {
        Some(self.place(aim, Way::Asked).ok()?.origin("tcp"))
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut Page) -> Duration {
        if let Some(first) = report.legs.first().filter(|leg| leg.reached(Stage::Resolve)) {
            gauges::address(first, page);
        }
        gauges::dialogue(report, page);
        if let Some(last) = report.last_leg() {
            gauges::certificates(last, page);
        }
        gauges::in_laps(report)
    }

    fn shape(&self, _: &Target) -> Shape {
        let secures = self.begins_with_tls || self.script.begins_tls();
        Shape::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, true),
            (Stage::Secure, secures),
            (Stage::Send, self.script.says()),
            (Stage::Wait, self.script.hears()),
            (Stage::Receive, self.script.hears()),
        ])
    }
}
