//! What another client needs to send the same request, besides what the report contains.

use crate::check::{Tls, TlsFiles, TlsVersion};

/// The options of a module, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// TLS settings, if the prober has any.
    pub tls: Option<TlsOptions>,
    /// Names of the module's header fields. Their values may be secrets.
    pub headers: Vec<String>,
    /// The request body.
    pub body: BodyOption,
    /// Whether a content coding of the response is decoded.
    pub decodes: bool,
    /// Whether HTTP/2 is disabled.
    pub is_http1_only: bool,
}

/// The TLS settings of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// File names as configured.
    pub files: TlsFiles,
    /// Whether any certificate is accepted.
    pub skip_verify: bool,
    /// The lowest version offered.
    pub min_version: TlsVersion,
    /// The highest version offered.
    pub max_version: TlsVersion,
}

impl TlsOptions {
    pub(super) fn of(tls: &Tls) -> Self {
        let (min_version, max_version) = tls.versions();
        Self {
            files: tls.files().clone(),
            skip_verify: tls.skips_verification(),
            min_version,
            max_version,
        }
    }
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BodyOption {
    /// None.
    #[default]
    None,
    /// In the configuration; it may contain secrets.
    Configured,
    /// A file.
    File(String),
}
