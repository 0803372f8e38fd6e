//! Builds the http prober from its keys.

use super::keys::{HeaderMatchFile, HttpFile, is_plain_header};
use super::token_request;
use super::{BodyAssertions, Expression, HeaderAssertion, HttpProber, JsonAssertions, RequestBody, Versions};
use crate::check::{Coding, Resolver};
use crate::file::regexps::{regexp, regexps};
use crate::file::{ConfigIssue, Spanned, at, below, filled, units};
use crate::probers::blocks::header_fields::{self, header_name, header_value};
use crate::probers::blocks::{address, credentials, proxies, tls};
use crate::probers::proxies::Proxies;
use crate::weights::accepts;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};
use std::collections::HashMap;
use std::sync::Arc;

/// Validates the keys and builds the prober.
pub fn build(file: &HttpFile, resolver: Arc<Resolver>, path: &str) -> Result<HttpProber, ConfigIssue> {
    let (host, headers) = headers(file, path)?;
    let compression = compression(file, path)?;
    Ok(HttpProber {
        method: method(file, path)?,
        host,
        headers,
        credentials: credentials::build(
            &credentials::CredentialKeys {
                basic_auth: file.basic_auth.as_ref(),
                authorization: file.authorization.as_ref(),
                bearer_token: file.bearer_token.as_ref(),
                bearer_token_file: file.bearer_token_file.as_ref(),
                oauth2: file.oauth2.as_ref(),
            },
            path,
        )?,
        fields: header_fields::build(
            file.http_headers.as_ref(),
            header_fields::Names::Free,
            path,
            "http_headers",
        )?,
        oauth2: token_request::build_optional(file.oauth2.as_ref(), &resolver, path)?,
        proxies: proxies(file, path)?,
        body: body(file, path)?,
        body_assertions: Arc::new(body_assertions(file, path)?),
        valid_status_codes: status_codes(file),
        valid_http_versions: versions(file),
        follow_redirects: match &file.no_follow_redirects {
            Some(no) => !no.value,
            None => file.follow_redirects.unwrap_or(true),
        },
        fail_if_ssl: file.fail_if_ssl.unwrap_or(false),
        fail_if_not_ssl: file.fail_if_not_ssl.unwrap_or(false),
        fail_if_header_matches: header_rules(file.fail_if_header_matches.as_deref(), path, "fail_if_header_matches")?,
        fail_if_header_not_matches: header_rules(
            file.fail_if_header_not_matches.as_deref(),
            path,
            "fail_if_header_not_matches",
        )?,
        slower_than: units::threshold(file.fail_if_slower_than.as_ref(), path, "fail_if_slower_than")?,
        body_size_limit: body_size_limit(file, path)?,
        compression,
        versions: spoken(file, path)?,
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        tls: tls::build(
            file.tls_config.as_ref(),
            if file.enable_http2.unwrap_or(true) {
                tls::AlpnOffer::Http2
            } else {
                tls::AlpnOffer::Nothing
            },
            path,
        )?,
    })
}

fn proxies(file: &HttpFile, path: &str) -> Result<Proxies, ConfigIssue> {
    let written = proxies::ProxyKeys {
        proxy_url: file.proxy_url.as_ref(),
        no_proxy: file.no_proxy.as_ref(),
        proxy_from_environment: file.proxy_from_environment.as_ref(),
        proxy_connect_header: file.proxy_connect_header.as_ref(),
        skip_resolve: file.skip_resolve_phase_with_proxy,
    };
    proxies::build(&written, path)
}

fn body(file: &HttpFile, path: &str) -> Result<RequestBody, ConfigIssue> {
    let inline = file.body.as_ref().filter(|body| !body.0.is_empty());
    match (inline, filled(file.body_file.as_ref())) {
        (Some(_), Some(second)) => {
            let words = "setting body and body_file both are not allowed; remove one of them";
            Err(at(second, path, "body_file", words))
        }
        (_, Some(named)) => Ok(RequestBody::File(named.value.clone().into())),
        (inline, None) => Ok(RequestBody::Bytes(
            inline.map_or_else(Bytes::new, |body| Bytes::copy_from_slice(&body.0)),
        )),
    }
}

fn body_assertions(file: &HttpFile, path: &str) -> Result<BodyAssertions, ConfigIssue> {
    let patterns = |written: Option<&Vec<_>>, key| regexps(written.map(Vec::as_slice), path, key);
    Ok(BodyAssertions {
        fail_if_matches: patterns(file.fail_if_body_matches_regexp.as_ref(), "fail_if_body_matches_regexp")?,
        fail_if_not_matches: patterns(
            file.fail_if_body_not_matches_regexp.as_ref(),
            "fail_if_body_not_matches_regexp",
        )?,
        json: json(file, path)?,
    })
}

fn json(file: &HttpFile, path: &str) -> Result<JsonAssertions, ConfigIssue> {
    let matches = file.fail_if_body_json_matches_cel.as_ref();
    let not_matches = file.fail_if_body_json_not_matches_cel.as_ref();
    Ok(JsonAssertions::new(
        expression(matches, path, "fail_if_body_json_matches_cel")?,
        expression(not_matches, path, "fail_if_body_json_not_matches_cel")?,
    ))
}

/// A compiled CEL expression, or `None` if the key is absent or empty.
fn expression(written: Option<&Spanned<String>>, path: &str, key: &str) -> Result<Option<Expression>, ConfigIssue> {
    let compile = |written: &Spanned<String>| {
        Expression::new(&written.value).map_err(|error| {
            let words = format!("Could not compile CEL program: {:?}: {error}", written.value);
            at(written, path, key, words)
        })
    };
    filled(written).map(compile).transpose()
}

