//! Composes a client's TLS. Certificates and keys are read and parsed here, once per load.

use super::credentials::filled;
use super::file::{Spanned, TlsFile};
use super::issue::{ConfigIssue, Location, at};
use super::tree::below;
use crate::check::{Identity, Tls, TlsError, TlsSettings, TlsVersion, Trust, Trusted, Watched, shortage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// Why a block gives no TLS.
pub(super) enum TlsIssue {
    /// It is wrong, and so is the configuration.
    Wrong(ConfigIssue),
    /// A file that it names cannot be read now. It may come later, as mounted secrets do: that is the module's affair.
    Absent(ConfigIssue),
}

impl From<TlsIssue> for ConfigIssue {
    fn from(issue: TlsIssue) -> Self {
        match issue {
            TlsIssue::Wrong(issue) | TlsIssue::Absent(issue) => issue,
        }
    }
}

impl From<ConfigIssue> for TlsIssue {
    fn from(issue: ConfigIssue) -> Self {
        Self::Wrong(issue)
    }
}

/// What ALPN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AlpnOffer {
    /// Nothing: what is spoken is agreed on without it.
    Nothing,
    /// HTTP/2, and HTTP/1.1.
    Http2,
    /// HTTP/2 and nothing else.
    OnlyHttp2,
}

/// Checks the block and builds what its probes share. As with `blackbox_exporter`, a file that is missing fails the
/// probes that need it, and no other module.
pub(super) fn build(written: Option<&Spanned<TlsFile>>, offer: AlpnOffer, path: &str) -> Result<Tls, ConfigIssue> {
    let path = below(path, "tls_config");
    let defaults = TlsFile::default();
    let file = written.map_or(&defaults, |written| &written.value);
    let location = written.map_or(Location::START, |written| written.location);
    let lowest = version(file.min_version.as_ref(), &path, "min_version")?;
    let highest = version(file.max_version.as_ref(), &path, "max_version")?;
    if lowest.zip(highest).is_some_and(|(lowest, highest)| highest < lowest) {
        let upper = file
            .max_version
            .as_ref()
            .map_or(Location::START, |written| written.location);
        let words = "max_version is below min_version; raise the one or lower the other";
        return Err(upper.issue(below(&path, "max_version"), words));
    }
    let settings = TlsSettings {
        trust: watched(file, &[file.ca_file.as_ref()], &path, trust)?,
        identity: watched(
            file,
            &[file.cert_file.as_ref(), file.key_file.as_ref()],
            &path,
            move |file, path| identity(file, location, path),
        )?,
        server_name: file.server_name.clone().filter(|name| !name.is_empty()),
        skip_verify: file.insecure_skip_verify.unwrap_or(false),
        min_version: lowest.unwrap_or(TlsVersion::Tls12),
        max_version: highest.unwrap_or(TlsVersion::Tls13),
        alpn: match offer {
            AlpnOffer::Nothing => &[],
            AlpnOffer::Http2 => &[b"h2", b"http/1.1"],
            AlpnOffer::OnlyHttp2 => &[b"h2"],
        },
    };
    Tls::new(settings).map_err(|error| location.issue(path, error))
}

/// Reads something from the files that some keys of the block name, and reads it again when they change.
fn watched<T: Send + Sync + 'static>(
    file: &TlsFile,
    keys: &[Option<&Spanned<String>>],
    path: &str,
    read: impl Fn(&TlsFile, &str) -> Result<T, TlsIssue> + Copy + Send + Sync + 'static,
) -> Result<Arc<Watched<T>>, ConfigIssue> {
    let files = keys.iter().filter_map(|name| filled(*name));
    let files = files.map(|name| here().join(&name.value)).collect();
    let first = || match read(file, path) {
        Ok(read) => Ok(Ok(read)),
        Err(TlsIssue::Wrong(issue)) => Err(issue),
        Err(TlsIssue::Absent(issue)) => {
            tracing::warn!(error = %issue, "Until this file can be used, probes of its module that need TLS fail");
            Ok(Err(format!("{issue}.")))
        }
    };
    let again = {
        let (file, path) = (file.clone(), path.to_owned());
        move || read(&file, &path).map_err(|issue| format!("{}.", ConfigIssue::from(issue)))
    };
    Watched::new(path, files, first, again)
}

