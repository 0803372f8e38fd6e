//! The TLS settings of a client: the block `tls_config`. Certificates and keys are read and parsed once per load.

use crate::block;
use crate::check::{Identity, Tls, TlsError, TlsFiles, TlsSettings, TlsVersion, Trust, Trusted, Watched, shortage};
use crate::file::{ConfigIssue, Location, Spanned, at, below, filled};
use crate::secret::Secret;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

block! {
    /// A client's TLS settings.
    TlsFile {
        ca: Spanned<String>,
        ca_file: Spanned<String>,
        cert: Spanned<String>,
        cert_file: Spanned<String>,
        key: Spanned<Secret>,
        key_file: Spanned<String>,
        server_name: String,
        insecure_skip_verify: bool,
        min_version: Spanned<String>,
        max_version: Spanned<String>,
    } unserved { ca_ref, cert_ref, key_ref, }
}

/// Why TLS settings cannot be built.
pub enum TlsIssue {
    /// The block is invalid, which makes the whole configuration invalid.
    Wrong(ConfigIssue),
    /// A file cannot be used at present. Mounted secrets may appear later, so only the probes of this module fail.
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

/// The protocols that ALPN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlpnOffer {
    /// None. The protocol is not negotiated with ALPN.
    Nothing,
    /// HTTP/2 and HTTP/1.1.
    Http2,
    /// HTTP/2 only.
    OnlyHttp2,
}

/// Validates the block and builds the settings that all probes of the module share. As in `blackbox_exporter`, a
/// missing file is not an error of the configuration: only the probes that need it fail.
pub(crate) fn build(written: Option<&Spanned<TlsFile>>, offer: AlpnOffer, path: &str) -> Result<Tls, ConfigIssue> {
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
        let words = "max_version is below min_version";
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
        files: TlsFiles {
            ca: name_of(file.ca_file.as_ref()),
            cert: name_of(file.cert_file.as_ref()),
            key: name_of(file.key_file.as_ref()),
        },
    };
    Tls::new(settings).map_err(|error| location.issue(path, error))
}

fn name_of(written: Option<&Spanned<String>>) -> Option<String> {
    filled(written).map(|name| name.value.clone())
}

/// Reads a value from the files in some of the block's keys. The value is re-read when a file changes.
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
            tracing::warn!(error = %issue, "TLS file is not usable; TLS probes of the module fail until it is");
            Ok(Err(format!("{issue}.")))
        }
    };
    let again = {
        let (file, path) = (file.clone(), path.to_owned());
        move || read(&file, &path).map_err(|issue| format!("{}.", ConfigIssue::from(issue)))
    };
    Watched::new(path, files, first, again)
}

/// Parses a TLS version.
///
/// # Errors
/// If it is not the name of a version.
pub fn version(written: Option<&Spanned<String>>, path: &str, key: &str) -> Result<Option<TlsVersion>, ConfigIssue> {
    let Some(written) = filled(written) else {
        return Ok(None);
    };
    match written.value.as_str() {
        "TLS10" => Ok(Some(TlsVersion::Tls10)),
        "TLS11" => Ok(Some(TlsVersion::Tls11)),
        "TLS12" => Ok(Some(TlsVersion::Tls12)),
        "TLS13" => Ok(Some(TlsVersion::Tls13)),
        other => {
            let words = format!("unknown TLS version: {other}; expected TLS10, TLS11, TLS12 or TLS13");
            Err(at(written, path, key, words))
        }
    }
}

/// The base directory of a module's files: the working directory, as in `blackbox_exporter`.
fn here() -> &'static Path {
    Path::new("")
}

fn trust(file: &TlsFile, path: &str) -> Result<Trusted, TlsIssue> {
    let Some(pem) = Pem::of(file.ca.as_ref(), file.ca_file.as_ref(), here(), path, "ca")? else {
        return Ok(Trusted::System);
    };
    let trust = Trust::new(pem.certificates()?);
    if trust.is_empty() {
        return Err(pem
            .issue("no certificate can be used as a certificate authority")
            .into());
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
                // The library does not support this key type. Only the probes of this module fail.
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

/// A PEM text and the configuration key from which it was read.
pub struct Pem {
    text: Vec<u8>,
    location: Location,
    key: String,
}

impl Pem {
    /// Reads the PEM text from the key `name` or from the file in `name_file`, relative to `folder`. Setting both is an
    /// error.
    ///
    /// # Errors
    /// If both keys are set, or the file cannot be read.
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
                    let words = format!("cannot read file {:?}: {error}", file.value);
                    let issue = at(file, path, &file_key, words);
                    // A lack of local resources is temporary and not a property of the file. The load fails, because
                    // otherwise the module would fail until the next reload.
                    Err(match shortage(&error) {
                        Some(_) => TlsIssue::Wrong(issue),
                        None => TlsIssue::Absent(issue),
                    })
                }
            },
        }
    }

    /// Creates an issue about the text.
    #[must_use]
    pub fn issue(&self, words: &str) -> ConfigIssue {
        self.location.issue(self.key.clone(), words)
    }

    /// The certificates in the text.
    ///
    /// # Errors
    /// If there is none, or one is invalid.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigIssue> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .filter_map(Result::ok)
            .collect();
        if certificates.is_empty() {
            let words = "no certificate found: expected PEM with -----BEGIN CERTIFICATE-----";
            return Err(self.issue(words));
        }
        Ok(certificates)
    }

    /// The private key in the text.
    ///
    /// # Errors
    /// If there is none, or it is invalid.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, ConfigIssue> {
        let words = "no private key found: expected PEM with -----BEGIN PRIVATE KEY-----";
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|_| self.issue(words))
    }
}
