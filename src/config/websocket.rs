//! Builds a websocket module's settings.

use super::file::WebsocketFile;
use super::issue::ConfigIssue;
use super::tree::below;
use super::{address, credentials, dialogue, header_fields, tls};
use glassbox_probe::check::Resolver;
use glassbox_probe::probers::websocket::WebsocketProber;
use std::sync::Arc;

/// Validates the keys and builds the prober.
pub(super) fn build(file: &WebsocketFile, resolver: Arc<Resolver>, path: &str) -> Result<WebsocketProber, ConfigIssue> {
    let client = file.http_config.clone().unwrap_or_default();
    let client_path = below(path, "http_config");
    Ok(WebsocketProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        tls: tls::build(client.tls_config.as_ref(), tls::AlpnOffer::Nothing, &client_path)?,
        credentials: credentials::build(&credentials::CredentialKeys::of_client(&client), &client_path)?,
        fields: header_fields::build(file.headers.as_ref(), header_fields::Names::All, path, "headers")?,
        script: dialogue::script(file.query_response.as_deref(), path)?,
    })
}
