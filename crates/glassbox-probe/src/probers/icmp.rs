//! The icmp prober: one echo request and its reply.

mod file;

pub use file::IcmpFile;

use super::{InitialSeries, ProbeFuture, ProbeRequest, Prober, Variant, gauges};
use crate::check::{AddressFamily, Check, Ping, ProbeFailed, Refusal, Resolver};
use crate::metrics::{ICMP_DURATION, ICMP_REPLY_HOP_LIMIT, MetricPage, Value};
use crate::policy::Origin;
use crate::target::Target;
use glassbox_verdict::chain::{Link, Stage};
use glassbox_verdict::host_port::{Host, HostPort};
use glassbox_verdict::report::{Exchange, ProtocolFacts, Report};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Default payload, the same as in `blackbox_exporter`.
pub const DEFAULT_PAYLOAD: &[u8] = b"Prometheus Blackbox Exporter";

/// Sequence number, which distinguishes the requests of this process.
static SEQUENCE: AtomicU16 = AtomicU16::new(0);

/// Settings of an icmp module, built from the configuration.
#[derive(Debug)]
pub struct IcmpProber {
    /// Address family of the target.
    pub family: AddressFamily,
    /// Resolver for the target's name.
    pub resolver: Arc<Resolver>,
    /// Source address of the request.
    pub source: Option<IpAddr>,
    /// Payload of the request. The reply must repeat it.
    pub payload: Vec<u8>,
    /// Whether to set the don't-fragment flag.
    pub dont_fragment: bool,
    /// Hop limit (TTL); `None` uses the system's default.
    pub hop_limit: Option<u8>,
}

impl IcmpProber {
    async fn run(&self, check: &mut Check, requested: &ProbeRequest, variant: Variant<'_>) -> Result<(), ProbeFailed> {
        let host = host_of(&requested.target).map_err(|refusal| check.refuse(refusal))?;
        let own = HostPort::new(&host, 0);
        let dialled = match variant {
            Variant::Backend(backend) | Variant::Handshake(Some(backend)) => backend.address.clone().with_port(0),
            Variant::Address(address) => HostPort::new(&address.to_string(), 0),
            _ => own.clone(),
        };
        let family = AddressFamily {
            fallback: self.family.fallback || dialled != own,
            ..self.family
        };
        check.begin_exchange(format!("icmp://{}", own.host()), false);
        let to = check.resolve_host_port(&self.resolver, &dialled, family).await?;
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

/// The target's host, which must be a name or an address without a port.
fn host_of(target: &Target) -> Result<String, Refusal> {
    let parsed = target
        .host_port(Some(0))
        .map_err(|error| Refusal::of_target(format!("{error}.")))?;
    if parsed.host() == Host::new(target.written().trim()) {
        Ok(parsed.host().as_str().to_owned())
    } else {
        Err(Refusal::of_target(
            "An ICMP target must not contain a port: expected a target such as example.org or 192.0.2.1.",
        ))
    }
}

impl Prober for IcmpProber {
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(self.run(check, requested, variant))
    }

    fn host(&self, requested: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        let host = host_of(&requested.target)?;
        Ok((Host::new(&host).without_zone().to_owned(), self.family))
    }

    fn has_module_fields(&self, _: &ProbeRequest) -> bool {
        false
    }

    fn origin(&self, requested: &ProbeRequest) -> Option<Origin> {
        Some(Origin {
            scheme: "icmp".to_owned(),
            host: Host::new(&host_of(&requested.target).ok()?).without_zone().to_owned(),
            port: None,
        })
    }

    fn asks_by_hostname(&self) -> bool {
        false
    }

    /// An echo reply comes from the machine at the address, not from an application.
    fn can_judge(&self, link: Link) -> bool {
        link <= Link::Edge && link != Link::Tls
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration {
        let exchange = report.last_exchange();
        let time = |stage| {
            exchange
                .filter(|exchange| exchange.finished(stage))
                .map_or(Duration::ZERO, |exchange| exchange.time_in(stage))
        };
        // As in `blackbox_exporter`, a missing reply counts as 0 seconds.
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
        if let Some(first) = exchange.filter(|exchange| exchange.reached(Stage::Resolve)) {
            gauges::address(first, page);
        }
        if let Some(backends) = exchange.and_then(hop_limit) {
            page.set(&ICMP_REPLY_HOP_LIMIT, f64::from(backends));
        }
        phases.iter().map(|(_, time)| *time).sum()
    }

    fn initial_series(&self, _: &Target) -> InitialSeries {
        InitialSeries::of(&[(Stage::Resolve, true), (Stage::Send, true), (Stage::Wait, true)])
    }
}

fn hop_limit(exchange: &Exchange) -> Option<u8> {
    match exchange.spoken {
        Some(ProtocolFacts::Echo(echo)) => echo.hop_limit,
        _ => None,
    }
}
