//! The icmp prober: one echo request and its reply.

use super::{Aim, Prober, Probing, Resolving, Shape, Way, gauges};
use crate::chain::Stage;
use crate::check::{Check, Family, Ping, Resolver, Stopped, in_zone, split_zone};
use crate::metrics::{ICMP_DURATION, ICMP_REPLY_HOP_LIMIT, Page, Value};
use crate::policy::Origin;
use crate::reason::Reason;
use crate::report::{Leg, Report, Spoken};
use crate::target::Target;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// What is sent where the module does not say how much: the peer's words.
pub const DEFAULT_PAYLOAD: &[u8] = b"Prometheus Blackbox Exporter";

/// Tells the requests of this process apart.
static SEQUENCE: AtomicU16 = AtomicU16::new(0);

/// What an icmp module does, composed from its configuration.
#[derive(Debug)]
pub struct IcmpSettings {
    /// Which addresses to take.
    pub family: Family,
    /// Whom to ask for them.
    pub resolver: Arc<Resolver>,
    /// The address of this host to send from.
    pub source: Option<IpAddr>,
    /// What the reply must repeat.
    pub payload: Vec<u8>,
    /// Routers must not cut the request in pieces.
    pub dont_fragment: bool,
    /// The hop limit; `None` leaves it to the system.
    pub hop_limit: Option<u8>,
}

impl IcmpSettings {
    async fn run(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<(), Stopped> {
        let invalid = |check: &mut Check, words| check.refuse(Reason::LocalTargetInvalid, words);
        let host = host_of(&aim.target).map_err(|words| invalid(check, words))?;
        let (own, zone) = split_zone(&host).map_err(|words| invalid(check, format!("{words}.")))?;
        let dialled = match way {
            Way::Hop(hop) | Way::Handshake(Some(hop)) => hop.host.clone(),
            Way::Address(address) => address.to_string(),
            _ => own.to_owned(),
        };
        let family = Family {
            fallback: self.family.fallback || dialled != own,
            ..self.family
        };
        check.begin_leg(format!("icmp://{host}"), false);
        let to = check.resolve(&self.resolver, &dialled, family).await?;
        let to = in_zone(to, 0, zone.as_ref().filter(|_| dialled == own));
        let ping = Ping {
            from: self.source,
            payload: self.payload.clone(),
            dont_fragment: self.dont_fragment,
            hop_limit: self.hop_limit,
            sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
        };
        check.send_echo(to, &ping).await?;
        check.await_echo(&ping).await
    }
}

/// The target is a name or an address, and nothing else.
fn host_of(target: &Target) -> Result<String, String> {
    let (host, _) = target.host_port(Some(0)).map_err(|error| format!("{error}."))?;
    if target.written().trim().trim_matches(['[', ']']) == host {
        Ok(host)
    } else {
        Err("An echo request has no port; a target here looks like example.org or 192.0.2.1.".to_owned())
    }
}

impl Prober for IcmpSettings {
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim, way: Way<'a>) -> Probing<'a> {
        Box::pin(self.run(check, aim, way))
    }

    fn addresses<'a>(&'a self, check: &'a mut Check, aim: &'a Aim) -> Resolving<'a> {
        Box::pin(async move {
            let host = host_of(&aim.target).map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
            let (host, _) = split_zone(&host).unwrap_or((&host, None));
            check.resolve_all(&self.resolver, host, self.family).await
        })
    }

    fn has_own_fields(&self, _: &Aim) -> bool {
        false
    }

    fn origin(&self, aim: &Aim) -> Option<Origin> {
        Some(Origin {
            scheme: "icmp".to_owned(),
            host: split_zone(&host_of(&aim.target).ok()?).ok()?.0.to_owned(),
            port: None,
        })
    }

    fn asks_by_hostname(&self) -> bool {
        false
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut Page) -> Duration {
        let leg = report.last_leg();
        let time = |stage| {
            leg.filter(|leg| leg.finished(stage))
                .map_or(Duration::ZERO, |leg| leg.time_in(stage))
        };
        // As with the peer, a reply that did not come took no time.
        let phases = [
            ("resolve", time(Stage::Resolve)),
            ("setup", time(Stage::Send)),
            ("rtt", time(Stage::Wait)),
        ];
        for (phase, time) in phases {
            page.push(
                &ICMP_DURATION,
                [("phase", phase.into())],
                Value::Number(time.as_secs_f64()),
            );
        }
        if let Some(first) = leg.filter(|leg| leg.reached(Stage::Resolve)) {
            gauges::address(first, page);
        }
        if let Some(hops) = leg.and_then(hop_limit) {
            page.set(&ICMP_REPLY_HOP_LIMIT, f64::from(hops));
        }
        phases.iter().map(|(_, time)| *time).sum()
    }

    fn shape(&self, _: &Target) -> Shape {
        Shape::of(&[(Stage::Resolve, true), (Stage::Send, true), (Stage::Wait, true)])
    }
}

fn hop_limit(leg: &Leg) -> Option<u8> {
    match leg.spoken {
        Some(Spoken::Echo(echo)) => echo.hop_limit,
        _ => None,
    }
}
