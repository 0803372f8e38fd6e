//! The keys of the tcp prober.

use super::TcpProber;
use crate::block;
use crate::check::Resolver;
use crate::file::{ConfigIssue, Spanned};
use crate::probers::Prober;
use crate::probers::blocks::address;
use crate::probers::blocks::steps::{self, StepFile, is_set};
use crate::probers::blocks::tls::{self, TlsFile};
use crate::probers::prober_file::{ProberFile, Warnings};
use std::sync::Arc;

block! {
    /// The keys of the tcp prober.
    TcpFile {
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        source_ip_address: Spanned<String>,
        query_response: Vec<Spanned<StepFile>>,
        tls: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
    } unserved {}
}

impl ProberFile for TcpFile {
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
        warnings.family("tcp", file.preferred_ip_protocol.as_ref());
        warnings.tls("tcp", file.tls_config.as_ref());
    }
}

fn build(file: &TcpFile, resolver: Arc<Resolver>, path: &str) -> Result<TcpProber, ConfigIssue> {
    Ok(TcpProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        source: address::source(file.source_ip_address.as_ref(), path)?,
        begins_with_tls: is_set(file.tls.as_ref()),
        tls: tls::build(file.tls_config.as_ref(), tls::AlpnOffer::Nothing, path)?,
        script: steps::script(file.query_response.as_deref(), path)?,
    })
}
