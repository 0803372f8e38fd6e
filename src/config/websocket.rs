//! Composes a websocket module from its keys.

use super::file::WebsocketFile;
use super::problem::Problem;
use super::tree::below;
use super::{address, credentials, dialogue, fields, tls};
use crate::check::Resolver;
use crate::probers::websocket::WebsocketSettings;
use std::sync::Arc;

/// Checks every key and gives what runs.
pub(super) fn compose(file: &WebsocketFile, resolver: Arc<Resolver>, path: &str) -> Result<WebsocketSettings, Problem> {
    let client = file.http_config.clone().unwrap_or_default();
    let client_path = below(path, "http_config");
    Ok(WebsocketSettings {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        tls: tls::compose(client.tls_config.as_ref(), tls::Offer::Nothing, &client_path)?,
        credentials: credentials::compose(&credentials::Written::of_client(&client), &client_path)?,
        fields: fields::compose(file.headers.as_ref(), fields::Names::All, path, "headers")?,
        script: dialogue::script(file.query_response.as_deref(), path)?,
    })
}
