//! Builds the web settings from `--web.config.file`: TLS, authentication, header fields and the rate limit. The keys and
//! their meaning are those of the exporter-toolkit.

mod clients;
mod tls;

use super::error::ConfigError;
use super::file::{RateFile, WebFile};
use ::http::{HeaderName, HeaderValue};
use glassbox_probe::file::{ConfigIssue, Spanned, at, units};
use glassbox_probe::probers::blocks::header_fields::{header_name, header_value};
use glassbox_probe::secret::Secret;
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The HTTP server's settings.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// TLS settings. `None` for plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether clients must present a certificate.
    pub requires_client_certificates: bool,
    /// Whether TLS connections may negotiate HTTP/2.
    pub http2: bool,
    /// Header fields of every response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// User names and the bcrypt hashes of their passwords. If empty, authentication is disabled.
    pub users: BTreeMap<String, Secret>,
    /// Request rate limit.
    pub rate: Option<Rate>,
    /// The files that were read. When one changes, all of them are re-read.
    pub files: Vec<PathBuf>,
}

/// A token bucket for requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Interval at which a token is added.
    pub interval: Duration,
    /// Maximum number of tokens.
    pub burst: u32,
}

impl WebConfig {
    /// Reads and validates a file. Relative file names in it refer to its directory.
    ///
    /// # Errors
    /// If a file cannot be read or has an invalid setting.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, path, folder).map_err(|issue| ConfigError::invalid(path, issue))
    }

    fn parse(text: &str, path: &Path, folder: &Path) -> Result<Self, ConfigIssue> {
        let file = WebFile::parse(text)?;
        let http = file.http_server_config.unwrap_or_default();
        let http2 = http.http2.unwrap_or(true);
        let mut files = vec![path.to_owned()];
        let tls = match &file.tls_server_config {
            None => None,
            Some(written) => Some(Arc::new(tls::build(written, http2, folder, &mut files)?)),
        };
        let requires = file.tls_server_config.as_ref().map(|written| &written.value);
        Ok(Self {
            requires_client_certificates: requires.is_some_and(tls::requires_client_certificates),
            tls,
            http2,
            headers: headers(&http.headers.unwrap_or_default())?,
            users: users(file.basic_auth_users.unwrap_or_default())?,
            rate: file.rate_limit.as_ref().map(rate).transpose()?.flatten(),
            files,
        })
    }
}

/// The header fields that may be set and their allowed values. An empty list allows every value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

fn headers(written: &BTreeMap<String, Spanned<String>>) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigIssue> {
    let path = "http_server_config.headers";
    let fields = written
        .iter()
        .filter(|(_, value)| !value.value.is_empty())
        .map(|(name, value)| {
            let Some((_, values)) = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
                let known: Vec<_> = HEADERS.iter().map(|(name, _)| *name).collect();
                let words = format!(
                    "HTTP header {name:?} can not be configured; allowed are: {}",
                    known.join(", ")
                );
                return Err(at(value, path, name, words));
            };
            let may = values.is_empty() || values.iter().any(|known| known.eq_ignore_ascii_case(&value.value));
            if !may {
                let words = format!(
                    "invalid value for {name}: {:?}; expected one of {}",
                    value.value,
                    values.join(", ")
                );
                return Err(at(value, path, name, words));
            }
            let field = header_name(name).map_err(|words| at(value, path, name, words))?;
            Ok((
                field,
                header_value(&value.value).map_err(|words| at(value, path, name, words))?,
            ))
        });
    fields.collect()
}

fn users(written: BTreeMap<String, Spanned<Secret>>) -> Result<BTreeMap<String, Secret>, ConfigIssue> {
    let users = written.into_iter().map(|(name, hash)| {
        if hash.value.reveal().parse::<bcrypt::HashParts>().is_err() {
            let words = "invalid bcrypt hash: create one with `htpasswd -nBC 10 \"\"`, such as $2y$10$…";
            return Err(at(&hash, "basic_auth_users", &name, words));
        }
        Ok((name, hash.value))
    });
    users.collect()
}

fn rate(written: &Spanned<RateFile>) -> Result<Option<Rate>, ConfigIssue> {
    let file = &written.value;
    let Some(interval) = units::threshold(file.interval.as_ref(), "rate_limit", "interval")? else {
        return Ok(None);
    };
    let burst = match &file.burst {
        None => 1,
        Some(burst) => u32::try_from(burst.value).map_err(|_| {
            let words = format!("invalid burst {}: expected 1 or more requests", burst.value);
            at(burst, "rate_limit", "burst", words)
        })?,
    };
    Ok(Some(Rate { interval, burst }))
}
