//! The unix prober: a socket in the file system, TLS where the module wants it, and a dialogue.

use super::script::{Script, Secured};
use super::{Aim, Prober, Probing, Resolving, Shape, Way, gauges};
use crate::chain::Stage;
use crate::check::{Check, Resolver, Stopped, Tls};
use crate::metrics::Page;
use crate::policy::Origin;
use crate::reason::Reason;
use crate::report::Report;
use crate::target::Target;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A name that is not sent: an address never is (RFC 6066 section 3). For who verifies no name.
const NO_NAME: &str = "127.0.0.1";

/// What a unix module does, composed from its configuration.
#[derive(Debug)]
pub struct UnixSettings {
    /// For the controls, which ask it.
    pub resolver: Arc<Resolver>,
    /// Whether TLS begins with the connection.
    pub begins_with_tls: bool,
    /// TLS, whose files are read again when they change.
    pub tls: Tls,
    /// What is said and heard.
    pub script: Script,
}

impl UnixSettings {
    async fn run(&self, check: &mut Check, aim: &Aim) -> Result<(), Stopped> {
        let path = aim.target.written();
        check.begin_leg(
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

impl Prober for UnixSettings {
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim, _: Way<'a>) -> Probing<'a> {
        Box::pin(self.run(check, aim))
    }

    fn addresses<'a>(&'a self, check: &'a mut Check, _: &'a Aim) -> Resolving<'a> {
        Box::pin(async { Err(check.refuse(Reason::LocalTargetInvalid, "A path has no addresses.")) })
    }

    fn has_own_fields(&self, _: &Aim) -> bool {
        !self.script.is_empty()
    }

    fn origin(&self, aim: &Aim) -> Option<Origin> {
        Some(Origin {
            scheme: "unix".to_owned(),
            host: aim.target.written().to_owned(),
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
        gauges::dialogue(report, page);
        if let Some(last) = report.last_leg() {
            gauges::certificates(last, page);
        }
        gauges::in_laps(report)
    }

    fn shape(&self, _: &Target) -> Shape {
        Shape::of(&[
            (Stage::Connect, true),
            (Stage::Secure, self.begins_with_tls || self.script.begins_tls()),
            (Stage::Send, self.script.says()),
            (Stage::Wait, self.script.hears()),
            (Stage::Receive, self.script.hears()),
        ])
    }
}
