//! Header fields with several values: the blocks `http_headers` and `headers`. Each value is plain, a secret or in a
//! file.

use crate::block;
use crate::file::tree::shown;
use crate::file::{ConfigIssue, Spanned, at, below};
use crate::probers::credentials::SecretSource;
use crate::probers::header_fields::Fields;
use crate::secret::Secret;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;

block! {
    /// The values of a header field.
    FieldFile {
        values: Vec<Spanned<Secret>>,
        secrets: Vec<Spanned<Secret>>,
        files: Vec<Spanned<String>>,
    } unserved {}
}

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
pub(crate) enum Names {
    /// All names that are not reserved.
    Free,
    /// All names.
    All,
}

/// Parses the name of a header field.
///
/// # Errors
/// If it is not a token.
pub fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        format!(
            "invalid header name {:?}: expected letters, digits and hyphens only",
            shown(name)
        )
    })
}

/// Parses a header value. The error does not quote the value because it may be a secret.
///
/// # Errors
/// If it contains a control character.
pub fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| "invalid header value: contains a line break or another control character")
}

/// Builds the fields of the `key` block.
pub(crate) fn build(
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

/// Whether one of the fields has a value that is secret.
pub(crate) fn has_secrets(fields: Option<&BTreeMap<String, Spanned<FieldFile>>>) -> bool {
    let mut fields = fields.into_iter().flat_map(BTreeMap::values);
    fields.any(|field| field.value.secrets.is_some() || field.value.files.is_some())
}
