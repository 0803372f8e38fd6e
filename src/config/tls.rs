//! Composes a client's TLS. Certificates and keys are read and parsed here, once per load.

use super::file::{At, TlsFile};
use super::problem::{Problem, at};
use crate::check::{Tls, TlsSettings, TlsVersion, Trust};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// Checks the block and builds what its probes share.
pub(super) fn compose(written: Option<&At<TlsFile>>, offer_http2: bool, path: &str) -> Result<Tls, Problem> {
    let path = format!("{path}.tls_config");
    let defaults = TlsFile::default();
    let file = written.map_or(&defaults, |written| &written.value);
    file.refuse_what_comes_later(&path)?;
    let settings = TlsSettings {
        trust: trust(file, &path)?,
        server_name: file.server_name.clone().filter(|name| !name.is_empty()),
        skip_verify: file.insecure_skip_verify.unwrap_or(false),
        identity: identity(file, written, &path)?,
        min_version: match version(file.min_version.as_ref(), &path, "min_version")? {
            // What is older than TLS 1.2 is not spoken: the lowest is ours.
            Some(Written::Known(version)) => version,
            Some(Written::TooOld) | None => TlsVersion::Tls12,
        },
        max_version: match version(file.max_version.as_ref(), &path, "max_version")? {
            Some(Written::Known(version)) => version,
            Some(Written::TooOld) => {
                let words = "TLS below 1.2 is not spoken by this exporter; write TLS12 or TLS13";
                return Err(refusal(file.max_version.as_ref(), &path, "max_version", words));
            }
            None => TlsVersion::Tls13,
        },
        offer_http2,
    };
    Tls::new(settings).map_err(|error| refusal(written, &path, "", error))
}

fn refusal<T>(written: Option<&At<T>>, path: &str, key: &str, words: impl std::fmt::Display) -> Problem {
    match written {
        Some(written) => at(written, path, key, words),
        None => Problem {
            line: 0,
            column: 0,
            key: path.to_owned(),
            words: words.to_string(),
        },
    }
}

enum Written {
    Known(TlsVersion),
    TooOld,
}

fn version(written: Option<&At<String>>, path: &str, key: &str) -> Result<Option<Written>, Problem> {
    let Some(written) = written else {
        return Ok(None);
    };
    match written.value.as_str() {
        "" => Ok(None),
        "TLS10" | "TLS11" => Ok(Some(Written::TooOld)),
        "TLS12" => Ok(Some(Written::Known(TlsVersion::Tls12))),
        "TLS13" => Ok(Some(Written::Known(TlsVersion::Tls13))),
        other => Err(at(
            written,
            path,
            key,
            format!("unknown TLS version: {other}; write TLS12 or TLS13"),
        )),
    }
}

fn trust(file: &TlsFile, path: &str) -> Result<Arc<Trust>, Problem> {
    let pem = match (&file.ca, &file.ca_file) {
        (Some(_), Some(second)) => {
            return Err(at(
                second,
                path,
                "ca_file",
                "at most one of ca & ca_file must be configured",
            ));
        }
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(written)) if !written.value.is_empty() => read(written, path, "ca_file")?,
        (None, _) => return Ok(Trust::system()),
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    let trust = Trust::new(certificates);
    if trust.is_empty() {
        let words = "there is no certificate in it; it must be PEM with -----BEGIN CERTIFICATE-----";
        return Err(refusal(file.ca_file.as_ref(), path, "ca_file", words));
    }
    Ok(Arc::new(trust))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(file: &TlsFile, block: Option<&At<TlsFile>>, path: &str) -> Result<Option<Identity>, Problem> {
    if file.cert.is_some() && file.cert_file.is_some() {
        return Err(refusal(
            block,
            path,
            "cert",
            "at most one of cert & cert_file must be configured",
        ));
    }
    if file.key.is_some() && file.key_file.is_some() {
        return Err(refusal(
            block,
            path,
            "key",
            "at most one of key & key_file must be configured",
        ));
    }
    let cert = match &file.cert_file {
        Some(written) => Some(read(written, path, "cert_file")?),
        None => file.cert.as_ref().map(|text| text.clone().into_bytes()),
    };
    let key = match &file.key_file {
        Some(written) => Some(read(written, path, "key_file")?),
        None => file.key.as_ref().map(|text| text.reveal().as_bytes().to_vec()),
    };
    let (cert, key) = match (cert, key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => {
            let words = "exactly one of key or key_file must be configured when a client certificate is configured";
            return Err(refusal(block, path, "key", words));
        }
        (None, Some(_)) => {
            let words = "exactly one of cert or cert_file must be configured when a client key is configured";
            return Err(refusal(block, path, "cert", words));
        }
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(refusal(block, path, "cert", "there is no PEM certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| refusal(block, path, "key", "there is no PEM private key in it"))?;
    Ok(Some((chain, key)))
}

fn read(written: &At<String>, path: &str, key: &str) -> Result<Vec<u8>, Problem> {
    std::fs::read(&written.value).map_err(|error| at(written, path, key, format!("{}: {error}", written.value)))
}
