//! The keys of the unix prober.

use super::UnixProber;
use crate::block;
use crate::check::Resolver;
use crate::file::{ConfigIssue, Spanned, at};
use crate::probers::Prober;
use crate::probers::blocks::steps::{self, StepFile, is_set};
use crate::probers::blocks::tls::{self, TlsFile};
use crate::probers::prober_file::{ProberFile, Warnings};
use std::sync::Arc;

block! {
    /// The keys of the unix prober.
    UnixFile {
        query_response: Vec<Spanned<StepFile>>,
        tls: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
    } unserved {}
}

impl ProberFile for UnixFile {
    const DEFAULTS: &'static str = include_str!("defaults.yml");

    fn build(
        written: Option<&Spanned<Self>>,
        resolver: Arc<Resolver>,
        path: &str,
    ) -> Result<Arc<dyn Prober>, ConfigIssue> {
        let file = written.map(|written| written.value.clone()).unwrap_or_default();
        build(&file, resolver, path).map(|prober| Arc::new(prober) as _)
    }

    fn warn(written: Option<&Spanned<Self>>, warnings: &mut Warnings<'_>) {
        let Some(Spanned { value: file, .. }) = written else {
            return;
        };
        warnings.tls("unix", file.tls_config.as_ref());
    }
}

fn build(file: &UnixFile, resolver: Arc<Resolver>, path: &str) -> Result<UnixProber, ConfigIssue> {
    let steps = file.query_response.iter().flatten();
    let begins_tls = steps.filter_map(|step| step.value.starttls.as_ref()).chain(&file.tls);
    let names = |tls: &Spanned<TlsFile>| {
        let verifies = !tls.value.insecure_skip_verify.unwrap_or(false);
        !verifies || tls.value.server_name.as_ref().is_some_and(|name| !name.is_empty())
    };
    if let Some(written) = begins_tls.into_iter().find(|begins| begins.value)
        && !file.tls_config.as_ref().is_some_and(names)
    {
        let words = "TLS over a Unix socket requires the name in the certificate; set tls_config.server_name";
        return Err(at(written, path, "tls", words));
    }
    Ok(UnixProber {
        resolver,
        begins_with_tls: is_set(file.tls.as_ref()),
        tls: tls::build(file.tls_config.as_ref(), tls::AlpnOffer::Nothing, path)?,
        script: steps::script(file.query_response.as_deref(), path)?,
    })
}
