//! The tcp prober: a connection, TLS if the module configures it, and a dialogue.

mod file;

pub use file::TcpFile;

use super::endpoint::Endpoint;
use super::script::{Script, Secured};
use super::{ClientOptions, InitialSeries, ProbeFuture, ProbeRequest, Prober, TlsOptions, Variant, gauges};
use crate::check::{AddressFamily, Check, ProbeFailed, Refusal, Resolver, Tls};
use crate::metrics::MetricPage;
use crate::policy::Origin;
use crate::target::Target;
use glassbox_verdict::chain::{Link, Stage};
use glassbox_verdict::report::Report;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a tcp module, built from the configuration.
#[derive(Debug)]
pub struct TcpProber {
    /// Address family of the target.
    pub family: AddressFamily,
    /// Resolver for the target's name.
    pub resolver: Arc<Resolver>,
    /// Source address of the connection.
    pub source: Option<IpAddr>,
    /// Whether TLS starts with the connection.
    pub begins_with_tls: bool,
    /// TLS settings. The files are re-read when they change.
    pub tls: Tls,
    /// The steps of the dialogue.
    pub script: Script,
}

impl TcpProber {
    async fn run(&self, check: &mut Check, requested: &ProbeRequest, variant: Variant<'_>) -> Result<(), ProbeFailed> {
        let only_handshake = matches!(variant, Variant::Handshake(_));
        let place = self
            .place(requested, variant)
            .map_err(|refusal| check.refuse(refusal))?;
        let tls = Secured {
            tls: &self.tls,
            name: &place.tls_name,
        };
        let secures = place.tls || only_handshake;
        check.begin_exchange(place.url("tcp"), secures || self.script.begins_tls());
        if self.script.is_empty() {
            check.send_nothing();
        }
        let to = place.resolve(check, &self.resolver, self.family).await?;
        check.connect_from(self.source, to).await?;
        if secures {
            tls.begin(check).await?;
        }
        // The data that the module sends is meant only for its target.
        if only_handshake || !place.trusted {
            return Ok(());
        }
        self.script.play(check, &tls).await
    }

    fn place(&self, requested: &ProbeRequest, variant: Variant<'_>) -> Result<Endpoint, Refusal> {
        let target = requested
            .target
            .host_port(None)
            .map_err(|error| Refusal::of_target(format!("{error}.")))?;
        let own_name = self.tls.server_name().or(requested.hostname.as_deref());
        Ok(Endpoint::new(target, self.begins_with_tls, own_name, variant))
    }
}

impl Prober for TcpProber {
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(self.run(check, requested, variant))
    }

    fn host(&self, requested: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        Ok((self.place(requested, Variant::Original)?.host().to_owned(), self.family))
    }

    fn has_module_fields(&self, _: &ProbeRequest) -> bool {
        !self.script.is_empty()
    }

    fn origin(&self, requested: &ProbeRequest) -> Option<Origin> {
        Some(self.place(requested, Variant::Original).ok()?.origin("tcp"))
    }

    /// Without a dialogue, the prober receives nothing from the application.
    fn can_judge(&self, link: Link) -> bool {
        link <= Link::Edge || (link == Link::Content && !self.script.is_empty())
    }

    fn reads_plaintext_first(&self) -> bool {
        !self.begins_with_tls && !self.script.begins_tls() && self.script.hears()
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
        if let Some(first) = report
            .exchanges
            .first()
            .filter(|exchange| exchange.reached(Stage::Resolve))
        {
            gauges::address(first, page);
        }
        gauges::dialogue(report, page);
        if let Some(last) = report.last_exchange() {
            gauges::certificates(last, page);
        }
        gauges::attributed(report)
    }

    fn initial_series(&self, _: &Target) -> InitialSeries {
        let secures = self.begins_with_tls || self.script.begins_tls();
        InitialSeries::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, true),
            (Stage::Secure, secures),
            (Stage::Send, self.script.says()),
            (Stage::Wait, self.script.hears()),
            (Stage::Receive, self.script.hears()),
        ])
    }
}
