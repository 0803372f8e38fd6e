//! Builds the HTTP server's TLS settings.

use super::clients::{ClientCertificatePolicy, Clients};
use crate::config::file::WebTlsFile;
use glassbox_probe::file::{ConfigIssue, Location, Spanned, at, filled};
use glassbox_probe::probers::blocks::tls::{Pem, version};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::{NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PATH: &str = "tls_server_config";

/// Validates the block and builds the settings that all connections share.
pub(super) fn build(
    written: &Spanned<WebTlsFile>,
    http2: bool,
    folder: &Path,
    files: &mut Vec<PathBuf>,
) -> Result<ServerConfig, ConfigIssue> {
    let file = &written.value;
    for named in [&file.cert_file, &file.key_file, &file.client_ca_file] {
        files.extend(filled(named.as_ref()).map(|named| folder.join(&named.value)));
    }
    let pem = |inline: Option<&Spanned<String>>, named: Option<&Spanned<String>>, name| {
        Pem::of(inline, named, folder, PATH, name)
    };
    let inline_key = file.key.as_ref().map(|key| Spanned {
        value: key.value.reveal().to_owned(),
        location: key.location,
    });
    let missing = |name: &str| {
        written
            .location
            .issue(PATH, format!("missing one of {name} or {name}_file"))
    };
    let cert = pem(file.cert.as_ref(), file.cert_file.as_ref(), "cert")?.ok_or_else(|| missing("cert"))?;
    let key = pem(inline_key.as_ref(), file.key_file.as_ref(), "key")?.ok_or_else(|| missing("key"))?;
    let authorities = pem(file.client_ca.as_ref(), file.client_ca_file.as_ref(), "client_ca")?;
    let provider = Arc::new(provider(file)?);
    let clients = clients(written, authorities.as_ref(), &provider)?;
    let unusable = |error: rustls::Error| written.location.issue(PATH, error);
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(file)?)
        .map_err(unusable)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(cert.certificates()?, key.private_key()?)
        .map_err(|error| cert.issue(&format!("the certificate and the key cannot be used together: {error}")))?;
    config.ignore_client_order = file.prefer_server_cipher_suites.unwrap_or(true);
    config.alpn_protocols = if http2 {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    } else {
        vec![b"http/1.1".to_vec()]
    };
    Ok(config)
}

/// Whether clients must present a certificate, because of `client_auth_type` or `client_allowed_sans`.
pub(super) fn requires_client_certificates(file: &WebTlsFile) -> bool {
    let kind = filled(file.client_auth_type.as_ref()).map(|kind| kind.value.as_str());
    let has_names = file.client_allowed_sans.iter().flatten().next().is_some();
    has_names || matches!(kind, Some("RequireAnyClientCert" | "RequireAndVerifyClientCert"))
}

fn versions(file: &WebTlsFile) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigIssue> {
    use glassbox_probe::check::TlsVersion::{Tls12, Tls13};
    // The exporter's HTTP server does not support versions older than TLS 1.2.
    let lowest = version(file.min_version.as_ref(), PATH, "min_version")?.unwrap_or(Tls12);
    let highest = version(file.max_version.as_ref(), PATH, "max_version")?.unwrap_or(Tls13);
    let all = [(Tls12, &rustls::version::TLS12), (Tls13, &rustls::version::TLS13)];
    let spoken: Vec<_> = all
        .into_iter()
        .filter(|(version, _)| (lowest..=highest).contains(version))
        .map(|(_, version)| version)
        .collect();
    if spoken.is_empty() {
        let location = file
            .max_version
            .as_ref()
            .map_or(Location::START, |written| written.location);
        let words =
            "no TLS version is enabled: supported are TLS12 and TLS13, and max_version must not be below min_version";
        return Err(location.issue(format!("{PATH}.max_version"), words));
    }
    Ok(spoken)
}

