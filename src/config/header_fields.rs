//! Parses header fields, and builds those with several values. Each value is plain, a secret or in a file.

use super::file::{FieldFile, Spanned};
use super::issue::ConfigIssue;
use super::read::at;
use super::tree::{below, shown};
use glassbox_probe::probers::credentials::SecretSource;
use glassbox_probe::probers::header_fields::Fields;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// Names that `http_headers` must not set, as in `blackbox_exporter`. See also [`RESERVED_PREFIXES`].
const RESERVED: [&str; 12] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
];
/// Prefixes of names that `http_headers` must not set.
const RESERVED_PREFIXES: [&str; 2] = ["x-prometheus-", "x-amz-"];

/// The names that a block may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// All names that are not reserved.
    Free,
    /// All names.
    All,
}

/// Parses the name of a header field.
pub(super) fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        format!(
            "invalid header name {:?}: expected letters, digits and hyphens only",
            shown(name)
        )
    })
}

/// Parses a header value. The error does not quote the value because it may be a secret.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| "invalid header value: contains a line break or another control character")
}

/// Builds the fields of the `key` block.
pub(super) fn build(
    written: Option<&BTreeMap<String, Spanned<FieldFile>>>,
    names: Names,
    path: &str,
    key: &str,
) -> Result<Fields, ConfigIssue> {
    let path = below(path, key);
    let mut fields = Vec::new();
    for (name, file) in written.into_iter().flatten() {
        let lower = name.to_ascii_lowercase();
        let reserved =
            RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
        if reserved && names == Names::Free {
            let words = format!("setting header {name:?} is not allowed; another key sets it");
            return Err(at(file, &path, name, words));
        }
        let field = header_name(name).map_err(|words| at(file, &path, name, words))?;
        let path = below(&path, name);
        for (key, values) in [("values", &file.value.values), ("secrets", &file.value.secrets)] {
            for value in values.iter().flatten() {
                header_value(value.value.reveal()).map_err(|words| at(value, &path, key, words))?;
                fields.push((field.clone(), SecretSource::Text(value.value.clone())));
            }
        }
        for named in file.value.files.iter().flatten() {
            fields.push((field.clone(), SecretSource::File(named.value.clone().into())));
        }
    }
    Ok(Fields(fields))
}
