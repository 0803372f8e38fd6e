//! Composes an http module from its keys.

use super::address;
use super::credentials::{self, filled};
use super::file::{At, HeaderMatchFile, HttpFile};
use super::problem::{Problem, at};
use super::regexps::{regexp, regexps};
use super::tls;
use super::tree::{below, shown};
use super::units;
use crate::check::{Coding, Resolver};
use crate::limits::MATCHED_BODY;
use crate::negotiation::accepts;
use crate::probers::http::{HeaderAssertion, HttpSettings};
use ::http::header::{CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING};
use ::http::{HeaderName, HeaderValue, Method};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Checks every key and gives what runs.
pub(super) fn compose(file: &HttpFile, resolver: Arc<Resolver>, path: &str) -> Result<HttpSettings, Problem> {
    let (host, headers) = headers(file, path)?;
    let compression = compression(file, path)?;
    Ok(HttpSettings {
        method: method(file, path)?,
        host,
        headers,
        credentials: credentials::compose(&credentials::Written::of_http(file), path)?,
        body: file
            .body
            .as_ref()
            .map_or_else(Bytes::new, |body| Bytes::copy_from_slice(&body.0)),
        valid_status_codes: status_codes(file, path)?,
        valid_http_versions: versions(file, path)?,
        follow_redirects: !file
            .no_follow_redirects
            .unwrap_or(!file.follow_redirects.unwrap_or(true)),
        fail_if_ssl: file.fail_if_ssl.unwrap_or(false),
        fail_if_not_ssl: file.fail_if_not_ssl.unwrap_or(false),
        fail_if_body_matches: regexps(
            file.fail_if_body_matches_regexp.as_deref(),
            path,
            "fail_if_body_matches_regexp",
        )?,
        fail_if_body_not_matches: regexps(
            file.fail_if_body_not_matches_regexp.as_deref(),
            path,
            "fail_if_body_not_matches_regexp",
        )?,
        fail_if_header_matches: header_rules(file.fail_if_header_matches.as_deref(), path, "fail_if_header_matches")?,
        fail_if_header_not_matches: header_rules(
            file.fail_if_header_not_matches.as_deref(),
            path,
            "fail_if_header_not_matches",
        )?,
        slower_than: units::threshold(file.fail_if_slower_than.as_ref(), path, "fail_if_slower_than")?,
        body_size_limit: body_size_limit(file, path)?,
        matching_limit: MATCHED_BODY,
        compression,
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        tls: tls::or_absent(
            file.tls_config.as_ref(),
            if file.enable_http2.unwrap_or(true) {
                tls::Offer::Http2
            } else {
                tls::Offer::Nothing
            },
            path,
        )?,
    })
}

fn method(file: &HttpFile, path: &str) -> Result<Method, Problem> {
    match &file.method {
        None => Ok(Method::GET),
        Some(written) if written.value.is_empty() => Ok(Method::GET),
        Some(written) => Method::from_bytes(written.value.as_bytes()).map_err(|_| {
            let problem = format!(
                "{:?} is no HTTP method; write a token such as GET, HEAD or POST",
                written.value
            );
            at(written, path, "method", problem)
        }),
    }
}

type Headers = (Option<String>, Vec<(HeaderName, HeaderValue)>);

/// The header fields, `Host` apart. Values are marked sensitive: they may be secrets.
fn headers(file: &HttpFile, path: &str) -> Result<Headers, Problem> {
    let path = below(path, "headers");
    let mut host = None;
    let mut fields = Vec::new();
    let mut seen = HashMap::new();
    for (name, value) in file.headers.iter().flatten() {
        let field = header_name(name).map_err(|words| at(value, &path, name, words))?;
        if let Some(other) = seen.insert(field.clone(), name) {
            let words = format!("this header is also written as {other}; write it once");
            return Err(at(value, &path, name, words));
        }
        let mut content = header_value(&value.value).map_err(|words| at(value, &path, name, words))?;
        if field == HOST {
            host = Some(value.value.clone()).filter(|host| !host.is_empty());
        } else if !FRAMING.contains(&field) {
            content.set_sensitive(true);
            fields.push((field, content));
        }
    }
    Ok((host, fields))
}

