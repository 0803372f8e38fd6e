//! The keys of `--web.config.file`, which are those of the exporter-toolkit.

use glassbox_probe::block;
use glassbox_probe::file::{ConfigIssue, Location, NodeKind, Read as _, Spanned, tree};
use glassbox_probe::secret::Secret;
use std::collections::BTreeMap;

block! {
    /// The whole file.
    WebFile {
        tls_server_config: Spanned<WebTlsFile>,
        http_server_config: WebHttpFile,
        basic_auth_users: BTreeMap<String, Spanned<Secret>>,
        rate_limit: Spanned<RateFile>,
    } unserved {}
}

block! {
    /// The HTTP server's TLS settings.
    WebTlsFile {
        cert: Spanned<String>,
        cert_file: Spanned<String>,
        key: Spanned<Secret>,
        key_file: Spanned<String>,
        client_ca: Spanned<String>,
        client_ca_file: Spanned<String>,
        client_auth_type: Spanned<String>,
        client_allowed_sans: Vec<Spanned<String>>,
        min_version: Spanned<String>,
        max_version: Spanned<String>,
        cipher_suites: Vec<Spanned<String>>,
        prefer_server_cipher_suites: bool,
        curve_preferences: Vec<Spanned<String>>,
    } unserved {}
}

block! {
    /// The server's HTTP settings.
    WebHttpFile {
        http2: bool,
        headers: BTreeMap<String, Spanned<String>>,
    } unserved {}
}

block! {
    /// The request rate limit.
    RateFile {
        interval: Spanned<String>,
        burst: Spanned<i64>,
    } unserved {}
}

impl WebFile {
    /// Parses the YAML. An empty file has no settings.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, ConfigIssue> {
        if super::is_empty(text) {
            return Ok(Self::default());
        }
        let file = tree::parse(text)?;
        match &file.kind {
            NodeKind::Block(_) | NodeKind::Nothing => Self::read(&file, ""),
            other => Err(Location::START.issue("", format!("expected a mapping, got {}", other.name()))),
        }
    }
}
