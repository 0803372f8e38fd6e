//! The unix prober: a Unix domain socket, TLS if the module configures it, and a dialogue.

mod file;

pub use file::UnixFile;

use super::script::{Script, Secured};
use super::{ClientOptions, InitialSeries, ProbeFuture, ProbeRequest, Prober, TlsOptions, Variant, gauges};
use crate::check::{AddressFamily, Check, ProbeFailed, Refusal, Resolver, Tls};
use crate::metrics::MetricPage;
use crate::policy::Origin;
use crate::target::Target;
use glassbox_verdict::chain::{Link, Stage};
use glassbox_verdict::report::Report;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The server name for TLS without name verification. It is not sent, since SNI never contains an address (RFC 6066
/// section 3).
const NO_NAME: &str = "127.0.0.1";

/// Settings of a unix module, built from the configuration.
#[derive(Debug)]
pub struct UnixProber {
    /// Resolver for the controls; the prober itself does not use it.
    pub resolver: Arc<Resolver>,
    /// Whether TLS starts with the connection.
    pub begins_with_tls: bool,
    /// TLS settings. The files are re-read when they change.
    pub tls: Tls,
    /// The steps of the dialogue.
    pub script: Script,
}

impl UnixProber {
    async fn run(&self, check: &mut Check, requested: &ProbeRequest) -> Result<(), ProbeFailed> {
        let path = requested.target.written();
        check.begin_exchange(
            format!("unix://{path}"),
            self.begins_with_tls || self.script.begins_tls(),
        );
        check.connect_unix(Path::new(path)).await?;
        let server_name = self.tls.server_name();
        let tls = Secured {
            tls: &self.tls,
            name: server_name.unwrap_or(NO_NAME),
        };
        if self.begins_with_tls {
            tls.begin(check).await?;
        }
        self.script.play(check, &tls).await
    }
}

impl Prober for UnixProber {
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, _: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(self.run(check, requested))
    }

    fn host(&self, _: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        Err(Refusal::of_target("A socket path has no addresses."))
    }

    fn has_module_fields(&self, _: &ProbeRequest) -> bool {
        !self.script.is_empty()
    }

    fn origin(&self, requested: &ProbeRequest) -> Option<Origin> {
        Some(Origin {
            scheme: "unix".to_owned(),
            host: requested.target.written().to_owned(),
            port: None,
        })
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

    /// A socket in the file system has no name and no network.
    fn can_judge(&self, link: Link) -> bool {
        matches!(link, Link::Local | Link::Tls | Link::Edge) || (link == Link::Content && !self.script.is_empty())
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration {
        gauges::dialogue(report, page);
        if let Some(last) = report.last_exchange() {
            gauges::certificates(last, page);
        }
        gauges::attributed(report)
    }

    fn initial_series(&self, _: &Target) -> InitialSeries {
        InitialSeries::of(&[
            (Stage::Connect, true),
            (Stage::Secure, self.begins_with_tls || self.script.begins_tls()),
            (Stage::Send, self.script.says()),
            (Stage::Wait, self.script.hears()),
            (Stage::Receive, self.script.hears()),
        ])
    }
}
