//! Composes header fields that have several values, each plain, secret, or in a file.

use super::file::{At, FieldFile};
use super::http::{header_name, header_value};
use super::problem::{Problem, at};
use super::tree::below;
use crate::probers::credentials::Source;
use crate::probers::fields::Fields;
use crate::secret::Secret;
use std::collections::BTreeMap;

/// Names that `http_headers` must not set, as with the peer; so must none that begin with one of the prefixes.
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
/// See [`RESERVED`].
const RESERVED_PREFIXES: [&str; 2] = ["x-prometheus-", "x-amz-"];

/// Which names may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Those that no other key sets.
    Free,
    /// All.
    All,
}

/// The fields of the block `key`.
pub(super) fn compose(
    written: Option<&BTreeMap<String, At<FieldFile>>>,
    names: Names,
    path: &str,
    key: &str,
) -> Result<Fields, Problem> {
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
        let plain = file.value.values.iter().flatten();
        for value in plain {
            header_value(&value.value).map_err(|words| at(value, &path, "values", words))?;
            fields.push((field.clone(), Source::Text(Secret::new(value.value.as_str()))));
        }
        for secret in file.value.secrets.iter().flatten() {
            header_value(secret.value.reveal()).map_err(|words| at(secret, &path, "secrets", words))?;
            fields.push((field.clone(), Source::Text(secret.value.clone())));
        }
        for named in file.value.files.iter().flatten() {
            fields.push((field.clone(), Source::File(named.value.clone().into())));
        }
    }
    Ok(Fields(fields))
}
