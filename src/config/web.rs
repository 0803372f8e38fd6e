//! Composes what `--web.config.file` says: TLS, who may ask, header fields, a rate. The keys are the
//! exporter-toolkit's, as is their meaning.

mod clients;
mod tls;

use super::file::{RateFile, Spanned, WebFile};
use super::http::{header_name, header_value};
use super::issue::{ConfigError, ConfigIssue, at};
use super::units;
use crate::secret::Secret;
use ::http::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How we serve.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// TLS, where it is spoken.
    pub tls: Option<Arc<ServerConfig>>,
    /// A client without a certificate is not served.
    pub requires_client_certificates: bool,
    /// Speak HTTP/2, too, where TLS agrees on it.
    pub http2: bool,
    /// Fields of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may ask, each with the bcrypt hash of a password; nobody stands for everybody.
    pub users: BTreeMap<String, Secret>,
    /// How many requests are answered.
    pub rate: Option<Rate>,
    /// The files that were read: when one changes, all of it is read again.
    pub files: Vec<PathBuf>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// One more request in this time.
    pub interval: Duration,
    /// So many at once, at most.
    pub burst: u32,
}

impl WebConfig {
    /// Reads and checks a file. Files that it names are found from its own folder.
    ///
    /// # Errors
    /// When a file cannot be read, or says what cannot be served.
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

/// The fields that may be set, and the values that they may have; none stands for any.
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
                    "HTTP header {name:?} can not be configured; these can: {}",
                    known.join(", ")
                );
                return Err(at(value, path, name, words));
            };
            let may = values.is_empty() || values.iter().any(|known| known.eq_ignore_ascii_case(&value.value));
            if !may {
                let words = format!(
                    "invalid value for {name}: {:?}; write one of {}",
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
            let words = "this is no bcrypt hash; `htpasswd -nBC 10 \"\"` makes one, such as $2y$10$…";
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
            let words = format!("{} is no number of requests; write 1 or more", burst.value);
            at(burst, "rate_limit", "burst", words)
        })?,
    };
    Ok(Some(Rate { interval, burst }))
}