/// Fields that say where a request's body ends. The exchange writes them itself: as with the peer, a module's own
/// are not sent.
const FRAMING: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER];

pub(super) fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        format!(
            "{:?} is no header name; it has letters, digits and hyphens only",
            shown(name)
        )
    })
}

/// A field's value, which is not repeated in words: it may be a secret.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| "the value holds a line break or another control character; leave it out")
}

fn status_codes(file: &HttpFile, path: &str) -> Result<Vec<u16>, Problem> {
    let codes = file.valid_status_codes.iter().flatten().map(|written| {
        u16::try_from(written.value)
            .ok()
            .filter(|code| (100..=999).contains(code))
            .ok_or_else(|| {
                let problem = format!(
                    "{} is no HTTP status code; write a number from 100 to 999",
                    written.value
                );
                at(written, path, "valid_status_codes", problem)
            })
    });
    codes.collect()
}

fn versions(file: &HttpFile, path: &str) -> Result<Vec<String>, Problem> {
    let versions = file.valid_http_versions.iter().flatten().map(|written| {
        let shape = written.value.strip_prefix("HTTP/");
        if shape.is_some_and(|number| number.starts_with(['0', '1', '2', '3'])) {
            Ok(written.value.clone())
        } else {
            let problem = format!(
                "{:?} is no HTTP version; write HTTP/1.0, HTTP/1.1 or HTTP/2.0",
                written.value
            );
            Err(at(written, path, "valid_http_versions", problem))
        }
    });
    versions.collect()
}

fn header_rules(
    written: Option<&[At<HeaderMatchFile>]>,
    path: &str,
    key: &str,
) -> Result<Vec<HeaderAssertion>, Problem> {
    let path = below(path, key);
    let rules = written.unwrap_or_default().iter().map(|written| {
        let rule = &written.value;
        let Some(header) = filled(rule.header.as_ref()) else {
            let words = "header name must be set for HTTP header matchers";
            return Err(at(written, &path, "header", words));
        };
        let Some(pattern) = filled(rule.regexp.as_ref()) else {
            let words = "regexp must be set for HTTP header matchers";
            return Err(at(written, &path, "regexp", words));
        };
        Ok(HeaderAssertion {
            header: header_name(&header.value).map_err(|words| at(header, &path, "header", words))?,
            pattern: regexp(pattern, &path, "regexp")?,
            allow_missing: rule.allow_missing.unwrap_or(false),
        })
    });
    rules.collect()
}

fn body_size_limit(file: &HttpFile, path: &str) -> Result<Option<u64>, Problem> {
    let Some(written) = &file.body_size_limit else {
        return Ok(None);
    };
    match units::size(&written.value) {
        Some(0) => Ok(None),
        Some(limit) => Ok(Some(limit)),
        None => {
            let problem = format!(
                "{:?} is no size; write a number with a unit, such as 10MB or 512KB",
                written.value
            );
            Err(at(written, path, "body_size_limit", problem))
        }
    }
}

/// The coding to decode, which an `Accept-Encoding` of the module must accept.
fn compression(file: &HttpFile, path: &str) -> Result<Coding, Problem> {
    let Some(written) = &file.compression else {
        return Ok(Coding::Identity);
    };
    let coding = match written.value.to_ascii_lowercase().as_str() {
        "" | "identity" => Coding::Identity,
        "gzip" => Coding::Gzip,
        "deflate" => Coding::Deflate,
        "br" => Coding::Brotli,
        _ => {
            let problem = format!("{:?} is no coding; write gzip, deflate, br or identity", written.value);
            return Err(at(written, path, "compression", problem));
        }
    };
    let accepted = file
        .headers
        .iter()
        .flatten()
        .find(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    match accepted {
        Some((name, header))
            if !written.value.is_empty() && !header.value.is_empty() && !accepts(&header.value, &written.value) =>
        {
            let problem = format!(
                "invalid configuration \"Accept-Encoding: {}\", \"compression: {}\"; the header must accept the coding",
                header.value, written.value
            );
            Err(at(header, path, &format!("headers.{name}"), problem))
        }
        _ => Ok(coding),
    }
}