fn method(file: &HttpFile, path: &str) -> Result<Method, ConfigIssue> {
    match &file.method {
        None => Ok(Method::GET),
        Some(written) if written.value.is_empty() => Ok(Method::GET),
        Some(written) => Method::from_bytes(written.value.as_bytes()).map_err(|_| {
            let issue = format!(
                "invalid HTTP method {:?}: expected a token such as GET, HEAD or POST",
                written.value
            );
            at(written, path, "method", issue)
        }),
    }
}

type Headers = (Option<String>, Vec<(HeaderName, HeaderValue)>);

/// The value of `Host` and the other header fields. Values that may be secrets are marked as sensitive.
fn headers(file: &HttpFile, path: &str) -> Result<Headers, ConfigIssue> {
    let path = below(path, "headers");
    let mut host = None;
    let mut fields = Vec::new();
    let mut seen = HashMap::new();
    for (name, value) in file.headers.iter().flatten() {
        let field = header_name(name).map_err(|words| at(value, &path, name, words))?;
        if let Some(other) = seen.insert(field.clone(), name) {
            let words = format!("duplicate header: already set as {other}");
            return Err(at(value, &path, name, words));
        }
        let mut content = header_value(&value.value).map_err(|words| at(value, &path, name, words))?;
        if field == HOST {
            host = Some(value.value.clone()).filter(|host| !host.is_empty());
        } else if !FRAMING.contains(&field) {
            content.set_sensitive(!is_plain_header(name));
            fields.push((field, content));
        }
    }
    Ok((host, fields))
}

/// Fields that frame the request body. The exporter sets them itself. As in `blackbox_exporter`, the values from the
/// module are not sent.
const FRAMING: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER];

/// The HTTP versions of the requests. The rules for HTTP/3 are those of `blackbox_exporter`.
fn spoken(file: &HttpFile, path: &str) -> Result<Versions, ConfigIssue> {
    let mut accepted = file.valid_http_versions.iter().flatten();
    let Some(enabled) = file.enable_http3.as_ref().filter(|enabled| enabled.value) else {
        return match accepted.find(|version| version.value == "HTTP/3.0") {
            None => Ok(Versions::Agreed),
            Some(version) => {
                let words = "HTTP/3 cannot be used as a valid HTTP version when enable_http3 is false";
                Err(at(version, path, "valid_http_versions", words))
            }
        };
    };
    if file.enable_http2.unwrap_or(true) {
        let words = "when enable_http3 is true, enable_http2 must be set to false";
        return Err(at(enabled, path, "enable_http3", words));
    }
    if let Some(version) = accepted.find(|version| ["HTTP/1.1", "HTTP/2.0"].contains(&version.value.as_str())) {
        let words =
            "HTTP/3 and HTTP/2.0/1.1 cannot be used together - only HTTP/3.0 is allowed when enable_http3 is true";
        return Err(at(version, path, "valid_http_versions", words));
    }
    let highest = file
        .tls_config
        .as_ref()
        .and_then(|tls| filled(tls.value.max_version.as_ref()));
    if let Some(highest) = highest.filter(|version| version.value != "TLS13") {
        let words = "HTTP/3 requires TLS 1.3 (RFC 9001 section 4.2); set TLS13 or remove the key";
        return Err(at(highest, &below(path, "tls_config"), "max_version", words));
    }
    Ok(Versions::Http3)
}

/// The accepted status codes. As in `blackbox_exporter`, a code that no response can contain is accepted and never
/// matches. If it does not fit into 16 bits, it becomes 0.
fn status_codes(file: &HttpFile) -> Vec<u16> {
    let codes = file.valid_status_codes.iter().flatten();
    codes.map(|written| u16::try_from(written.value).unwrap_or(0)).collect()
}

fn versions(file: &HttpFile) -> Vec<String> {
    let versions = file.valid_http_versions.iter().flatten();
    versions.map(|written| written.value.clone()).collect()
}

fn header_rules(
    written: Option<&[Spanned<HeaderMatchFile>]>,
    path: &str,
    key: &str,
) -> Result<Vec<HeaderAssertion>, ConfigIssue> {
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

fn body_size_limit(file: &HttpFile, path: &str) -> Result<Option<u64>, ConfigIssue> {
    let Some(written) = &file.body_size_limit else {
        return Ok(None);
    };
    match units::size(&written.value) {
        Some(0) => Ok(None),
        Some(limit) => Ok(Some(limit)),
        None => {
            let issue = format!(
                "invalid size {:?}: expected a number with a unit, such as 10MB or 512KB",
                written.value
            );
            Err(at(written, path, "body_size_limit", issue))
        }
    }
}

/// The content coding to decode. If the module sets `Accept-Encoding`, the header must accept this coding.
fn compression(file: &HttpFile, path: &str) -> Result<Coding, ConfigIssue> {
    let Some(written) = &file.compression else {
        return Ok(Coding::Identity);
    };
    let coding = match written.value.to_ascii_lowercase().as_str() {
        "" | "identity" => Coding::Identity,
        "gzip" => Coding::Gzip,
        "deflate" => Coding::Deflate,
        "br" => Coding::Brotli,
        "zstd" => Coding::Zstd,
        _ => {
            let issue = format!(
                "invalid compression {:?}: expected gzip, deflate, br, zstd or identity",
                written.value
            );
            return Err(at(written, path, "compression", issue));
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
            let issue = format!(
                "invalid configuration \"Accept-Encoding: {}\", \"compression: {}\"; the header must accept the coding",
                header.value, written.value
            );
            Err(at(header, path, &format!("headers.{name}"), issue))
        }
        _ => Ok(coding),
    }
}