/// The version that a file names.
pub(super) fn version(
    written: Option<&Spanned<String>>,
    path: &str,
    key: &str,
) -> Result<Option<TlsVersion>, ConfigIssue> {
    let Some(written) = filled(written) else {
        return Ok(None);
    };
    match written.value.as_str() {
        "TLS10" => Ok(Some(TlsVersion::Tls10)),
        "TLS11" => Ok(Some(TlsVersion::Tls11)),
        "TLS12" => Ok(Some(TlsVersion::Tls12)),
        "TLS13" => Ok(Some(TlsVersion::Tls13)),
        other => {
            let words = format!("unknown TLS version: {other}; write TLS10, TLS11, TLS12 or TLS13");
            Err(at(written, path, key, words))
        }
    }
}

/// A module's files are found as the peer finds them: from the working directory.
fn here() -> &'static Path {
    Path::new("")
}

fn trust(file: &TlsFile, path: &str) -> Result<Trusted, TlsIssue> {
    let Some(pem) = Pem::of(file.ca.as_ref(), file.ca_file.as_ref(), here(), path, "ca")? else {
        return Ok(Trusted::System);
    };
    let trust = Trust::new(pem.certificates()?);
    if trust.is_empty() {
        return Err(pem.issue("no certificate in it can be used as an authority").into());
    }
    Ok(Trusted::These(Arc::new(trust)))
}

fn identity(file: &TlsFile, location: Location, path: &str) -> Result<Identity, TlsIssue> {
    let cert = Pem::of(file.cert.as_ref(), file.cert_file.as_ref(), here(), path, "cert")?;
    let inline = file.key.as_ref().map(|key| Spanned {
        value: key.value.reveal().to_owned(),
        location: key.location,
    });
    let key = Pem::of(inline.as_ref(), file.key_file.as_ref(), here(), path, "key")?;
    match (cert, key) {
        (None, None) => Ok(Identity::default()),
        (Some(cert), Some(key)) => {
            let identity = Identity::new(cert.certificates()?, key.private_key()?);
            identity.map_err(|error| match error {
                // The library does not know this kind of key: that fails the module, and no other.
                TlsError::Identity(rustls::Error::General(_)) => TlsIssue::Absent(location.issue(path, error)),
                error => location.issue(path, error).into(),
            })
        }
        (Some(cert), None) => Err(cert
            .issue("exactly one of key or key_file must be configured when a client certificate is configured")
            .into()),
        (None, Some(key)) => Err(key
            .issue("exactly one of cert or cert_file must be configured when a client key is configured")
            .into()),
    }
}

/// A PEM text and the key that gave it.
pub(super) struct Pem {
    text: Vec<u8>,
    location: Location,
    key: String,
}

impl Pem {
    /// What stands in `name` or in the file that `name_file` names, from a folder; not both.
    pub fn of(
        inline: Option<&Spanned<String>>,
        file: Option<&Spanned<String>>,
        folder: &Path,
        path: &str,
        name: &str,
    ) -> Result<Option<Self>, TlsIssue> {
        let file_key = format!("{name}_file");
        match (filled(inline), filled(file)) {
            (None, None) => Ok(None),
            (Some(_), Some(second)) => {
                let words = format!("at most one of {name} & {file_key} must be configured");
                Err(at(second, path, &file_key, words).into())
            }
            (Some(inline), None) => Ok(Some(Self {
                text: inline.value.clone().into_bytes(),
                location: inline.location,
                key: below(path, name),
            })),
            (None, Some(file)) => match std::fs::read(folder.join(&file.value)) {
                Ok(text) => Ok(Some(Self {
                    text,
                    location: file.location,
                    key: below(path, &file_key),
                })),
                Err(error) => {
                    let words = format!("the file {:?} cannot be read: {error}", file.value);
                    let issue = at(file, path, &file_key, words);
                    // What this host is short of now says nothing of the file, and would be gone long before a reload.
                    Err(match shortage(&error) {
                        Some(_) => TlsIssue::Wrong(issue),
                        None => TlsIssue::Absent(issue),
                    })
                }
            },
        }
    }

    pub fn issue(&self, words: &str) -> ConfigIssue {
        self.location.issue(self.key.clone(), words)
    }

    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigIssue> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .filter_map(Result::ok)
            .collect();
        if certificates.is_empty() {
            let words = "there is no certificate in it; it must be PEM with -----BEGIN CERTIFICATE-----";
            return Err(self.issue(words));
        }
        Ok(certificates)
    }

    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, ConfigIssue> {
        let words = "there is no private key in it; it must be PEM with -----BEGIN PRIVATE KEY-----";
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|_| self.issue(words))
    }
}