/// A crypto provider with the cipher suites and groups in the file.
fn provider(file: &WebTlsFile) -> Result<CryptoProvider, ConfigIssue> {
    let mut provider = ring::default_provider();
    if let Some(wanted) = file.cipher_suites.as_ref().filter(|wanted| !wanted.is_empty()) {
        let suites = wanted.iter().map(|written| {
            let suite = provider
                .cipher_suites
                .iter()
                .find(|suite| name(**suite) == written.value);
            suite.copied().ok_or_else(|| {
                let known: Vec<_> = provider.cipher_suites.iter().map(|suite| name(*suite)).collect();
                let words = format!("unknown cipher: {}; supported: {}", written.value, known.join(", "));
                at(written, PATH, "cipher_suites", words)
            })
        });
        let mut suites: Vec<SupportedCipherSuite> = suites.collect::<Result<_, _>>()?;
        // As in Go, the cipher suites of TLS 1.3 are not configurable.
        suites.extend(
            ring::default_provider()
                .cipher_suites
                .into_iter()
                .filter(|suite| suite.tls13().is_some()),
        );
        provider.cipher_suites = suites;
    }
    if let Some(wanted) = file.curve_preferences.as_ref().filter(|wanted| !wanted.is_empty()) {
        let groups = wanted.iter().map(|written| {
            let group = GROUPS.iter().find(|(known, _)| *known == written.value);
            let group = group.and_then(|(_, group)| provider.kx_groups.iter().find(|known| known.name() == *group));
            group.copied().ok_or_else(|| {
                let known: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
                let words = format!("unknown curve: {}; supported: {}", written.value, known.join(", "));
                at(written, PATH, "curve_preferences", words)
            })
        });
        let groups: Vec<&'static dyn SupportedKxGroup> = groups.collect::<Result<_, _>>()?;
        provider.kx_groups = groups;
    }
    Ok(provider)
}

/// The supported groups and their names in the exporter-toolkit.
const GROUPS: [(&str, NamedGroup); 3] = [
    ("X25519", NamedGroup::X25519),
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
];

/// The name of a cipher suite, as in IANA and Go.
fn name(suite: SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

/// Builds the verifier of client certificates, unless `client_auth_type` disables it.
fn clients(
    written: &Spanned<WebTlsFile>,
    authorities: Option<&Pem>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Clients>, ConfigIssue> {
    let file = &written.value;
    let demand = match filled(file.client_auth_type.as_ref()).map(|kind| kind.value.as_str()) {
        None | Some("NoClientCert") => None,
        Some("RequestClientCert") => Some(ClientCertificatePolicy::Ask),
        Some("RequireAnyClientCert") => Some(ClientCertificatePolicy::Any),
        Some("VerifyClientCertIfGiven") => Some(ClientCertificatePolicy::VerifiedIfAny),
        Some("RequireAndVerifyClientCert") => Some(ClientCertificatePolicy::Verified),
        Some(other) => {
            let words = format!(
                "invalid client_auth_type {other:?}: expected NoClientCert, RequestClientCert, RequireAnyClientCert, \
                 VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            );
            let location = file
                .client_auth_type
                .as_ref()
                .map_or(written.location, |kind| kind.location);
            return Err(location.issue(format!("{PATH}.client_auth_type"), words));
        }
    };
    let Some(demand) = demand else {
        if let Some(first) = file.client_allowed_sans.iter().flatten().next() {
            let words = "client certificates are not requested; set client_auth_type: RequireAndVerifyClientCert";
            return Err(at(first, PATH, "client_allowed_sans", words));
        }
        return match authorities {
            Some(pem) => Err(pem.issue("client CA's have been configured without a Client Auth Policy")),
            None => Ok(None),
        };
    };
    let roots = match (authorities, demand.verifies()) {
        (Some(pem), _) => Some(pem.certificates()?),
        (None, false) => None,
        (None, true) => {
            let words = "verification of client certificates requires client_ca or client_ca_file";
            return Err(written.location.issue(PATH, words));
        }
    };
    let sans = file
        .client_allowed_sans
        .iter()
        .flatten()
        .map(|san| san.value.clone())
        .collect();
    let clients = Clients::new(demand, roots.unwrap_or_default(), sans, provider);
    clients.map(Some).map_err(|words| written.location.issue(PATH, words))
}
