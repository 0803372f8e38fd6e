//! `healthcheck`: checks the health of a running exporter, for containers.

use super::CliError;
use reqwest::{StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `healthcheck`.
#[derive(Debug, clap::Args)]
pub struct HealthcheckCommand {
    /// URL of the health endpoint, http or https.
    #[arg(long, default_value = "http://127.0.0.1:9115/-/healthy")]
    url: Url,
    /// Certificates of the authorities that may have signed the exporter's certificate, in PEM [default: those of the
    /// system].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Name in the exporter's certificate, if it is not the host of the URL.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// User name for basic authentication.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// File with the password for basic authentication.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
}

/// Runs `healthcheck`.
///
/// # Errors
/// When a file cannot be used, or the endpoint does not return 200 within 5 s.
pub async fn healthcheck(command: &HealthcheckCommand) -> Result<(), CliError> {
    let unhealthy = |error: reqwest::Error| CliError::Unhealthy(with_causes(&error));
    let mut url = command.url.clone();
    let mut client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .tls_backend_preconfigured(tls(command)?);
    if let Some(name) = &command.server_name {
        client = client.resolve(name, address(&url)?);
        let invalid = |_| {
            flag(
                "server-name",
                format!("invalid name {name:?}: expected a host name such as exporter.example"),
            )
        };
        url.set_host(Some(name)).map_err(invalid)?;
    }
    let mut request = client.build().map_err(unhealthy)?.get(url);
    if let (Some(username), Some(file)) = (&command.username, &command.password_file) {
        let password = std::fs::read_to_string(file).map_err(|error| unreadable("password-file", file, &error))?;
        request = request.basic_auth(username, Some(password.trim_end_matches(['\r', '\n'])));
    }
    let answer = request.send().await.map_err(unhealthy)?;
    if answer.status() == StatusCode::OK {
        Ok(())
    } else {
        Err(CliError::Unhealthy(format!(
            "{} returned {}",
            command.url,
            answer.status()
        )))
    }
}

/// Trusts the authorities of the file, or those of the system.
fn tls(command: &HealthcheckCommand) -> Result<ClientConfig, CliError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &command.ca_file {
        let name = file.display();
        let read = |error| flag("ca-file", format!("cannot read {name}: {error}"));
        for certificate in CertificateDer::pem_file_iter(file).map_err(read)? {
            let refused = |error| flag("ca-file", format!("invalid certificate in {name}: {error}"));
            roots.add(certificate.map_err(read)?).map_err(refused)?;
        }
        if roots.is_empty() {
            return Err(flag("ca-file", format!("{name} contains no certificate: expected PEM")));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| flag("ca-file", error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Address of the URL's host.
fn address(url: &Url) -> Result<SocketAddr, CliError> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let found = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| flag("url", format!("the host of {url} has no address")))
}

fn flag(flag: &'static str, words: String) -> CliError {
    CliError::Flag { flag, words }
}

fn unreadable(name: &'static str, file: &std::path::Path, error: &std::io::Error) -> CliError {
    flag(name, format!("cannot read {}: {error}", file.display()))
}

/// The error with its causes: the outermost text names only the URL.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}
