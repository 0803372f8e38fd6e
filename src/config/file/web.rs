//! The file of `--web.config.file` as it is written: the exporter-toolkit's keys.

use super::{At, Fill, refuse_unserved};
use crate::config::keys::{plain, unknown};
use crate::config::problem::{Place, Problem};
use crate::config::read::Read;
use crate::config::tree::{self, Kind, Node, below};
use crate::secret::Secret;
use serde::Serialize;
use std::collections::BTreeMap;

block! {
    /// The whole file.
    WebFile {
        tls_server_config: At<WebTlsFile>,
        http_server_config: WebHttpFile,
        basic_auth_users: BTreeMap<String, At<Secret>>,
        rate_limit: At<RateFile>,
    } unserved {}
}

block! {
    /// TLS of our own side.
    WebTlsFile {
        cert: At<String>,
        cert_file: At<String>,
        key: At<Secret>,
        key_file: At<String>,
        client_ca: At<String>,
        client_ca_file: At<String>,
        client_auth_type: At<String>,
        client_allowed_sans: Vec<At<String>>,
        min_version: At<String>,
        max_version: At<String>,
        cipher_suites: Vec<At<String>>,
        prefer_server_cipher_suites: bool,
        curve_preferences: Vec<At<String>>,
    } unserved {}
}

block! {
    /// What is said over HTTP.
    WebHttpFile {
        http2: bool,
        headers: BTreeMap<String, At<String>>,
    } unserved {}
}

block! {
    /// How often requests are answered.
    RateFile {
        interval: At<String>,
        burst: At<i64>,
    } unserved {}
}

impl WebFile {
    /// Reads the YAML; nothing in it asks for nothing.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, Problem> {
        if super::is_empty(text) {
            return Ok(Self::default());
        }
        let file = tree::parse(text)?;
        match &file.kind {
            Kind::Block(_) | Kind::Nothing => Self::read(&file, ""),
            other => Err(Place::START.problem("", format!("the file must be a block of keys; it is {}", other.name()))),
        }
    }
}
